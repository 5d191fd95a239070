"""Definitions and their objects made up at random, rules in CEL among them: an answer is never a 500, what is refused
leaves nothing behind, and what is stored satisfies its own definition."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.controlplane.registry.schemas import Structural
from parkube.controlplane.registry.schemas.rules import Rules
from parkube.kubeapi.errors import Obj
from tests.unit.test_apiserver_fuzz import ODD, PATCHES, WORDS, Running, told

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DOORS = "/apis/fuzz.example/v1/namespaces/default/doors"
RULES = [
    "self == oldSelf", "self != oldSelf", "size(self) > 1", "self > 1", "self.a == self.b", "has(self.a)", "1 +",
    "self.all(x, x == 1)", "self.matches('[')", "isQuantity(self)", "duration(self) > duration('1s')", "true",
    "oldSelf.hasValue()", "self.metadata.name == 'fuzz'", "1 / self > 0", "self[0] == 1", "url(self).getHost() == ''",
    "self.__for__ > 1", "dyn(self) == null", "nobody", "", "self.a.b.c",
]  # fmt: skip
KEEPS = "x-kubernetes-preserve-unknown-fields"
EXTRAS = ("default", "nullable", "enum", "minimum", "maxLength", "pattern", "format", "required")
NAMES = ["a", "b", "for", "a-b", "spec", "status", "é", "__x"]


class Dice(random.Random):
    def schema(self, depth: int = 0) -> Obj:
        """A schema of a node: often one that can be."""
        kind = self.choice(("object", "object", "array", "string", "integer", "number", "boolean", "odd"))
        node: Obj = {"type": kind}
        if depth == 0 or (kind == "object" and depth < 4):
            node = {"type": "object", "properties": {name: self.schema(depth + 1) for name in self.sample(NAMES, 2)}}
        elif kind == "array":
            node["items"] = self.schema(depth + 1)
            if self.random() < 0.3:
                node["x-kubernetes-list-type"] = self.choice(("atomic", "set", "map", "heap"))
                node["x-kubernetes-list-map-keys"] = self.choice(([], ["a"], ["a", "b"]))
        elif kind == "odd":
            node = self.choice(
                ({"x-kubernetes-int-or-string": True}, {"x-kubernetes-preserve-unknown-fields": True}, {})
            )
        if self.random() < 0.3:
            rule: Obj = {"rule": self.choice(RULES)}
            if self.random() < 0.3:
                rule |= {"messageExpression": self.choice(("'a'", "self", "string(self)")), "fieldPath": ".a"}
            if self.random() < 0.2:
                rule["optionalOldSelf"] = True
            node["x-kubernetes-validations"] = [rule]
        if depth and self.random() < 0.3:
            extra = self.choice(
                ("default", "nullable", "enum", "minimum", "maxLength", "pattern", "format", "required")
            )
            node[extra] = {
                "nullable": True, "enum": [self.choice(ODD)], "minimum": 2, "maxLength": 1, "pattern": "^a",
                "format": self.choice(("date-time", "duration", "int32", "byte", "x")), "required": ["a"],
            }.get(extra, self.choice(ODD))  # fmt: skip
        return node

    def door(self, schema: Obj, name: str) -> Obj:
        """A whole object."""
        found = self.value(schema)
        head = {"apiVersion": "fuzz.example/v1", "kind": "Door", "metadata": {"name": name}}
        return (found if isinstance(found, dict) else {}) | head

    def value(self, node: Any) -> Any:
        """A value: often one that fits."""
        if self.random() < 0.05 or not isinstance(node, dict):
            return self.choice(ODD)
        kind = node.get("type")
        if kind == "object":
            found = {
                key: self.value(below) for key, below in (node.get("properties") or {}).items() if self.random() < 0.8
            }
            return found | ({"unheardOf": 1} if self.random() < 0.1 else {})
        if kind == "array":
            return [self.value(node.get("items")) for _ in range(self.choice((0, 1, 2)))]
        plain = {"integer": (0, 1, 2), "number": (1, 2.5), "boolean": (True, False), "string": WORDS}
        return self.choice(plain.get(str(kind), (1, "x")))


def definition(schema: Obj) -> Obj:
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "doors.fuzz.example"},
        "spec": {"group": "fuzz.example", "scope": "Namespaced", "names": {"plural": "doors", "kind": "Door"},
                 "versions": [{**version, "schema": {"openAPIV3Schema": schema}}]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


def gone(running: Running) -> None:
    """No definition is there, nor anything that it defined."""
    running.ask("DELETE", f"{CRDS}/doors.fuzz.example")
    for _ in range(50):
        if running.ask("GET", f"{CRDS}/doors.fuzz.example")[0] == 404:
            return
    raise AssertionError("the definition stays")


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_definitions_and_what_they_define(running: Running, seed: int) -> None:
    dice = Dice(seed)
    schema: Obj = orjson.loads(json.dumps(dice.schema()))  # as it is read: integers beyond 64 bits are numbers
    gone(running)
    status, answer = running.ask("POST", CRDS, definition(schema))
    told(status, answer)
    if status >= 400:
        assert running.ask("GET", f"{CRDS}/doors.fuzz.example")[0] == 404, "half written"
        return
    for name in ("fuzz", "more"):
        body = dice.door(schema, name) if dice.random() < 0.9 else dice.choice(ODD)
        told(*running.ask("POST", DOORS, body))
    for _ in range(4):
        before = running.ask("GET", f"{DOORS}/fuzz")[1]
        changed = dice.door(schema, "fuzz")
        kind = dice.choice([one for one in PATCHES if one != "json-patch+json"])
        sub = dice.choice(("", "", "/status"))
        query = "?fieldManager=f&force=true" if kind.startswith("apply") else "?fieldManager=f"
        status, answer = running.ask("PATCH", f"{DOORS}/fuzz{sub}{query}", changed, content_type=f"application/{kind}")
        told(status, answer)
        if status >= 400:
            assert running.ask("GET", f"{DOORS}/fuzz")[1] == before, "changed by what was refused"
    told(*running.ask("GET", DOORS, accept="application/json;as=Table;g=meta.k8s.io;v=v1"))
    for item in running.ask("GET", DOORS)[1]["items"]:
        assert Structural(schema).validate(item) == []
        assert Rules(schema).faults(item, item) == [] or "Self" in str(schema)
    for path in ("/openapi/v2", "/openapi/v3/apis/fuzz.example/v1"):
        told(*running.ask("GET", path))
    gone(running)
