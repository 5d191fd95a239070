"""Reads request bodies in the Kubernetes protobuf encoding, which current kubectl sends where it knows the type.

Answers are never written in it: clients that send it accept JSON as well. Its tables (`fields.txt`, one message a
line: `JSON name = number`, `?` a zero means absent, `^` inlined, then `:` and the type, `*` repeated, `%` map of
strings) come from the published definitions through `scripts/protobuf_fields.py`.
Source: Kubernetes API reference, "Kubernetes Protobuf encoding".
"""

from parkube.controlplane.apiserver.protobuf.decode import ProtobufError, decode

__all__ = ["ProtobufError", "decode"]
