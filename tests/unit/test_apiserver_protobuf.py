"""Bodies as kubectl 1.33 sends them in protobuf, recorded, and what is no such body."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.controlplane.apiserver.protobuf import ProtobufError, decode
from parkube.controlplane.apiserver.protobuf.decode import MAGIC, _fields, _lines

RECORDED: list[tuple[str, dict[str, Any]]] = [
    (
        "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50EqoBChwKAWQSABoBbiIAKgAyADgAQgBaCAoDYXBwEgFkEnwIABIKCggKA2FwcBIBZBpkChoK"
        "ABIAGgAiACoAMgA4AEIAWggKA2FwcBIBZBJGEigKAXgSA3g6eSoAMgoKABAAGFAiACoAQgBqAHIAgAEAiAEAkAEAogEAGgAyAEIASgBSAFgA"
        "YABoAIIBAIoBAJoBAMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA",
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d", "namespace": "n", "labels": {"app": "d"}},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [{"name": "x", "image": "x:y", "ports": [{"containerPort": 80}]}]},
                },
            },
        },
    ),
    (
        "azhzAAoMCgJ2MRIGU2VjcmV0Eh0KEQoBcxIAGgAiACoAMgA4AEIAEgYKAWESAWIaABoAIgA=",
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg=="}},
    ),
    (
        "azhzAAooChhhdXRoZW50aWNhdGlvbi5rOHMuaW8vdjESDFRva2VuUmVxdWVzdBItChAKABIAGgAiACoAMgA4AEIAEhMaDgoDUG9kEgJ2MRoB"
        "cCIAIJAcGgQKABIAGgAiAA==",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"},
                "expirationSeconds": 3600,
            },
        },
    ),
    (
        "azhzAAogCglwb2xpY3kvdjESE1BvZERpc3J1cHRpb25CdWRnZXQSNgoRCgFwEgAaACIAKgAyADgAQgASFQoJCAEQABoDMzAlEggKBgoBYRIB"
        "YhoKCAAYACAAKAAwABoAIgA=",
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "p"},
            "spec": {"minAvailable": "30%", "selector": {"matchLabels": {"a": "b"}}},
        },
    ),
    (
        "azhzAAoNCgJ2MRIHU2VydmljZRJjChsKAXMSABoAIgAqADIAOABCAFoICgNhcHASAXMSQAocCgY4MC13ZWISA1RDUBhQIgkIARAAGgN3ZWIo"
        "ABIICgNhcHASAXMaACIITm9kZVBvcnQ6AEIAUgBaAGAAaAAaAgoAGgAiAA==",
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s", "labels": {"app": "s"}},
            "spec": {
                "ports": [{"name": "80-web", "protocol": "TCP", "port": 80, "targetPort": "web"}],
                "selector": {"app": "s"},
                "type": "NodePort",
            },
        },
    ),
]


def pruned(value: Any) -> Any:
    """Without the empty rest that Go's encoder always writes, and JSON too."""
    if isinstance(value, dict):
        kept = {k: pruned(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v not in ({}, "")}
    return [pruned(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("body", "expected"), RECORDED, ids=lambda v: v["kind"] if isinstance(v, dict) else "")
def test_recorded_bodies(body: str, expected: dict[str, Any]) -> None:
    obj = decode(base64.b64decode(body))
    obj.pop("status", None)
    assert pruned(obj) == expected


@pytest.mark.parametrize("body", [b"", b"k8s", b"{}", MAGIC, MAGIC + b"\x0a\x05\x0a", MAGIC + b"\xff" * 30])
def test_what_is_no_such_body(body: bytes) -> None:
    with pytest.raises(ProtobufError):
        decode(body)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damage_is_an_error_or_another_object_never_a_crash(noise: bytes, at: int) -> None:
    body = base64.b64decode(RECORDED[0][0])
    for damaged in (body[:at] + noise + body[at + len(noise) :], body[:at], MAGIC + noise):
        try:
            assert isinstance(decode(damaged), dict)
        except ProtobufError:
            pass


def test_every_message_that_is_named_is_there() -> None:
    for name in _lines():
        for field in _fields(name).values():
            assert len(field.type) == 1 or field.type in _lines(), (name, field)
