"""CEL rules of custom resources: what they see, when they apply, and how a broken one is told."""

from __future__ import annotations

from typing import Any

import pytest

from parkube.controlplane.registry.schemas.rules import Rules, escaped
from parkube.kubeapi.client import CRDS
from parkube.kubeapi.errors import Invalid, Obj
from tests.fakes.cluster import Cluster
from tests.unit.test_crd_schemas import definition, faults
from tests.unit.test_crd_served import GARAGES, NAME, garages

INTEGER = {"type": "integer"}


def node(rule: str | Obj, **schema: Any) -> Obj:
    rules = [{"rule": rule} if isinstance(rule, str) else rule]
    return {"type": "object", **schema, "x-kubernetes-validations": rules}


def judge(schema: Obj, value: Any, old: Any = None) -> dict[str, str]:
    return {cause.field: cause.message for cause in Rules(schema).faults(value, old)}


def test_a_broken_rule_names_its_field_and_says_why() -> None:
    spec = node("self.low <= self.high", properties={"low": INTEGER, "high": INTEGER})
    schema = {"type": "object", "properties": {"spec": spec}}
    assert judge(schema, {"spec": {"low": 1, "high": 2}}) == {}
    assert judge(schema, {"spec": {"low": 3, "high": 2}}) == {
        "spec": "Invalid value: failed rule: self.low <= self.high"
    }
    spec["x-kubernetes-validations"][0] |= {
        "message": "crossed", "messageExpression": "'low is ' + string(self.low)", "fieldPath": ".low",
        "reason": "FieldValueForbidden",
    }  # fmt: skip
    assert judge(schema, {"spec": {"low": 3, "high": 2}}) == {"spec.low": "Forbidden: low is 3"}
    assert judge(schema, {"spec": {"high": 2}})["spec"].endswith("evaluating rule: crossed")


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("self.metadata.name == self.spec.name", {"metadata": {"name": "a"}, "spec": {"name": "a"}},
         {"metadata": {"name": "a", "labels": {}}, "spec": {"name": "b"}}),
        ("!has(self.spec.none)", {"spec": {"none": None}}, {"spec": {"none": 1}}),
        ("self.spec.two__dash__words + self.spec.__for__ == 3", {"spec": {"two-words": 1, "for": 2}},
         {"spec": {"two-words": 1, "for": 1}}),
        ("self.spec.map.all(key, key.startsWith('x'))", {"spec": {"map": {"x-1": 1}}}, {"spec": {"map": {"y": 1}}}),
        ("self.spec.share < 1.0", {"spec": {"share": 0}}, {"spec": {"share": 1}}),
        ("!has(self.spec.unnamed)", {"spec": {"unnamed": 1}}, {}),
        ("isQuantity(self.spec.size)", {"spec": {"size": "1Gi"}}, {"spec": {"size": "much"}}),
    ],
)  # fmt: skip
def test_what_a_rule_sees(rule: str, good: Obj, bad: Obj) -> None:
    names = {"name": {"type": "string"}, "none": {"type": "integer", "nullable": True}, "two-words": INTEGER,
             "for": INTEGER, "share": {"type": "number"}, "size": {"type": "string"},
             "map": {"type": "object", "additionalProperties": INTEGER}}  # fmt: skip
    schema = node(rule, properties={"spec": {"type": "object", "properties": names}})
    assert judge(schema, good) == {}
    assert not bad or list(judge(schema, bad)) == ["<nil>"]


