"""No object of the right types, however odd, may break a strategy or a column: they name faults, they do not raise."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from parkube.controlplane.registry import metadata, schemas
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.controlplane.registry.resource import Context, Resource
from parkube.controlplane.registry.schemas.shapes import (
    Bytes,
    IntOrString,
    ListShape,
    MapShape,
    Number,
    ObjectShape,
    Quantity,
    Shape,
    Time,
)
from parkube.kubeapi.errors import Obj

ROWS = [row for row in builtin_catalogue() if not row.virtual]
WORDS = [
    "",
    "a",
    "A b",
    "x" * 300,
    "..",
    "/",
    "0",
    "-1",
    "None",
    "TCP",
    "In",
    "Exists",
    "NoSchedule",
    "NodePort",
    "25%",
    "é\n",
]
NUMBERS = [0, 1, -1, 80, 65536, 1 << 31, -(1 << 31)]


def odd(shape: Shape, dice: random.Random, depth: int) -> Any:
    """A value of the right type and no more."""
    if isinstance(shape, ObjectShape):
        chance = 0.75 if depth < 3 else 0.45 if depth < 7 else 0.1
        fields = {key: odd(below, dice, depth + 1) for key, below in shape.fields.items() if dice.random() < chance}
        return {key: value for key, value in fields.items() if value is not None}
    if isinstance(shape, ListShape):
        return [odd(shape.items, dice, depth + 1) for _ in range(dice.choice((0, 1, 2)))]
    if isinstance(shape, MapShape):
        return {dice.choice(WORDS): odd(shape.items, dice, depth + 1) for _ in range(dice.choice((0, 1, 2)))}
    if isinstance(shape, Number):
        return max(shape.low, min(shape.high, dice.choice(NUMBERS)))
    if isinstance(shape, IntOrString):
        return dice.choice([*NUMBERS, *WORDS])
    if isinstance(shape, Quantity):
        return dice.choice(["1", "-1", "100m", "1Gi", "0"])
    if isinstance(shape, Time):
        return "2026-01-01T00:00:00Z"
    if isinstance(shape, Bytes):
        return dice.choice(["", "YQ=="])
    return dice.random() < 0.5 if shape.scalar is bool else dice.choice(WORDS)


def whole(row: Resource, dice: random.Random) -> Obj:
    shape = schemas.shape(row)
    assert shape is not None
    obj: Obj = odd(shape, dice, 0)
    obj.update(apiVersion=row.api_version, kind=row.kind)
    obj.setdefault("metadata", {})["name"] = dice.choice(["x", "Bad Name"])
    obj["metadata"]["resourceVersion"] = "1"
    if row.namespaced:
        obj["metadata"]["namespace"] = "default"
    return orjson.loads(orjson.dumps(obj))


def brought_in(row: Resource, dice: random.Random) -> Obj:
    obj = whole(row, dice)
    schemas.decode(row, obj, Context())
    row.strategy.default(obj)
    return obj


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.gvr.group}/{row.gvr.resource}")
@pytest.mark.parametrize("seed", range(8))
def test_nothing_of_the_right_types_breaks_a_strategy(row: Resource, seed: int) -> None:
    dice = random.Random(f"{row.gvr} {seed}")
    for _ in range(12):
        old = brought_in(row, dice)
        row.strategy.prepare_create(old)
        for cause in [*metadata.faults(old, None, row), *row.strategy.validate(old, None, "")]:
            assert cause.message
        for label in row.fields:
            assert isinstance(label.of(old), str)
        for column in row.columns:
            orjson.dumps(column.cell(old))
        row.strategy.graceful_delete(old, {})
        row.strategy.linger(orjson.loads(orjson.dumps(old)))
        if row.to_storage and row.from_storage:
            row.from_storage(row.to_storage(old))
        for subresource in ("", *row.subresources):
            new = brought_in(row, dice)
            row.strategy.prepare_update(new, old, subresource)
            row.strategy.validate(new, old, subresource)
            row.strategy.volatile(new, old)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.gvr.group}/{row.gvr.resource}")
def test_defaults_settle(row: Resource) -> None:
    """Defaulting twice is defaulting once, and what was defaulted is still of its kind's form."""
    dice = random.Random(str(row.gvr))
    for _ in range(10):
        obj = brought_in(row, dice)
        once = orjson.dumps(obj)
        row.strategy.default(obj)
        assert orjson.dumps(obj) == once
        context = Context()
        schemas.decode(row, obj, context)
        assert context.warnings == []
