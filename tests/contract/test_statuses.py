"""What the API answers when it refuses, for each kind: code, reason, message and details as Kubernetes documents them.

Source: Kubernetes API reference, `meta/v1` Status and StatusDetails; the sentences that client libraries match on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from parkube.controlplane.pki import ensure
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.controlplane.registry.resource import Resource
from tests.fakes.apiserver import Line, serving

ROWS = [row for row in builtin_catalogue() if not row.virtual and row.gvr.group != "extensions"]
IDS = [".".join(part for part in (row.gvr.resource, row.gvr.group) if part) + f"/{row.gvr.version}" for row in ROWS]
each = pytest.mark.parametrize("row", ROWS, ids=IDS)


class Running:
    """A server on a loop of its own."""

    def __init__(self, folder: Any) -> None:
        self.runner, self.stack = asyncio.Runner(), AsyncExitStack()
        server = serving(ensure(folder, sans=["127.0.0.1"]), folder)
        self.server = self.runner.run(self.stack.enter_async_context(server))
        self.line = self.runner.run(self._line())

    async def _line(self) -> Line:
        return Line(self.server)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        return self.runner.run(self.line.ask(method, path, body, **headers))

    def close(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("statuses"))
    made.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    yield made
    made.close()


def place(row: Resource) -> str:
    return row.gvr.prefix + ("/namespaces/default" if row.namespaced else "") + f"/{row.gvr.resource}"


def full(row: Resource) -> str:
    return f"{row.gvr.resource}.{row.gvr.group}" if row.gvr.group else row.gvr.resource


def details(row: Resource, name: str, kind: str = "") -> dict[str, str]:
    group = {"group": row.gvr.group} if row.gvr.group else {}
    return {"name": name, **group, "kind": kind or row.gvr.resource}


def failure(answer: Any) -> tuple[int, str, str]:
    assert (answer["kind"], answer["apiVersion"], answer["status"]) == ("Status", "v1", "Failure"), answer
    return answer["code"], answer["reason"], answer["message"]


@each
def test_what_is_not_there(api: Running, row: Resource) -> None:
    sentence = f'{full(row)} "nobody" not found'
    asked: list[tuple[str, Any, str]] = [("GET", None, ""), ("DELETE", None, "")]
    if "patch" in row.verbs:
        asked.append(("PATCH", {"metadata": {"labels": {"a": "b"}}}, "application/merge-patch+json"))
    for method, body, kind in asked:
        status, answer = api.ask(method, place(row) + "/nobody", body, content_type=kind or "application/json")
        assert failure(answer) == (404, "NotFound", sentence), method
        assert (status, answer["details"]) == (404, details(row, "nobody"))


@each
def test_a_body_of_another_kind_or_version(api: Running, row: Resource) -> None:
    if "create" not in row.verbs:
        return
    other = {"apiVersion": row.api_version, "kind": "Other", "metadata": {"name": "x"}}
    code, reason, message = failure(api.ask("POST", place(row), other)[1])
    assert (code, reason) == (400, "BadRequest")
    assert message.startswith(f'Other in version "{row.gvr.version}" cannot be handled as a {row.kind}: ')
    version = {"apiVersion": "v9", "kind": row.kind, "metadata": {"name": "x"}}
    assert failure(api.ask("POST", place(row), version)[1]) == (
        400, "BadRequest",
        f"the API version in the data (v9) does not match the expected API version ({row.api_version})",
    )  # fmt: skip


@each
def test_a_body_that_cannot_be_read(api: Running, row: Resource) -> None:
    if "create" not in row.verbs:
        return
    code, reason, message = failure(api.ask("POST", place(row), b'{"kind":')[1])
    assert (code, reason) == (400, "BadRequest")
    assert message.startswith(
        f"the object provided is unrecognized (must be of type {row.kind}): couldn't get version/kind; json parse error"
    )
    code, reason, message = failure(api.ask("POST", place(row), b"<a/>", content_type="text/xml")[1])
    assert (code, reason) == (415, "UnsupportedMediaType")
    assert message == (
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        "application/yaml, application/vnd.kubernetes.protobuf"
    )


@each
def test_a_value_of_another_type(api: Running, row: Resource) -> None:
    if "create" not in row.verbs:
        return
    code, reason, message = failure(api.ask("POST", place(row), {"metadata": {"name": "x", "labels": "none"}})[1])
    assert (code, reason) == (400, "BadRequest")
    assert message == (
        f'{row.kind} in version "{row.gvr.version}" cannot be handled as a {row.kind}: json: cannot unmarshal string '
        "into Go struct field ObjectMeta.metadata.labels of type map[string]string"
    )


@each
def test_names_that_cannot_be(api: Running, row: Resource) -> None:
    if "create" not in row.verbs:
        return
    body = {"metadata": {"labels": {"-": "x"}, "name": "a/b"}}
    status, answer = api.ask("POST", place(row), body)
    code, reason, message = failure(answer)
    group = f".{row.gvr.group}" if row.gvr.group else ""
    assert (status, code, reason) == (422, 422, "Invalid")
    assert message.startswith(f'{row.kind}{group} "a/b" is invalid: [')
    found = answer["details"]
    assert {key: found[key] for key in found if key not in ("causes", "uid")} == details(row, "a/b", row.kind)
    causes = {(cause["field"], cause["reason"]) for cause in found["causes"]}
    assert ("metadata.name", "FieldValueInvalid") in causes
    assert ("metadata.labels", "FieldValueInvalid") in causes


@each
def test_a_name_in_another_place(api: Running, row: Resource) -> None:
    if "update" not in row.verbs:
        return
    body = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": "one"}}
    assert failure(api.ask("PUT", place(row) + "/two", body)[1]) == (
        400, "BadRequest", "the name of the object (one) does not match the name on the URL (two)"
    )  # fmt: skip
    if row.namespaced and "create" in row.verbs:
        body["metadata"] = {"name": "one", "namespace": "elsewhere"}
        assert failure(api.ask("POST", place(row), body)[1]) == (
            400, "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request",
        )  # fmt: skip


@each
def test_methods_and_patches_that_are_not_known(api: Running, row: Resource) -> None:
    known = (405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    assert failure(api.ask("PUT", place(row), {})[1]) == known
    assert failure(api.ask("POST", place(row) + "/one", {})[1]) == known
    if "patch" in row.verbs:
        code, reason, message = failure(api.ask("PATCH", place(row) + "/one", {}, content_type="application/json")[1])
        assert (code, reason) == (415, "UnsupportedMediaType")
        assert message == (
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, "
            "application/apply-patch+yaml"
        )


@each
def test_lists_that_cannot_be(api: Running, row: Resource) -> None:
    path = place(row)
    assert failure(api.ask("GET", f"{path}?fieldSelector=spec.nothing=x")[1]) == (
        400, "BadRequest", "field label not supported: spec.nothing"
    )  # fmt: skip
    code, reason, message = failure(api.ask("GET", f"{path}?resourceVersionMatch=Exact")[1])
    assert (code, reason) == (422, "Invalid")
    assert message == (
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden '
        "unless resourceVersion is provided"
    )
    code, reason, message = failure(api.ask("GET", f"{path}?resourceVersion=99999999")[1])
    assert (code, reason) == (504, "Timeout")
    assert message.startswith("Too large resource version: 99999999, current: ")
    code, reason, message = failure(api.ask("GET", path, accept="application/xml")[1])
    assert (code, reason) == (406, "NotAcceptable")
    assert message == (
        "only the following media types are accepted: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf"
    )


def test_what_is_there_already_changed_or_another(api: Running) -> None:
    path, body = "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "here"}}
    made = api.ask("POST", path, body)[1]
    status, answer = api.ask("POST", path, body)
    assert failure(answer) == (409, "AlreadyExists", 'configmaps "here" already exists')
    assert (status, answer["details"]) == (409, {"name": "here", "kind": "configmaps"})
    old = {"metadata": {"name": "here", "resourceVersion": "1"}}
    assert failure(api.ask("PUT", f"{path}/here", old)[1]) == (
        409, "Conflict",
        'Operation cannot be fulfilled on configmaps "here": the object has been modified; please apply your changes '
        "to the latest version and try again",
    )  # fmt: skip
    options = {"preconditions": {"uid": "other"}}
    uid = made["metadata"]["uid"]
    assert failure(api.ask("DELETE", f"{path}/here", options)[1]) == (
        409, "Conflict",
        'Operation cannot be fulfilled on configmaps "here": Precondition failed: UID in precondition: other, UID in '
        f"object meta: {uid}",
    )  # fmt: skip
    status, done = api.ask("DELETE", f"{path}/here")
    assert (status, done["status"], done["details"]) == (
        200, "Success", {"name": "here", "kind": "configmaps", "uid": uid}
    )  # fmt: skip


def test_options_are_all_told(api: Running) -> None:
    path = "/api/v1/namespaces/default/configmaps?dryRun=Some&fieldValidation=Odd&fieldManager=%01"
    status, answer = api.ask("POST", path, {"metadata": {"name": "x"}})
    assert (status, [cause["field"] for cause in answer["details"]["causes"]]) == (
        422, ["fieldManager", "dryRun", "fieldValidation"]
    )  # fmt: skip
    assert answer["message"].startswith('CreateOptions.meta.k8s.io "" is invalid: [fieldManager: Invalid value: ')
    status, answer = api.ask("DELETE", "/api/v1/namespaces/default/configmaps/x?propagationPolicy=Odd")
    assert failure(answer) == (
        422, "Invalid",
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Odd": supported values: '
        '"Foreground", "Background", "Orphan", "nil"',
    )  # fmt: skip
