"""The shared language: selectors, quantities, patches, small helpers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parkube.controlplane.registry.schemas import shape_of_gvk
from parkube.kubeapi import objects, patches, quantities
from parkube.kubeapi.errors import BadRequest, Invalid, Obj
from parkube.kubeapi.selectors import NOTHING, FieldSelector, LabelSelector

# -- selectors


@pytest.mark.parametrize(
    ("text", "matching", "other"),
    [
        ("a=b,c!=d", {"a": "b"}, {"a": "b", "c": "d"}),
        ("a in (b, c),!x", {"a": "c"}, {"a": "c", "x": ""}),
        ("a notin (b)", {}, {"a": "b"}),
        ("node-role.kubernetes.io/master", {"node-role.kubernetes.io/master": ""}, {}),
        ("n>3,n<9", {"n": "5"}, {"n": "x"}),
        ("a=", {"a": ""}, {}),
        ("", {"any": "thing"}, None),
    ],
)
def test_label_selectors(text: str, matching: dict[str, str], other: dict[str, str] | None) -> None:
    selector = LabelSelector.parse(text)
    assert selector.matches(matching)
    assert other is None or not selector.matches(other)
    assert LabelSelector.parse(str(selector)) == selector


@pytest.mark.parametrize("text", ["a b", "=x", "a=b,", "a in b", "a=b c", "a in (b$)", "x>y", ","])
def test_broken_label_selectors_are_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        LabelSelector.parse(text)


def test_selectors_as_objects() -> None:
    obj = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["db"]}, {"key": "x", "operator": "DoesNotExist"},
        ],
    }  # fmt: skip
    selector = LabelSelector.from_object(obj)
    assert str(selector) == "app=web,tier notin (db),!x"
    assert selector.matches({"app": "web"})
    assert not selector.matches({"app": "web", "tier": "db"})
    assert LabelSelector.from_object({}).matches({"a": "b"})
    assert not LabelSelector.from_object(None).matches({})
    assert LabelSelector.from_object(None) is NOTHING
    with pytest.raises(BadRequest):
        LabelSelector.from_object({"matchExpressions": [{"key": "a", "operator": "Like"}]})


@settings(max_examples=500)
@example([("a.b", False, "\\"), ("a.b", False, "")])
@given(st.lists(st.tuples(st.sampled_from(["a.b", "c"]), st.booleans(), st.text(max_size=8)), max_size=3))
def test_field_selectors_survive_printing(terms: list[tuple[str, bool, str]]) -> None:
    from parkube.kubeapi.selectors import FieldTerm

    selector = FieldSelector(tuple(FieldTerm(*term) for term in terms))
    assert FieldSelector.parse(str(selector)) == selector


def test_field_selectors() -> None:
    selector = FieldSelector.parse("spec.nodeName==n1,status.phase!=Failed")
    assert selector.required("spec.nodeName") == "n1"
    assert selector.required("status.phase") is None
    fields = {"spec.nodeName": "n1", "status.phase": "Running"}
    assert selector.matches(lambda path: fields[path])
    with pytest.raises(BadRequest):
        FieldSelector.parse("nonsense")


# -- quantities


@pytest.mark.parametrize(
    ("text", "canonical", "millis", "whole"),
    [
        ("100m", "100m", 100, 1), ("0.5", "500m", 500, 1), ("1000m", "1", 1000, 1),
        ("1.5Gi", "1536Mi", None, 1610612736),
        ("1024Mi", "1Gi", None, 1 << 30), ("12e6", "12e6", None, 12_000_000), ("1000", "1k", None, 1000),
        ("0", "0", 0, 0), ("-2", "-2", -2000, -2), ("100n", "100n", 1, 1), ("512", "512", 512_000, 512),
    ],
)  # fmt: skip
def test_quantities(text: str, canonical: str, millis: int | None, whole: int) -> None:
    assert quantities.canonical(text) == canonical
    assert quantities.bytes_of(text) == whole
    assert millis is None or quantities.cpu_millis(text) == millis


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "m", "k", "Ki", "Mi", "M", "G", "e3", "e-3", "u"]))
def test_the_canonical_form_is_the_same_number_and_its_own_canonical_form(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    canonical = quantities.canonical(text)
    assert quantities.parse(canonical) == quantities.parse(text)
    assert quantities.canonical(canonical) == canonical


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "--1", "1gi", "1e", "١"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        quantities.parse(text)
    assert quantities.parse(0.5) == Decimal("0.5")


# -- patches


def deployment() -> Obj:
    containers = [
        {"name": "web", "image": "nginx:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"name": "side", "image": "side:1"},
    ]
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "finalizers": ["x/a", "x/b"]},
        "spec": {"replicas": 1, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
                 "template": {"spec": {"containers": containers, "volumes": [{"name": "v", "emptyDir": {}}]}}},
    }  # fmt: skip


def strategic(patch: Obj) -> Obj:
    before = deployment()
    result = patches.strategic_merge(before, patch, shape_of_gvk("apps", "v1", "Deployment"))
    assert before == deployment()
    return result


def in_template(**spec: Any) -> Obj:
    return {"spec": {"template": {"spec": spec}}}


def names(obj: Obj, field: str = "containers") -> list[str]:
    return [item["name"] for item in obj["spec"]["template"]["spec"][field]]


def test_strategic_lists_merge_by_key() -> None:
    result = strategic(in_template(containers=[{"name": "side", "image": "side:2"}, {"name": "new", "image": "n"}]))
    assert names(result) == ["web", "side", "new"]
    spec = result["spec"]["template"]["spec"]
    assert [c["image"] for c in spec["containers"]] == ["nginx:1", "side:2", "n"]
    env = [{"name": "B", "value": None}, {"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]
    result = strategic(in_template(containers=[{"name": "web", "env": env}]))
    assert result["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "B"}, {"name": "C", "value": "3"}]


def test_strategic_directives() -> None:
    result = strategic(in_template(containers=[{"name": "web", "$patch": "delete"}]))
    assert names(result) == ["side"]
    result = strategic(in_template(containers=[{"$patch": "replace"}, {"name": "only", "image": "o"}]))
    assert names(result) == ["only"]
    result = strategic({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})
    assert result["spec"]["strategy"] == {"type": "Recreate"}
    result = strategic({"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}})
    assert result["spec"]["strategy"] == {"type": "Recreate"}
    result = strategic({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"], "finalizers": ["x/c"]}})
    assert result["metadata"]["finalizers"] == ["x/c", "x/b"]  # what is new comes first
    result = strategic({"spec": {"strategy": None, "template": {"$patch": "delete"}}})
    assert result["spec"] == {"replicas": 1}


def test_strategic_order() -> None:
    assert names(strategic(in_template(containers=[{"name": "new", "image": "n"}]))) == ["new", "web", "side"]
    assert names(strategic(in_template(containers=[{"name": "side", "image": "n"}]))) == ["web", "side"]
    order = [{"name": "new"}, {"name": "web"}]
    patch = in_template(containers=[{"name": "new", "image": "n"}])
    patch["spec"]["template"]["spec"]["$setElementOrder/containers"] = order
    assert names(strategic(patch)) == ["new", "web", "side"]
    swap = in_template(**{"$setElementOrder/containers": [{"name": "side"}, {"name": "web"}]})
    assert names(strategic(swap)) == ["side", "web"]


@pytest.mark.parametrize(
    "patch",
    [
        in_template(containers=[{"image": "no name"}]), {"spec": {"$patch": "explode"}},
        {"spec": {"strategy": {"$retainKeys": "type"}}}, {"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}},
    ],
)  # fmt: skip
def test_strategic_nonsense_is_refused(patch: Obj) -> None:
    with pytest.raises(BadRequest, match="invalid strategic merge patch"):
        strategic(patch)


def test_without_a_schema_lists_replace() -> None:
    assert patches.strategic_merge({"a": [1, 2]}, {"a": [3]}, None) == {"a": [3]}


json_values = st.recursive(
    st.none() | st.integers(0, 99) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.sampled_from("abc"), json_values, max_size=3)


def _has_null(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and any(_has_null(v) for v in value.values()))


@given(json_objects, json_objects)
def test_merge_patches_are_idempotent_and_leave_their_arguments_alone(obj: Obj, patch: Obj) -> None:
    before, given_patch = objects.copy(obj), objects.copy(patch)
    once = patches.merge_patch(obj, patch)
    assert (obj, patch) == (before, given_patch)
    assert patches.merge_patch(once, patch) == once
    for key, value in patch.items():
        if value is None:
            assert key not in once
        elif not _has_null(value) and not isinstance(value, dict):
            assert once[key] == value


def test_json_patches() -> None:
    obj = {"metadata": {"name": "a"}, "list": [1, 2]}
    patch = [{"op": "add", "path": "/list/-", "value": 3}, {"op": "remove", "path": "/list/0"}]
    assert patches.json_patch(obj, patch)["list"] == [2, 3]
    assert obj["list"] == [1, 2]
    for unfit in ([{"op": "remove", "path": "/nowhere"}], [{"op": "test", "path": "/list", "value": 1}],
                  [{"op": "replace", "path": "", "value": 1}]):  # fmt: skip
        with pytest.raises(Invalid):
            patches.json_patch(obj, unfit)
    for broken in ([{"op": "explode", "path": "/a"}], [{"op": "add"}], ["text"]):
        with pytest.raises(BadRequest):
            patches.json_patch(obj, broken)  # type: ignore[arg-type]


# -- helpers


def test_helpers() -> None:
    owner = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "uid": "u"}}
    obj = {"metadata": {"name": "a", "namespace": "ns", "ownerReferences": [objects.owner_reference(owner)]}}
    assert objects.key(obj) == "ns/a"
    assert objects.split_key("ns/a") == ("ns", "a")
    assert objects.split_key("a") == ("", "a")
    controller = objects.controller_of(obj)
    assert controller is not None
    assert controller["uid"] == "u"
    assert objects.controller_of(owner) is None
    assert objects.rfc3339(0.9) == "1970-01-01T00:00:00Z"
    assert objects.parse_rfc3339(objects.rfc3339_micro(12.25)) == 12.25
    conditions: list[Obj] = []
    assert objects.set_condition(conditions, "Ready", "True", "Up", "", "t1")
    assert not objects.set_condition(conditions, "Ready", "True", "Up", "", "t2")
    assert objects.set_condition(conditions, "Ready", "True", "Up", "more", "t3")
    assert conditions[0]["lastTransitionTime"] == "t1"
    assert objects.dig({"a": [{"b": 1}]}, "a", 0, "b") == 1
    assert objects.dig({"a": [{"b": 1}]}, "a", 5, "b", default="none") == "none"
