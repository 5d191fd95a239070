"""What a stay costs, to the cent. Pure; not a reader of tariffs, no discounts, and the explanation is explain's.

Rules: elapsed time is billed, also over a change of the clocks; bands and calendar days are in local time. Free minutes
come off the front. A step is charged per started increment; an increment belongs to the cap window in which it starts.
A band's cap is applied first, then the day's, then the entry fee is added, then the cap of the whole stay. No tariff
can make a longer stay cheaper.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.tariffs.bands import Occurrence, Piece, edge_s, pieces
from parkube.parking.domain.tariffs.model import CALENDAR_DAY, INCREMENT_START, Tariff
from parkube.parking.domain.times import Window, zone

DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


@dataclass(slots=True)
class Charge:
    """Increments of one step that started in one cap window. Seconds are since the entry."""

    occurrence: Occurrence | None
    step: int
    price_minor: int
    every_s: int
    first_s: int
    count: int
    day: int
    taken_minor: int = 0


@dataclass(slots=True)
class Bill:
    """All charges in the order of time; what each day's window sums up to before its cap, and when it reached it."""

    stay_s: int
    billed_s: int
    charges: list[Charge] = field(default_factory=list)
    days: list[int] = field(default_factory=list)
    reached_s: list[int] = field(default_factory=list)
    bands: dict[Occurrence, tuple[int, int]] = field(default_factory=dict)
    total_minor: int = 0


def total(tariff: Tariff, window: Window) -> int:
    """The price of a stay in minor units, VAT included. Whether the stay is allowed is check_stay's."""
    return bill(tariff, window).total_minor


def check_stay(tariff: Tariff, window: Window) -> None:
    """Raises Invalid, with every fault, for a stay that the tariff is not for: too long, or not valid at the entry."""
    faults: list[tuple[str, str]] = []
    if tariff.maximum_minutes and window.duration > timedelta(minutes=tariff.maximum_minutes):
        faults.append(("to", f"a stay is at most {tariff.maximum_minutes} minutes here"))
    entry = window.start.astimezone(zone(tariff.time_zone)).date()
    if tariff.valid_from is not None and entry < tariff.valid_from:
        faults.append(("from", f"this tariff begins on {tariff.valid_from}"))
    if tariff.valid_to is not None and entry >= tariff.valid_to:
        faults.append(("from", f"this tariff ended before {tariff.valid_to}"))
    if faults:
        raise Invalid("; ".join(text for _, text in faults), faults, code="invalid_window")


def cuts_freely_every(tariff: Tariff) -> int | None:
    """Minutes at whose multiples a stay may be cut without changing the sum; None where the tariff says nothing so."""
    bound = tariff.bands or tariff.free_minutes or tariff.entry_fee_minor or tariff.minimum_minutes
    capped = tariff.cap_minor is not None or tariff.stay_cap_minor is not None
    if bound or capped or len(tariff.steps) != 1:
        return None
    return tariff.steps[0].every_minutes or None


