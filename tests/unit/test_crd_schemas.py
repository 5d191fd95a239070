"""What a definition may say: structural rules, contradictions, printer columns' paths. All faults named at once."""

# ruff: noqa: E501  (tables read better a row a line)

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.controlplane.registry.crd.definitions import DefinitionStrategy
from parkube.controlplane.registry.crd.jsonpath import BadPath, compile_path
from parkube.controlplane.registry.crd.names import with_status
from parkube.controlplane.registry.crd.rows import priority
from parkube.controlplane.registry.crd.schema_rules import schema_faults
from parkube.controlplane.registry.schemas.patterns import compile_pattern
from parkube.controlplane.registry.schemas.structural import Structural
from parkube.kubeapi.objects import copy, find_condition

Obj = dict[str, Any]


def definition(spec_schema: Obj | None = None, **version: Any) -> Obj:
    """A good definition of garages, with what a test wants to be different."""
    schema = {"type": "object", "properties": {"spec": spec_schema or {"type": "object"}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "garages.parkube.io"},
        "spec": {
            "group": "parkube.io", "scope": "Namespaced",
            "names": {"plural": "garages", "kind": "Garage", "singular": "garage", "listKind": "GarageList"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
            ],
        },
    }  # fmt: skip


def faults(obj: Obj, old: Obj | None = None) -> dict[str, str]:
    """By field."""
    return {cause.field: cause.message for cause in DefinitionStrategy().validate(obj, old, "")}


ROOT = "spec.versions[0].schema.openAPIV3Schema"
SPEC = f"{ROOT}.properties[spec]"
OBJECT = {"type": "object"}
STRING = {"type": "string"}


