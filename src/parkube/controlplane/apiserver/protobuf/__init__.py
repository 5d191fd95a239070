"""The Kubernetes protobuf encoding of built-in kinds, both ways: Go's typed clients speak it unless told otherwise.

Its tables (`fields.txt`, one message a line: `JSON name = number`, `?` a zero means absent, `^` inlined, then `:` and
the type, `*` repeated, `%` map of strings) come from the published definitions through `scripts/protobuf_fields.py`.
Custom resources have no messages; they are JSON. Knows no HTTP.
Source: Kubernetes API reference, "Kubernetes Protobuf encoding".
"""

from parkube.controlplane.apiserver.protobuf.decode import ProtobufError, decode
from parkube.controlplane.apiserver.protobuf.encode import encode, encode_event, encode_items, encode_list
from parkube.controlplane.apiserver.protobuf.tables import message_of

__all__ = ["ProtobufError", "decode", "encode", "encode_event", "encode_items", "encode_list", "message_of"]
