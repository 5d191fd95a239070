"""Bodies as kubectl 1.33 sends them in protobuf, recorded, what is no such body, and what we answer read back."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parkube.controlplane.apiserver.protobuf import (
    ProtobufError,
    decode,
    encode,
    encode_event,
    encode_items,
    encode_list,
    message_of,
)
from parkube.controlplane.apiserver.protobuf.tables import MAGIC, fields_of, lines
from parkube.controlplane.registry.kinds import builtin_rows

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
    for name in lines():
        for field in fields_of(name).values():
            assert len(field.type) == 1 or field.type in lines(), (name, field)


def test_every_built_in_kind_and_its_list_have_a_message() -> None:
    for row in builtin_rows():
        if row.gvr.group != "extensions":  # served for old kubectl alone, which speaks JSON
            assert message_of(row.api_version, row.kind), row.gvr
            assert row.virtual or message_of(row.api_version, row.list_kind), row.gvr


@pytest.mark.parametrize(
    ("api_version", "kind"), [("parkube.io/v1", "Garage"), ("apps.example.com/v1", "Deployment"), ("v1", "Nothing")]
)
def test_other_kinds_have_none(api_version: str, kind: str) -> None:
    assert message_of(api_version, kind) == ""


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
EPOCH = "1970-01-01T00:00:00"  # on the wire it is the same as no time
TIME = (
    st.datetimes(min_value=datetime.fromisoformat("0001-01-01T00:00:01"))
    .map(lambda at: at.isoformat(timespec="seconds"))
    .filter(lambda text: text != EPOCH)
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "s": TEXT, "i": st.integers(-(2**31), 2**31 - 1), "b": st.booleans(), "d": st.floats(allow_nan=False),
    "y": st.binary(min_size=1, max_size=8).map(lambda raw: base64.b64encode(raw).decode()),
    "meta.Time": TIME.map(lambda text: text + "Z"), "meta.MicroTime": TIME.map(lambda text: text + ".000120Z"),
    "intstr.IntOrString": TEXT | st.integers(0, 2**31 - 1), "resource.Quantity": st.sampled_from(["1", "500m", "2Gi"]),
    "runtime.RawExtension": st.just({"a": [1, "b"]}), "apiextensions.JSON": st.sampled_from([{"a": [1]}, [], 0, "x"]),
    "meta.FieldsV1": st.just({"f:spec": {}}), "meta.Verbs": st.lists(TEXT, min_size=1),
    "authentication.ExtraValue": st.lists(TEXT, min_size=1), "authorization.ExtraValue": st.lists(TEXT, min_size=1),
    "certificates.ExtraValue": st.lists(TEXT, min_size=1),
    "apiextensions.JSONSchemaPropsOrBool": st.booleans() | st.just({"type": "string"}),
    "apiextensions.JSONSchemaPropsOrArray": st.just({"type": "string"}) | st.just([{"type": "string"}]),
    "apiextensions.JSONSchemaPropsOrStringArray": st.just({"type": "string"}) | st.just(["a", "b"]),
}  # fmt: skip


@st.composite
def messages(draw: st.DrawFn, name: str, depth: int = 0) -> dict[str, Any]:
    """An object with some of the message's fields, in its JSON form."""
    found: dict[str, Any] = {}
    fields = list(fields_of(name).values())
    for field in draw(st.lists(st.sampled_from(fields), max_size=3, unique=True)) if fields else ():
        if depth > 3 and field.type not in VALUES:
            continue
        value = VALUES[field.type] if field.type in VALUES else messages(field.type, depth + 1)
        if field.inline:
            found |= draw(messages(field.type, depth + 1))
        elif field.mark == "*":
            found[field.name] = draw(st.lists(value, min_size=1, max_size=2))
        elif field.mark == "%":
            found[field.name] = draw(st.dictionaries(TEXT, value, min_size=1, max_size=2))
        else:
            made = draw(value)
            if not (field.droppable and made in ("", 0, {})):
                found[field.name] = made
    return found


KINDS = [("v1", "Pod"), ("apps/v1", "Deployment"), ("batch/v1", "CronJob"), ("networking.k8s.io/v1", "Ingress"),
         ("apiextensions.k8s.io/v1", "CustomResourceDefinition"), ("resource.k8s.io/v1", "ResourceClaim"),
         ("autoscaling/v2", "HorizontalPodAutoscaler"), ("v1", "PersistentVolume"), ("v1", "Status"),
         ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"), ("storage.k8s.io/v1", "CSINode")]  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first example reads the definitions
@given(st.data())
def test_what_is_written_is_read_back(data: st.DataObject) -> None:
    api_version, kind = data.draw(st.sampled_from(KINDS))
    obj = data.draw(messages(message_of(api_version, kind))) | {"apiVersion": api_version, "kind": kind}
    assert decode(encode(obj)) == obj


def test_what_is_null_or_of_no_message_is_left_out() -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "creationTimestamp": None}, "new": 1}
    assert decode(encode(obj)) == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


def test_a_set_of_fields_is_written_in_order() -> None:
    """As a client has it that read the same set from JSON: the two are then equal."""
    fields = {"f:spec": {"f:z": {}, "f:a": {}, ".": {}}, "f:data": {}}
    entry = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "managedFields": [entry]}}
    assert b'{"f:data":{},"f:spec":{".":{},"f:a":{},"f:z":{}}}' in encode(obj)


def test_a_list_and_an_event() -> None:
    item = {"metadata": {"name": "a"}, "data": {"k": "v"}}
    body = encode_list("v1", "ConfigMapList", {"resourceVersion": "7"}, encode_items("v1", "ConfigMap", [item, item]))
    assert decode(body) == {
        "apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7"}, "items": [item, item]
    }  # fmt: skip
    frame = encode_event("ADDED", {"apiVersion": "v1", "kind": "ConfigMap", **item})
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert frame[4:11] == b"\x0a\x05ADDED"
    assert decode(frame[frame.index(MAGIC) :])["data"] == {"k": "v"}