def test_a_good_definition_has_no_fault() -> None:
    good = {
        "type": "object", "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "pattern": "^[a-z]+$"},
            "bays": {"type": "integer", "minimum": 0, "default": 10},
            "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "labels": {"type": "object", "additionalProperties": STRING},
            "extra": {"x-kubernetes-preserve-unknown-fields": True},
            "gates": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {"name": STRING}},
            },
            "kind": {"type": "string", "enum": ["indoor", "outdoor"], "default": "indoor"},
        },
        "anyOf": [{"required": ["bays"]}, {"properties": {"kind": {"enum": ["outdoor"]}}}],
    }  # fmt: skip
    columns = [{"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'}]
    scale = {"specReplicasPath": ".spec.bays", "statusReplicasPath": ".status.bays", "labelSelectorPath": ".status.sel"}
    obj = definition(good, additionalPrinterColumns=columns, subresources={"status": {}, "scale": scale})
    assert faults(obj) == {}


def test_a_schema_that_contradicts_itself_is_refused_with_every_fault_named() -> None:
    bad = {
        "type": "object", "required": ["name", "owner"],
        "properties": {
            "name": {"type": "string", "minLength": 10, "maxLength": 5},
            "bays": {"type": "integer", "minimum": 10, "maximum": 1, "enum": ["many"]},
            "gates": {"type": "array", "properties": {"a": STRING}},
            "code": {"type": "string", "pattern": "["},
            "any": {"description": "no type"},
            "odd": {"type": "strng"},
            "list": {"type": "string", "items": STRING},
            "both": {"type": "object", "properties": {"a": STRING}, "additionalProperties": STRING},
        },
    }  # fmt: skip
    found = faults(definition(bad))
    assert found == {
        f"{SPEC}.required[1]": 'Invalid value: "owner": must be one of the properties: any other field is pruned, so no '
        "object could satisfy this",
        f"{SPEC}.properties[name].minLength": "Invalid value: 10: must not be greater than maxLength (5): no value can "
        "satisfy both",
        f"{SPEC}.properties[bays].minimum": "Invalid value: 10: must not be greater than maximum (1): no value can "
        "satisfy both",
        f"{SPEC}.properties[bays].enum[0]": 'Invalid value: "many": must be of type integer: no value can satisfy both',
        f"{SPEC}.properties[gates].items": "Required value: must be specified",
        f"{SPEC}.properties[gates].properties": "Forbidden: must not be set: the type is array, not object",
        f"{SPEC}.properties[code].pattern": 'Invalid value: "[": must be a valid regular expression, but isn\'t: '
        "missing closing ] at position 0",
        f"{SPEC}.properties[any].type": "Required value: must not be empty for specified object fields",
        f"{SPEC}.properties[odd].type": 'Unsupported value: "strng": supported values: "array", "boolean", "integer", '
        '"number", "object", "string"',
        f"{SPEC}.properties[list].items": "Forbidden: must not be set: the type is string, not array",
        f"{SPEC}.properties[both].additionalProperties": "Forbidden: additionalProperties and properties are mutual "
        "exclusive",
    }


@pytest.mark.parametrize(
    ("schema", "field", "words"),
    [
        ({"type": "string"}, "type", "must be object at the root"),
        ({}, "type", "must not be empty at the root"),
        ({**OBJECT, "nullable": True}, "nullable", "nullable cannot be true at the root"),
        ({**OBJECT, "$ref": "#/x"}, "$ref", "$ref is not supported"),
        ({**OBJECT, "patternProperties": {"a": STRING}}, "patternProperties", "is not supported"),
        ({**OBJECT, "additionalProperties": False}, "additionalProperties", "cannot be set to false"),
        ({**OBJECT, "x-kubernetes-preserve-unknown-fields": False}, "x-kubernetes-preserve-unknown-fields", "must be true"),
        ({**OBJECT, "properties": {"metadata": {**OBJECT, "properties": {"labels": OBJECT}}}}, "properties[metadata]",
         "must not specify anything other than name and generateName"),
        ({**OBJECT, "properties": {"a": {"type": "integer", "x-kubernetes-int-or-string": True}}}, "properties[a].type",
         "must be empty if x-kubernetes-int-or-string is true"),
        ({**OBJECT, "properties": {"a": {"type": "array", "items": [STRING]}}}, "properties[a].items", "not an array"),
        ({**OBJECT, "properties": {"a": {"type": "array", "items": STRING, "uniqueItems": True}}},
         "properties[a].uniqueItems", "quadratic"),
        ({**OBJECT, "properties": {"a": STRING}, "anyOf": [{"properties": {"a": {"type": "string"}}}]},
         "anyOf[0].properties[a].type", "must be empty to be structural"),
        ({**OBJECT, "anyOf": [{"properties": {"b": {"minLength": 1}}}]}, "properties[b]",
         "because it is defined in S.anyOf[0].properties[b]"),
        ({**OBJECT, "properties": {"a": {"type": "integer", "default": "x"}}}, "properties[a].default",
         "must be of type integer"),
        ({**OBJECT, "properties": {"a": {"type": "string", "enum": ["x"], "default": "y"}}}, "properties[a].default",
         "supported values"),
        ({**OBJECT, "properties": {"a": {**OBJECT, "default": {"b": 1}}}}, "properties[a].default",
         "must not have unknown fields: b"),
        ({**OBJECT, "properties": {"a": {"type": "array", "items": STRING, "x-kubernetes-list-type": "map"}}},
         "properties[a].x-kubernetes-list-map-keys", "must not be empty"),
        ({**OBJECT, "properties": {"a": {"type": "string", "enum": []}}}, "properties[a].enum", "at least one value"),
        ({**OBJECT, "properties": {"a": "nonsense"}}, "properties[a]", "must be a schema object"),
    ],
)  # fmt: skip
def test_a_schema_that_is_not_structural(schema: Obj, field: str, words: str) -> None:
    found = {cause.field: cause.message for cause in schema_faults(schema, "S")}
    assert words in found.get(f"S.{field}", ""), found


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        (lambda d: d["metadata"].update(name="other"), "metadata.name", 'must be spec.names.plural+"."+spec.group'),
        (lambda d: d["spec"].update(scope="Town"), "spec.scope", "Unsupported value"),
        (lambda d: d["spec"]["names"].update(kind="Ga rage"), "spec.names.kind", "may have mixed case"),
        (lambda d: d["spec"]["names"].update(listKind="Garage"), "spec.names.listKind", "may not be the same"),
        (lambda d: d["spec"]["names"].update(shortNames=["G"]), "spec.names.shortNames[0]", "DNS-1035"),
        (lambda d: d["spec"].update(versions=[]), "spec.versions", "at least one version"),
        (lambda d: d["spec"]["versions"][0].update(storage=False), "spec.versions", "exactly one version"),
        (lambda d: d["spec"]["versions"].append(dict(d["spec"]["versions"][0])), "spec.versions[1].name", "Duplicate"),
        (lambda d: d["spec"]["versions"][0].pop("schema"), ROOT, "schemas are required"),
        (lambda d: d["spec"].update(conversion={"strategy": "Webhook"}), "spec.conversion.webhookClientConfig", "required when"),
        (lambda d: d["spec"]["versions"][0].update(additionalPrinterColumns=[{"name": "A", "type": "x", "jsonPath": "["}]),
         "spec.versions[0].additionalPrinterColumns[0].type", "Unsupported value"),
        (lambda d: d["spec"]["versions"][0].update(additionalPrinterColumns=[{"name": "A", "type": "date", "jsonPath": "a"}]),
         "spec.versions[0].additionalPrinterColumns[0].jsonPath", "a path starts with a dot"),
        (lambda d: d["spec"]["versions"][0].update(subresources={"scale": {"specReplicasPath": ".status.x"}}),
         "spec.versions[0].subresources.scale.specReplicasPath", "should be a json path under .spec"),
    ],
)  # fmt: skip
def test_other_faults_of_a_definition(change: Any, field: str, words: str) -> None:
    obj = definition()
    change(obj)
    assert words in faults(obj).get(field, ""), faults(obj)