def bill(tariff: Tariff, window: Window) -> Bill:
    """What started when, and what it makes."""
    # A started second is a second: rounding down would make an increment free for its first instant.
    stay_s = -(-window.duration // _SECOND)
    free_s = tariff.free_minutes * 60
    made = Bill(stay_s, max(stay_s, tariff.minimum_minutes * 60))
    if stay_s <= free_s:
        return made
    entry_s = (window.start - _EPOCH) // _SECOND
    edges = _cap_edges(tariff, entry_s, made.billed_s)
    made.days, made.reached_s = [0] * (len(edges) - 1), [-1] * (len(edges) - 1)
    for charge in _charges(tariff, pieces(tariff, entry_s, made.billed_s), free_s, edges):
        _take(tariff, made, charge)
    cap = tariff.cap_minor
    summed = sum(made.days) if cap is None else sum(day if day < cap else cap for day in made.days)
    made.total_minor = summed + tariff.entry_fee_minor
    if tariff.stay_cap_minor is not None:
        made.total_minor = min(made.total_minor, tariff.stay_cap_minor)
    return made


def _run_on(parts: list[Piece], free_s: int) -> list[Piece]:
    """The pieces where the last increment of each runs on over its edge; a band that it runs over whole is not there,
    and what was before it goes on."""
    found: list[Piece] = []
    now_s, index = free_s, 0
    while index < len(parts):
        part = parts[index]
        part = part._replace(start_s=max(now_s, part.start_s))
        index += 1
        if part.start_s >= part.end_s or not part.steps:
            continue
        while True:
            now_s, following = _reach_s(part), index
            while following < len(parts) and parts[following].end_s <= now_s:
                following += 1
            if not index < following < len(parts) or parts[following].occurrence is not part.occurrence:
                break
            part = part._replace(end_s=parts[following].end_s)
            index = following + 1
        found.append(part)
    return found


def _reach_s(part: Piece) -> int:
    """Where the increment that is running at the end of a piece ends, if nothing but the next step cuts it."""
    index = max(i for i, step in enumerate(part.steps) if part.start_s + step.from_minutes * 60 < part.end_s)
    start_s, every_s = part.start_s + part.steps[index].from_minutes * 60, part.steps[index].every_minutes * 60
    if not every_s:
        return part.end_s
    reach_s = start_s - (start_s - part.end_s) // every_s * every_s
    if index + 1 < len(part.steps):
        reach_s = min(reach_s, part.start_s + part.steps[index + 1].from_minutes * 60)
    return reach_s


def _charges(tariff: Tariff, parts: list[Piece], free_s: int, edges: list[int]) -> Iterator[Charge]:
    if tariff.crossing == INCREMENT_START and tariff.bands:
        parts = _run_on(parts, free_s)
    flat: set[Occurrence] = set()
    for part_start, part_end, steps, occurrence in parts:
        begin_s = max(free_s, part_start)
        if occurrence is not None and occurrence.band.is_flat and begin_s < part_end:
            if occurrence in flat:
                continue
            flat.add(occurrence)
        last = len(steps) - 1
        for index, step in enumerate(steps):
            start_s = begin_s + step.from_minutes * 60
            if start_s >= part_end:
                break
            end_s = part_end if index == last else min(part_end, begin_s + steps[index + 1].from_minutes * 60)
            every_s = step.every_minutes * 60 or end_s - start_s
            count = -(-(end_s - start_s) // every_s)
            done = 0
            for day in range(bisect_right(edges, start_s) - 1, len(edges) - 1):
                upto = min(count, -(-(edges[day + 1] - start_s) // every_s))
                if upto > done:
                    first_s = start_s + done * every_s
                    yield Charge(occurrence, index, step.price_minor, every_s, first_s, upto - done, day)
                    done = upto
                    if done == count:
                        break


def _take(tariff: Tariff, made: Bill, charge: Charge) -> None:
    amount = charge.count * charge.price_minor
    occurrence, price = charge.occurrence, charge.price_minor
    if occurrence is not None and occurrence.band.cap_minor is not None:
        before, reached = made.bands.get(occurrence, (0, -1))
        room = max(0, occurrence.band.cap_minor - before)
        if price and reached < 0 and amount >= room:
            reached = charge.first_s + max(0, -(-room // price) - 1) * charge.every_s
        made.bands[occurrence] = (before + amount, reached)
        amount = min(amount, room)
    charge.taken_minor = amount
    if amount and tariff.cap_minor is not None and made.reached_s[charge.day] < 0:
        room = tariff.cap_minor - made.days[charge.day]
        if amount >= room:
            made.reached_s[charge.day] = charge.first_s + max(0, -(-room // price) - 1) * charge.every_s
    made.days[charge.day] += amount
    made.charges.append(charge)


def _cap_edges(tariff: Tariff, entry_s: int, billed_s: int) -> list[int]:
    if tariff.cap_minor is None:
        return [0, billed_s]
    if tariff.cap_window != CALENDAR_DAY:
        return list(range(0, billed_s + DAY_S, DAY_S))
    edges = [0]
    day = datetime.fromtimestamp(entry_s, UTC).astimezone(zone(tariff.time_zone)).date()
    while edges[-1] < billed_s:
        day += timedelta(days=1)
        edges.append(max(edges[-1] + 1, edge_s(tariff.time_zone, day, 0) - entry_s))
    return edges
