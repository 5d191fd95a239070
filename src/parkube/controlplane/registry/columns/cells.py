"""Cells that many kinds share: names, ages, counts, selectors. No kind's own columns.

Durations are worded as `kubectl` does it (apimachinery's HumanDuration): two units at most, coarser with age.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from parkube.controlplane.registry.resource import Column
from parkube.kubeapi.errors import Obj

clock: Callable[[], float] = time.time
"""What ages are measured against; tests put their own here."""

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def human_duration(seconds: float) -> str:
    """`7m23s`, `5h10m`, `3d4h`: as long as it takes to tell two ages apart, no longer."""
    s = int(seconds)
    if s < -1:
        return "<invalid>"
    if s < 0:
        return "0s"
    if s < 2 * _MINUTE:
        return f"{s}s"
    if s < 10 * _MINUTE:
        return _two(s // _MINUTE, "m", s % _MINUTE, "s")
    if s < 3 * _HOUR:
        return f"{s // _MINUTE}m"
    if s < 8 * _HOUR:
        return _two(s // _HOUR, "h", s % _HOUR // _MINUTE, "m")
    if s < 2 * _DAY:
        return f"{s // _HOUR}h"
    if s < 8 * _DAY:
        return _two(s // _DAY, "d", s % _DAY // _HOUR, "h")
    if s < 2 * _YEAR:
        return f"{s // _DAY}d"
    if s < 8 * _YEAR:
        return _two(s // _YEAR, "y", s % _YEAR // _DAY, "d")
    return f"{s // _YEAR}y"


def _two(big: int, unit: str, small: int, small_unit: str) -> str:
    return f"{big}{unit}{small}{small_unit}" if small else f"{big}{unit}"


def seconds_of(timestamp: Any) -> float | None:
    """Unix seconds of an RFC 3339 time; None for anything else."""
    if not isinstance(timestamp, str) or not timestamp:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def since(timestamp: Any) -> str:
    """How long ago: `5m`, or `<unknown>` when there is no time."""
    at = seconds_of(timestamp)
    return "<unknown>" if at is None else human_duration(clock() - at)


def age(obj: Obj) -> str:
    """How long the object has existed."""
    return since(obj.get("metadata", {}).get("creationTimestamp"))


def name(obj: Obj) -> str:
    """The object's name."""
    return str(obj.get("metadata", {}).get("name", ""))


def at(*path: str, default: Any = "") -> Callable[[Obj], Any]:
    """A cell that shows the field at `path`."""

    def cell(obj: Obj) -> Any:
        value: Any = obj
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value is None else value

    return cell


def count(*path: str) -> Callable[[Obj], int]:
    """A cell that counts the entries of the list or map at `path`."""
    field = at(*path, default=())
    return lambda obj: len(field(obj))


def joined(labels: Obj | None, empty: str = "<none>") -> str:
    """`a=b,c=d`, keys sorted; `empty` when there are none."""
    return ",".join(f"{k}={v}" for k, v in sorted((labels or {}).items())) or empty


_SIGNS = {"In": "in", "NotIn": "notin"}


def selector_text(selector: Obj | None) -> str:
    """A LabelSelector as `-l` would take it; `<none>` when empty."""
    if not selector:
        return "<none>"
    parts = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or ():
        key, operator = str(rule.get("key") or ""), str(rule.get("operator") or "")
        if operator == "Exists":
            parts.append(key)
        elif operator == "DoesNotExist":
            parts.append(f"!{key}")
        else:
            parts.append(f"{key} {_SIGNS.get(operator, operator)} ({','.join(sorted(rule.get('values') or ()))})")
    return ",".join(parts) or "<none>"


def some(values: Iterable[str], most: int = 3) -> str:
    """The first few, then `+ 2 more...`."""
    items = list(values)
    shown = ",".join(items[:most])
    return f"{shown} + {len(items) - most} more..." if len(items) > most else shown


NAME = Column("Name", "string", name, format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", "string", age, description="How long ago the object was created.")


def column(title: str, cell: Callable[[Obj], Any], kind: str = "string", wide: bool = False) -> Column:
    """A column, shown only with `-o wide` where `wide`."""
    return Column(title, kind, cell, priority=1 if wide else 0)