def test_groups_of_kubernetes_itself_are_protected() -> None:
    obj = definition()
    obj["spec"]["group"], obj["metadata"]["name"] = "x.k8s.io", "garages.x.k8s.io"
    assert "api-approved" in "".join(faults(obj))
    for said, reason in (
        ("unapproved, a trial", "UnapprovedAnnotation"), ("https://example.com/1", "ApprovedAnnotation"),
        ("yes", "InvalidAnnotation"),
    ):  # fmt: skip
        obj["metadata"]["annotations"] = {"api-approved.kubernetes.io": said}
        assert bool(faults(obj)) is (reason == "InvalidAnnotation")
        condition = find_condition(with_status(obj, "", "", "now"), "KubernetesAPIApprovalPolicyConformant")
        assert condition is not None
        assert (condition["reason"], condition["status"]) == (reason, str(reason == "ApprovedAnnotation"))
    assert find_condition(with_status(definition(), "", "", "now"), "KubernetesAPIApprovalPolicyConformant") is None


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([""], "Required value"),
        (["spec.a"], "is an invalid path"),
        ([".spec.z"], "does not refer to a valid field"),
        ([".spec.list"], "must point to a field of type string, boolean or integer"),
        ([".spec.a", ".spec.a"], "Duplicate value"),
        ([f".spec.map.f{number}" for number in range(9)], "Too many: 9: must have at most 8 items"),
    ],
)
def test_fields_that_cannot_be_selected(paths: list[str], words: str) -> None:
    properties = {"a": {"type": "string"}, "list": {"type": "array", "items": {"type": "string"}},
                  "map": {"type": "object", "additionalProperties": {"type": "integer"}}}  # fmt: skip
    spec = {"type": "object", "properties": properties}
    assert faults(definition(spec, selectableFields=[{"jsonPath": ".spec.a"}, {"jsonPath": ".spec.map.x"}])) == {}
    told = faults(definition(spec, selectableFields=[{"jsonPath": path} for path in paths]))
    assert [field for field in told if ".selectableFields" in field]
    assert words in " ".join(told.values())


def test_what_an_update_may_not_change() -> None:
    old = {**definition(), "status": {"storedVersions": ["v1", "v1alpha1"]}}
    new = copy(old)
    new["spec"]["scope"] = "Cluster"
    new["spec"]["names"]["kind"] = "Park"
    assert set(faults(new, old)) == {"spec.scope", "spec.names.kind", "status.storedVersions[1]"}


