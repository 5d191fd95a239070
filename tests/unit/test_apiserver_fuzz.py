"""Requests made up from the OpenAPI definitions, with values of wrong types among them: an answer is never a 500, and
what is refused leaves nothing behind and changes nothing."""

from __future__ import annotations

import asyncio
import json
import random
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.controlplane.apiserver.protobuf import ProtobufError, encode, message_of
from parkube.controlplane.pki import ensure
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.schemas import generated
from tests.fakes.apiserver import Line, serving

ROWS = [row for row in builtin_catalogue() if "create" in row.verbs and row.gvr.resource != "namespaces"]
PATCHES = ["merge-patch+json", "strategic-merge-patch+json", "json-patch+json", "apply-patch+yaml"]
ODD: list[Any] = [None, True, -1, 1 << 70, 1.5, "", "x", "é\n", [], [None], [[1]], {}, {"a": None}, {"": {"": []}}]
_LEFT = ("resourceVersion", "generateName", "uid", "finalizers")
_POINTERS = ("/spec", "/metadata/labels/a", "/status", "", "/x/0/y", "/metadata")
WORDS = ["a", "A b", "x" * 300, "TCP", "In", "Exists", "NodePort", "25%", "100m", "2026-01-01T00:00:00Z", "YQ==", "/.."]


class Definitions:
    """Objects made up from the published definitions."""

    def __init__(self, dice: random.Random) -> None:
        self.dice, self.odd = dice, dice.choice((0.0, 0.0, 0.02))

    def value(self, node: Any, depth: int) -> Any:
        if self.dice.random() < self.odd:
            return self.dice.choice(ODD)
        if "$ref" in node:
            return self.value(DEFINITIONS[node["$ref"].rpartition("/")[2]], depth)
        kind = node.get("type")
        if kind == "array":
            count = self.dice.choice((0, 1, 2)) if depth < 6 else 0
            return [self.value(node.get("items") or {}, depth + 1) for _ in range(count)]
        if kind == "integer":
            return self.dice.choice((0, 1, -1, 80, 65536, (1 << 31) - 1))
        if kind == "boolean":
            return self.dice.random() < 0.5
        if kind == "string":
            return self.dice.choice(WORDS)
        if isinstance(node.get("additionalProperties"), dict):
            return {self.dice.choice(WORDS): self.value(node["additionalProperties"], depth + 1)}
        chance = 0.6 if depth < 3 else 0.35 if depth < 7 else 0.1
        found = {
            key: self.value(below, depth + 1)
            for key, below in (node.get("properties") or {}).items()
            if self.dice.random() < chance or key in node.get("required", ())
        }
        if self.dice.random() < 2 * self.odd:
            found["unheardOf"] = self.dice.choice(ODD)
        return found

    def of(self, row: Resource, name: str) -> Any:
        obj = self.value(DEFINITIONS[NAMES[row.gvr.group, row.gvr.version, row.kind]], 0)
        if isinstance(obj, dict) and self.dice.random() < 0.95:
            metadata = obj.get("metadata") if isinstance(obj.get("metadata"), dict) else {}
            metadata = {k: v for k, v in (metadata or {}).items() if k not in _LEFT}
            obj |= {"apiVersion": row.api_version, "kind": row.kind, "metadata": metadata | {"name": name}}
            if row.namespaced:
                obj["metadata"]["namespace"] = "default"
        return obj


DEFINITIONS = generated.definitions()
NAMES = generated.names()


