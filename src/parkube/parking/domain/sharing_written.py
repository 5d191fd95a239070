"""A garage's terms as they are written, JSON or YAML; every fault is named at once. What they mean is sharing's.

{"bays": {"standard": 20, "ev": 2}, "shared": [{"bays": 10, "days": ["mon", "tue", "wed", "thu", "fri"],
 "from": "18:00", "to": "07:00"}, {"bays": "all", "days": ["sat", "sun"]}], "none_on": ["2026-12-05", 24],
 "blackouts": [{"from": "2026-07-01T12:00", "to": "2026-07-02T12:00"}], "opening": [{"from": "06:00", "to": "23:00"}],
 "limits": {"height_m": 1.9, "vehicles": ["car"]}, "cancelling": {"free_until_minutes": 60, "fee_percent": 50,
 "no_show_percent": 100, "shorter_costs_less": true}, "in_out": false, "drive_up_minutes": 60}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final, TypeVar

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.sharing import Cancelling, Hours, Limits, Share, Terms
from parkube.parking.domain.tariffs.fields import clock, whole
from parkube.parking.domain.tariffs.model import BAY_KINDS, DAYS
from parkube.parking.domain.times import Window, parse_moment, rfc3339

_FIELDS: Final = (
    "bays", "shared", "none_on", "blackouts", "opening", "limits", "cancelling", "in_out", "drive_up_minutes",
)  # fmt: skip
_WEEKDAYS: Final = DAYS[:7]
VEHICLES: Final = ("car", "van", "camper", "motorcycle", "lorry", "bus")
_MOST_RULES: Final = 200

Faults = list[tuple[str, str]]
T = TypeVar("T")


def read_terms(written: Any, capacity: int | None, time_zone: str) -> Terms:
    """Reads terms for a garage of so many bays. Raises Invalid with every fault."""
    if not isinstance(written, Mapping):
        raise Invalid("terms are an object", [("terms", "an object")])
    faults: Faults = [(str(name), "unknown field") for name in written if name not in _FIELDS]
    bays = _bays(written.get("bays"), capacity, faults)
    without = _list(written, "none_on", faults, _day_without)
    terms = Terms(
        bays=bays,
        shares=_list(written, "shared", faults, lambda item, at, out: _share(item, at, out, dict(bays))),
        none_on=frozenset(day for day in without if isinstance(day, date)),
        none_on_days_of_month=frozenset(day for day in without if isinstance(day, int)),
        blackouts=_list(written, "blackouts", faults, lambda item, at, out: _blackout(item, at, out, time_zone)),
        opening=_list(written, "opening", faults, _opening),
        limits=_limits(written.get("limits", {}), faults),
        cancelling=_cancelling(written.get("cancelling", {}), faults),
        in_out=_flag(written, "in_out", False, "", faults),
        drive_up_minutes=whole(written, "drive_up_minutes", faults, default=60),
    )
    if terms.drive_up_minutes > 1440:
        faults.append(("drive_up_minutes", "at most a day"))
    if faults:
        raise Invalid("; ".join(f"{where}: {text}" for where, text in faults), faults, code="invalid_terms")
    return terms


def write_terms(terms: Terms) -> dict[str, Any]:
    """The terms as they are written, so that reading them again gives the same."""
    limits = {
        name: value
        for name in ("height_m", "length_m", "weight_kg")
        if (value := getattr(terms.limits, name)) is not None
    }
    if terms.limits.vehicles:
        limits["vehicles"] = sorted(terms.limits.vehicles)
    return {
        "bays": dict(terms.bays),
        "shared": [_written_share(share) for share in terms.shares],
        "none_on": [*sorted(day.isoformat() for day in terms.none_on), *sorted(terms.none_on_days_of_month)],
        "blackouts": [{"from": rfc3339(one.start), "to": rfc3339(one.end)} for one in terms.blackouts],
        "opening": [_written_hours(hours) for hours in terms.opening],
        "limits": limits,
        "cancelling": {name: getattr(terms.cancelling, name) for name in Cancelling.__dataclass_fields__},
        "in_out": terms.in_out,
        "drive_up_minutes": terms.drive_up_minutes,
    }


def _bays(written: Any, capacity: int | None, faults: Faults) -> tuple[tuple[str, int], ...]:
    if written is None or written == {}:
        return ()
    if not isinstance(written, Mapping):
        faults.append(("bays", "an object of kinds and numbers"))
        return ()
    faults.extend((f"bays.{kind}", "one of " + ", ".join(BAY_KINDS)) for kind in written if kind not in BAY_KINDS)
    counts = {kind: whole(written, kind, faults, "bays.") for kind in BAY_KINDS if kind in written}
    if capacity is not None and sum(counts.values()) > capacity:
        faults.append(("bays", f"{sum(counts.values())} bays, the garage has {capacity}"))
    return tuple(counts.items())


def _list(
    written: Mapping[str, Any], name: str, faults: Faults, read: Callable[[Any, str, Faults], T | None]
) -> tuple[T, ...]:
    items = written.get(name, [])
    if not isinstance(items, list) or len(items) > _MOST_RULES:
        faults.append((name, f"a list of at most {_MOST_RULES}"))
        return ()
    found = (read(item, f"{name}[{index}]", faults) for index, item in enumerate(items))
    return tuple(one for one in found if one is not None)


def _object(item: Any, at: str, known: tuple[str, ...], faults: Faults) -> bool:
    if not isinstance(item, Mapping):
        faults.append((at, "an object"))
        return False
    faults.extend((f"{at}.{name}", "unknown field") for name in item if name not in known)
    return True


def _hours(item: Mapping[str, Any], at: str, faults: Faults) -> Hours:
    days = item.get("days", [])
    if not isinstance(days, list) or any(day not in _WEEKDAYS for day in days):
        faults.append((f"{at}.days", "a list of " + ", ".join(_WEEKDAYS)))
        days = []
    if "from" not in item and "to" not in item:
        return Hours(days=frozenset(days))
    start = clock(item, "from", faults, f"{at}.")
    return Hours(start, clock(item, "to", faults, f"{at}."), frozenset(days))


def _opening(item: Any, at: str, faults: Faults) -> Hours | None:
    return _hours(item, at, faults) if _object(item, at, ("from", "to", "days"), faults) else None


def _share(item: Any, at: str, faults: Faults, bays: Mapping[str, int]) -> Share | None:
    if not _object(item, at, ("bays", "kind", "from", "to", "days"), faults):
        return None
    kind, count = item.get("kind"), item.get("bays", "all")
    if kind is not None and kind not in list(bays or ("standard",)):
        faults.append((f"{at}.kind", "a kind of bay that the garage has"))
    hours = _hours(item, at, faults)
    return Share(hours, None if count == "all" else whole(item, "bays", faults, f"{at}."), kind)


def _day_without(item: Any, at: str, faults: Faults) -> date | int | None:
    if type(item) is int and 1 <= item <= 31:
        return item
    try:
        return date.fromisoformat(item) if isinstance(item, str) else date.fromisoformat("")
    except ValueError:
        faults.append((at, "a date like 2026-12-05, or a day of the month"))
        return None


def _blackout(item: Any, at: str, faults: Faults, time_zone: str) -> Window | None:
    if not _object(item, at, ("from", "to"), faults):
        return None
    moments = []
    for name in ("from", "to"):
        try:
            moments.append(parse_moment(str(item.get(name, "")), time_zone, f"{at}.{name}"))
        except Invalid as error:
            faults.extend(error.faults)
    if len(moments) < 2:
        return None
    if moments[1] <= moments[0]:
        faults.append((f"{at}.to", "not after from"))
        return None
    return Window(*moments)


def _limits(written: Any, faults: Faults) -> Limits:
    if not _object(written, "limits", ("height_m", "length_m", "weight_kg", "vehicles"), faults):
        return Limits()
    for name in ("height_m", "length_m", "weight_kg"):
        value = written.get(name)
        if value is not None and (type(value) not in (int, float) or not 0 < value < 100_000):
            faults.append((f"limits.{name}", "a number above 0"))
    vehicles = written.get("vehicles", [])
    if not isinstance(vehicles, list) or any(kind not in VEHICLES for kind in vehicles):
        faults.append(("limits.vehicles", "a list of " + ", ".join(VEHICLES)))
        vehicles = []
    sizes = {name: written.get(name) for name in ("height_m", "length_m", "weight_kg")}
    return Limits(**sizes, vehicles=frozenset(vehicles))


def _cancelling(written: Any, faults: Faults) -> Cancelling:
    if not _object(written, "cancelling", tuple(Cancelling.__dataclass_fields__), faults):
        return Cancelling()
    numbers = {
        name: whole(written, name, faults, "cancelling.", 0)
        for name in ("free_until_minutes", "fee_percent", "no_show_percent")
    }
    faults.extend(
        (f"cancelling.{name}", "at most 100") for name in ("fee_percent", "no_show_percent") if numbers[name] > 100
    )
    return Cancelling(**numbers, shorter_costs_less=_flag(written, "shorter_costs_less", True, "cancelling.", faults))


def _flag(written: Mapping[str, Any], name: str, default: bool, prefix: str, faults: Faults) -> bool:
    value = written.get(name, default)
    if type(value) is not bool:
        faults.append((prefix + name, "true or false"))
        return default
    return value


def _written_hours(hours: Hours) -> dict[str, Any]:
    days = {"days": [day for day in _WEEKDAYS if day in hours.days]} if hours.days else {}
    return days | {"from": _clock(hours.starts_minute), "to": _clock(hours.ends_minute)}


def _written_share(share: Share) -> dict[str, Any]:
    kind = {} if share.kind is None else {"kind": share.kind}
    return {"bays": "all" if share.bays is None else share.bays} | kind | _written_hours(share.hours)


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