OBJ = {
    "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
    "status": {
        "phase": "Open", "ready": True, "free": 3,
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Verified", "status": "False", "n": 2}],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".status.phase", ["Open"]), (".status.nothing.at.all", []), ("{.status.free}", [3]), ("$.status.ready", [True]),
        (".metadata.labels.app\\.kubernetes\\.io/name", ["web"]), (".metadata.labels['app.kubernetes.io/name']", ["web"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]), (".status.conditions[*].type", ["Ready", "Verified"]),
        (".status.conditions[?(@.type=='Nope')].status", []), (".status.conditions[0].type", ["Ready"]),
        (".status.conditions[-1:].type", ["Verified"]), (".status.conditions[9].type", []), ("..type", ["Ready", "Verified"]),
        (".status.conditions[?(@.n)].type", ["Verified"]), (".status.conditions[?(@.n > 1)].type", ["Verified"]),
        (".status.conditions[?(@.type > 1)].type", []),
    ],
)  # fmt: skip
def test_paths(path: str, found: list[Any]) -> None:
    assert compile_path(path)(OBJ) == found


@pytest.mark.parametrize("path", ["a.b", ".a[", ".a[x]", ".a[?(b)]", ".a b", ".a[?(@.b == c)]", "..", ".a..", "x"])
def test_what_is_not_a_path(path: str) -> None:
    with pytest.raises(BadPath):
        compile_path(path)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=".[]?(@=='\"\\*ab01:- ){}$", max_size=15))
def test_no_path_breaks_more_than_itself(path: str) -> None:
    try:
        find = compile_path(path)
    except BadPath:
        return
    assert isinstance(find({"a": {"b": [1, {"a": "b"}]}, "b": None}), list)


LEAF = st.sampled_from([STRING, {"type": "integer"}, {"type": "boolean"}, {"type": "string", "default": "d"}])
SCHEMA = st.recursive(
    LEAF,
    lambda below: st.one_of(
        st.dictionaries(st.sampled_from("abc"), below, max_size=3).map(lambda p: {"type": "object", "properties": p}),
        below.map(lambda items: {"type": "array", "items": items}),
        below.map(lambda values: {"type": "object", "additionalProperties": values}),
    ),
    max_leaves=6,
)  # fmt: skip
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.text("xy", max_size=2)),
    lambda below: st.one_of(st.lists(below, max_size=2), st.dictionaries(st.sampled_from("abcd"), below, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(SCHEMA, JSON)
def test_pruning_and_defaulting_settle_at_once(schema: Obj, value: Any) -> None:
    whole = {"type": "object", "properties": {"spec": schema}}
    assert schema_faults(whole, "S") == []
    structural, obj = Structural(whole), {"apiVersion": "a/b", "kind": "K", "metadata": {"x": 1}, "spec": value}
    structural.prune(obj)
    structural.default(obj)
    once = copy(obj)
    assert structural.prune(obj) == []
    structural.default(obj)
    assert obj == once
    assert obj["metadata"] == {"x": 1}


def test_versions_are_preferred_as_documented() -> None:
    names = ["foo1", "v1", "v10", "v2", "v1beta1", "v11alpha2", "v12alpha1", "v10beta3", "foo10", "v3beta1"]
    assert sorted(names, key=priority) == [
        "v10", "v2", "v1", "v10beta3", "v3beta1", "v1beta1", "v12alpha1", "v11alpha2", "foo1", "foo10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[a-z]+$", ["ab"], ["ab\n", "A", ""]), ("^(?i)(abort|warn)?$", ["WARN", ""], ["warning"]),
        ("^(a(?i)b|c)d$", ["aBd", "Cd"], ["ABd", "cD"]), ("^[[:alpha:]_]+$", ["a_Z"], ["a1"]),
        (r"^\Qa.b\E$", ["a.b"], ["axb"]), (r"^(?<n>x)\z", ["x"], ["xx"]), (r"^[\w\]\-]+$", ["a]-"], ["a b"]),
        (r"^\p{L}+$", ["é"], ["1"]), ("^[]a]$", ["]"], ["b"]), (r"(?m)^a$", ["b\na\nc"], ["b"]),
    ],
)  # fmt: skip
def test_patterns_are_gos(pattern: str, good: list[str], bad: list[str]) -> None:
    compiled = compile_pattern(pattern)
    assert [text for text in good if not compiled.search(text)] == []
    assert [text for text in bad if compiled.search(text)] == []


@pytest.mark.parametrize("pattern", ["(?=a)", "(?<!a)", r"(a)\1", "[", "(", ")", "a{2,1}", "*"])
def test_patterns_that_go_refuses(pattern: str) -> None:
    with pytest.raises(re.error):
        compile_pattern(pattern)