class Running:
    """A server on a loop of its own, asked from outside."""

    def __init__(self, folder: Any) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.server = self.runner.run(
            self.stack.enter_async_context(serving(ensure(folder, sans=["127.0.0.1"]), folder))
        )
        self.line = self.runner.run(self._line())

    async def _line(self) -> Line:
        return Line(self.server)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return self.runner.run(self.line.ask(method, path, content, **headers))

    def close(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


def collection(row: Resource) -> str:
    space = "/namespaces/default" if row.namespaced else ""
    return f"{row.gvr.prefix}{space}/{row.gvr.resource}"


def told(status: int, answer: Any) -> None:
    """An error is a Status that says what, and no error is ours."""
    if status >= 400:
        assert answer["kind"] == "Status", answer
        assert answer["code"] == status
        assert answer["reason"]
        assert answer["message"]
        assert status < 500 or status == 504, answer


@settings(max_examples=100, deadline=None)
@given(row=st.sampled_from(ROWS), seed=st.integers(0, 1 << 32))
def test_what_is_created_changed_and_deleted(running: Running, row: Resource, seed: int) -> None:
    dice = random.Random(seed)
    made, path = Definitions(dice), collection(row)
    first = made.of(row, "fuzz")
    status, answer = running.ask("POST", path, first)
    told(status, answer)
    if row.virtual:
        return
    if status >= 400:
        assert running.ask("GET", f"{path}/fuzz")[0] == 404, "half written"
    for _ in range(3):
        _, before = running.ask("GET", f"{path}/fuzz")
        kind = dice.choice(PATCHES)
        body: Any = made.of(row, "fuzz")
        if kind == "json-patch+json":
            op = dice.choice(("add", "remove", "replace", "test", "odd"))
            body = [{"op": op, "path": dice.choice(_POINTERS), "value": dice.choice(ODD)}]
        query = f"?fieldManager=f&fieldValidation={dice.choice(('Strict', 'Warn', 'Ignore'))}"
        sub = dice.choice(("", "", *[f"/{name}" for name in row.subresources if name in ("status", "scale")]))
        if dice.random() < 0.3:
            status, answer = running.ask("PUT", f"{path}/fuzz{sub}{query}", body)
        else:
            kind = f"application/{kind}"
            status, answer = running.ask("PATCH", f"{path}/fuzz{sub}{query}", body, content_type=kind)
        told(status, answer)
        if status >= 400:
            assert running.ask("GET", f"{path}/fuzz")[1] == before, "changed by what was refused"
        told(*running.ask("GET", path, accept="application/json;as=Table;g=meta.k8s.io;v=v1"))
        typed = running.ask("GET", path, accept="application/vnd.kubernetes.protobuf, */*")[0]
        assert typed == 200
    told(*running.ask("DELETE", f"{path}/fuzz", {"gracePeriodSeconds": 0}))


@settings(max_examples=60, deadline=None)
@given(row=st.sampled_from(ROWS), seed=st.integers(0, 1 << 32))
def test_protobuf_bodies(running: Running, row: Resource, seed: int) -> None:
    dice, path = random.Random(seed), collection(row)
    if not message_of(row.api_version, row.kind):
        return
    try:
        body = bytearray(encode(Definitions(dice).of(row, "typed")))
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError, struct.error, ProtobufError):
        return  # a value that no typed client can hold
    for _ in range(dice.choice((0, 1, 3))):
        body[dice.randrange(4, len(body))] = dice.randrange(256)
    told(*running.ask("POST", path, bytes(body), content_type="application/vnd.kubernetes.protobuf"))
    running.ask("DELETE", f"{path}/typed", {"gracePeriodSeconds": 0})


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_options(running: Running, seed: int) -> None:
    dice = random.Random(seed)
    names = (
        "limit", "continue", "resourceVersion", "resourceVersionMatch", "labelSelector", "fieldSelector", "dryRun",
        "fieldManager", "force", "fieldValidation", "gracePeriodSeconds", "propagationPolicy", "orphanDependents",
        "timeoutSeconds", "pretty", "includeObject",
    )  # fmt: skip
    values = (
        "",
        "1",
        "-1",
        "x",
        "0",
        "true",
        "Exact",
        "NotOlderThan",
        "a in (b,c)",
        "a!=b,,",
        "%C3%A9",
        "All",
        "Orphan",
    )
    query = "&".join(f"{dice.choice(names)}={dice.choice(values)}" for _ in range(dice.choice((1, 2, 4))))
    path = dice.choice((collection(dice.choice(ROWS)), f"{collection(dice.choice(ROWS))}/none"))
    method = dice.choice(("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"))
    if method == "DELETE" and not path.endswith("none"):
        method = "GET"
    body = dice.choice((None, {}, b"{", b"", [1]))
    running.line.transport.take()
    status, answer = running.ask(method, f"{path}?{query}".replace(" ", "%20"), body, content_type="application/json")
    if method != "HEAD":
        told(status, answer if not isinstance(answer, bytes) else orjson.loads(answer))
