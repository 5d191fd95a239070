"""What the API answers when it refuses a custom resource: as of a built-in kind, and what only definitions can say.

Source: Kubernetes API reference, `meta/v1` Status; Kubernetes documentation, "Custom Resources".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from parkube.controlplane.registry.crd.rows import rows_of
from parkube.kubeapi.errors import Obj
from tests.contract import test_statuses as builtin
from tests.contract.test_statuses import Running, failure

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DOORS = "/apis/park.example/v1/namespaces/default/doors"
SPEC: Obj = {
    "type": "object", "required": ["width"],
    "x-kubernetes-validations": [{"rule": "!has(self.most) || self.width <= self.most", "message": "too wide"}],
    "properties": {
        "width": {"type": "integer", "minimum": 1,
                  "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "a door does not shrink"}]},
        "most": {"type": "integer"},
        "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "label": {"type": "string", "maxLength": 5, "pattern": "^[a-z]*$"},
        "hinges": {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "map",
                   "x-kubernetes-list-map-keys": ["name"],
                   "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
    },
}  # fmt: skip
DEFINITION: Obj = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "doors.park.example"},
    "spec": {
        "group": "park.example", "scope": "Namespaced",
        "names": {"plural": "doors", "kind": "Door", "singular": "door", "listKind": "DoorList"},
        "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                      "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC}}}}],
    },
}  # fmt: skip
(ROW,) = rows_of(DEFINITION)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("custom"))
    assert made.ask("POST", CRDS, DEFINITION)[0] == 201
    yield made
    made.close()


def door(name: str = "front", **spec: Any) -> Obj:
    return {"apiVersion": "park.example/v1", "kind": "Door", "metadata": {"name": name}, "spec": {"width": 1, **spec}}


@pytest.mark.parametrize("refusal", [
    builtin.test_what_is_not_there, builtin.test_a_body_of_another_kind_or_version,
    builtin.test_a_value_of_another_type, builtin.test_names_that_cannot_be, builtin.test_a_name_in_another_place,
])  # fmt: skip
def test_as_of_a_built_in_kind(api: Running, refusal: Any) -> None:
    refusal(api, ROW)


@pytest.mark.parametrize(
    ("spec", "field", "reason", "message"),
    [
        ({"width": None}, "spec.width", "FieldValueTypeInvalid",
         'Invalid value: "null": spec.width in body must be of type integer: "null"'),
        ({"hinges": [{}]}, "spec.hinges[0].name", "FieldValueRequired", "Required value"),
        ({"width": "x"}, "spec.width", "FieldValueTypeInvalid",
         'Invalid value: "string": spec.width in body must be of type integer: "string"'),
        ({"width": 0}, "spec.width", "FieldValueInvalid",
         "Invalid value: 0: spec.width in body should be greater than or equal to 1"),
        ({"colour": "green"}, "spec.colour", "FieldValueNotSupported",
         'Unsupported value: "green": supported values: "red", "blue"'),
        ({"label": "abcdef"}, "spec.label", "FieldValueTooLong", "Too long: may not be more than 5 bytes"),
        ({"label": "A"}, "spec.label", "FieldValueInvalid",
         "Invalid value: \"A\": spec.label in body should match '^[a-z]*$'"),
        ({"hinges": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}, "spec.hinges", "FieldValueTooMany",
         "Too many: 3: must have at most 2 items"),
        ({"hinges": [{"name": "a"}, {"name": "a"}]}, "spec.hinges[1]", "FieldValueDuplicate",
         'Duplicate value: {"name":"a"}'),
        ({"width": 3, "most": 2}, "spec", "FieldValueInvalid", "Invalid value: too wide"),
    ],
)  # fmt: skip
def test_values_that_a_schema_refuses(api: Running, spec: Obj, field: str, reason: str, message: str) -> None:
    status, answer = api.ask("POST", DOORS, door("bad", **spec))
    assert (status, answer["reason"]) == (422, "Invalid")
    assert answer["message"].startswith('Door.park.example "bad" is invalid: ')
    about = answer["details"]
    assert (about["name"], about["group"], about["kind"]) == ("bad", "park.example", "Door")
    assert {"field": field, "reason": reason, "message": message} in about["causes"]
    assert api.ask("GET", f"{DOORS}/bad")[0] == 404


@pytest.mark.parametrize("kind", ["merge-patch+json", "apply-patch+yaml"])
def test_a_transition_that_a_rule_refuses(api: Running, kind: str) -> None:
    path, name = f"{DOORS}/{kind[:5]}", kind[:5]
    assert api.ask("POST", DOORS, door(name, width=5))[0] == 201
    query = "?fieldManager=test&force=true" if kind.startswith("apply") else ""
    _, answer = api.ask("PATCH", path + query, door(name, width=4), content_type=f"application/{kind}")
    sentence = f'Door.park.example "{name}" is invalid: spec.width: Invalid value: 4: a door does not shrink'
    assert failure(answer) == (422, "Invalid", sentence)
    assert api.ask("GET", path)[1]["spec"]["width"] == 5


def test_fields_that_a_schema_does_not_name(api: Running) -> None:
    _, answer = api.ask("POST", f"{DOORS}?fieldValidation=Strict", door("odd", nothing=1))
    assert failure(answer) == (
        400, "BadRequest",
        'Door in version "v1" cannot be handled as a Door: strict decoding error: unknown field "spec.nothing"',
    )  # fmt: skip


def test_patches_that_do_not_fit(api: Running) -> None:
    assert api.ask("POST", DOORS, door("patched"))[0] == 201
    path = f"{DOORS}/patched"
    _, answer = api.ask("PATCH", path, {}, content_type="application/strategic-merge-patch+json")
    assert failure(answer) == (
        415, "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
        "application/merge-patch+json, application/apply-patch+yaml",
    )  # fmt: skip
    gone = [{"op": "remove", "path": "/spec/nothing"}]
    _, answer = api.ask("PATCH", path, gone, content_type="application/json-patch+json")
    assert failure(answer) == (422, "Invalid", "the server rejected our request due to an error in our request")
    many = [{"op": "test", "path": "/kind", "value": "Door"}] * 10_001
    code, reason, message = failure(api.ask("PATCH", path, many, content_type="application/json-patch+json")[1])
    assert (code, reason) == (413, "RequestEntityTooLarge")
    assert message.startswith("Request entity is too large: The allowed maximum operations in a JSON patch is 10000")


def test_an_update_says_what_it_is_based_on(api: Running) -> None:
    made = api.ask("POST", DOORS, door("based"))[1]
    assert failure(api.ask("PUT", f"{DOORS}/based", door("based", width=2))[1]) == (
        422, "Invalid",
        'Door.park.example "based" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an '
        "update",
    )  # fmt: skip
    options = {"preconditions": {"resourceVersion": "1"}}
    code, reason, message = failure(api.ask("DELETE", f"{DOORS}/based", options)[1])
    assert (code, reason) == (409, "Conflict")
    assert message == (
        'Operation cannot be fulfilled on doors.park.example "based": Precondition failed: ResourceVersion in '
        f"precondition: 1, ResourceVersion in object meta: {made['metadata']['resourceVersion']}"
    )
    assert failure(api.ask("GET", f"{DOORS}/based/scale")[1]) == (
        404, "NotFound", "the server could not find the requested resource"
    )  # fmt: skip


def test_a_definition_that_goes_takes_nothing_new_and_then_is_not_known(api: Running) -> None:
    other = {**DEFINITION, "metadata": {"name": "walls.park.example"},
             "spec": {**DEFINITION["spec"], "names": {"plural": "walls", "kind": "Wall"}}}  # fmt: skip
    assert api.ask("POST", CRDS, other)[0] == 201
    walls = DOORS.replace("doors", "walls")
    held = {**door("held"), "kind": "Wall", "metadata": {"name": "held", "finalizers": ["park.example/wait"]}}
    assert api.ask("POST", walls, held)[0] == 201
    api.ask("DELETE", f"{CRDS}/walls.park.example")
    code, reason, message = failure(api.ask("POST", walls, {**held, "metadata": {"name": "late"}})[1])
    assert (code, reason) == (405, "MethodNotAllowed")
    assert message == "create not allowed while custom resource definition is terminating"
    free = [{"op": "remove", "path": "/metadata/finalizers"}]
    api.ask("PATCH", f"{walls}/held", free, content_type="application/json-patch+json")
    assert failure(api.ask("GET", walls)[1]) == (404, "NotFound", "the server could not find the requested resource")