def test_transition_rules_apply_where_the_old_value_can_be_found() -> None:
    item = node("self.size >= oldSelf.size", properties={"name": {"type": "string"}, "size": INTEGER})
    gates = {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    limits = {"type": "object", "additionalProperties": {**INTEGER, "x-kubernetes-validations": [
        {"rule": "self == oldSelf", "message": "fixed"}]}}  # fmt: skip
    schema = {"type": "object", "properties": {"gates": gates, "limits": limits}}
    old = {"gates": [{"name": "a", "size": 5}, {"name": "b", "size": 5}], "limits": {"x": 1}}
    assert judge(schema, old) == {}
    assert judge(schema, {"gates": [{"name": "c", "size": 1}, {"name": "a", "size": 6}], "limits": {"y": 2}}, old) == {}
    assert judge(schema, {"gates": [{"name": "b", "size": 5}, {"name": "a", "size": 4}], "limits": {"x": 2}}, old) == {
        "gates[1]": "Invalid value: failed rule: self.size >= oldSelf.size",
        "limits[x]": "Invalid value: 2: fixed",
    }


def test_an_optional_old_self_is_asked_on_creation_too() -> None:
    rule = {"rule": "oldSelf.hasValue() ? oldSelf.value().n < self.n : self.n == 1", "optionalOldSelf": True}
    schema = node(rule, properties={"n": INTEGER})
    assert judge(schema, {"n": 1}) == {}
    assert judge(schema, {"n": 2}) != {}
    assert judge(schema, {"n": 2}, {"n": 1}) == {}
    assert judge(schema, {"n": 1}, {"n": 1}) != {}


def test_what_was_wrong_and_stays_so_is_let_pass() -> None:
    spec = node("self.n > 5", properties={"n": INTEGER, "m": INTEGER})
    schema = {"type": "object", "properties": {"spec": spec, "other": INTEGER}}
    assert judge(schema, {"spec": {"n": 1}, "other": 2}, {"spec": {"n": 1}, "other": 1}) == {}
    assert judge(schema, {"spec": {"n": 1, "m": 2}}, {"spec": {"n": 1}}) != {}


@pytest.mark.parametrize(("name", "word"), [
    ("a-b", "a__dash__b"), ("a.b/c", "a__dot__b__slash__c"), ("a__b", "a__underscores__b"), ("in", "__in__"),
])  # fmt: skip
def test_names_that_cel_cannot_write(name: str, word: str) -> None:
    assert escaped(name) == word


@pytest.mark.parametrize(
    ("rule", "at", "words"),
    [
        ({"rule": " "}, "rule", "rule is not specified"),
        ({"rule": "self.bays >"}, "rule", "compilation failed"),
        ({"rule": "self.bays.size() > nobody"}, "rule", "undeclared reference"),
        ({"rule": "self.bayz > 1"}, "rule", "undefined field 'bayz'"),
        ({"rule": "self.bays > 1", "message": " "}, "message", "must be non-empty if specified"),
        ({"rule": "self.bays > 1", "message": "a\nb"}, "message", "must not contain line breaks"),
        ({"rule": "self.bays > 1", "reason": "Bad"}, "reason", "Unsupported value"),
        ({"rule": "self.bays > 1", "messageExpression": "1 +"}, "messageExpression", "compilation failed"),
        ({"rule": "self.bays > 1", "optionalOldSelf": True}, "optionalOldSelf", "may not be set if oldSelf is not"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_evaluated_are_refused_with_the_definition(rule: Obj, at: str, words: str) -> None:
    spec = node(rule, properties={"bays": INTEGER})
    field = f"spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].{at}"
    assert words in faults(definition(spec)).get(field, "")


def test_old_values_of_lists_without_keys_cannot_be_found() -> None:
    gates = {"type": "array", "items": {**INTEGER, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}
    (told,) = faults(definition({"type": "object", "properties": {"gates": gates}})).values()
    assert "uncorrelatable portion of the schema" in told


async def test_rules_hold_for_every_way_of_writing_and_store_nothing() -> None:
    async with Cluster() as cluster:
        obj = garages()
        schema = obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        rules = [{"rule": "self.bays >= oldSelf.bays", "message": "bays do not go away"}]
        status = [{"rule": "!has(self.status) || !has(self.status.open) || self.status.open <= self.spec.bays"}]
        properties = schema["properties"]
        obj["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": {
            **schema, "x-kubernetes-validations": status,
            "properties": {**properties, "spec": {**properties["spec"], "x-kubernetes-validations": rules}},
        }}  # fmt: skip
        await cluster.create(CRDS, NAME, spec=obj["spec"])
        await cluster.create(GARAGES, "west", "default", spec={"bays": 3})
        with pytest.raises(Invalid, match="spec: Invalid value: bays do not go away"):
            await cluster.change(GARAGES, "west", "default", spec={"bays": 2})
        with pytest.raises(Invalid, match="failed rule: !has"):
            await cluster.change(GARAGES, "west", "default", subresource="status", status={"open": 4})
        with pytest.raises(Invalid, match="some validation rules were not checked because the object was invalid"):
            await cluster.change(GARAGES, "west", "default", spec={})
        assert (await cluster.get(GARAGES, "west", "default"))["spec"]["bays"] == 3
