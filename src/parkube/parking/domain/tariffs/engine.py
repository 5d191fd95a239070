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
from parkube.parking.domain.money import rounded
from parkube.parking.domain.tariffs.bands import Occurrence, Piece, edge_s, pieces
from parkube.parking.domain.tariffs.model import CALENDAR_DAY, INCREMENT_START, ROLLING_24H, Tariff
from parkube.parking.domain.times import Window, zone

DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


@dataclass(slots=True)
class Charge:
    """Increments of one step that started in one window of every cap. Seconds are since the entry."""

    occurrence: Occurrence | None
    step: int
    price_minor: int
    every_s: int
    first_s: int
    count: int
    taken_minor: int = 0


@dataclass(slots=True)
class Cap:
    """A day's cap over a stay: its windows, what each sums up to before the cap, and when it was reached (-1: never).

    edges: where its windows begin, in seconds since the entry, and where the last one ends.
    """

    window: str
    cap_minor: int
    edges: list[int]
    sums: list[int] = field(default_factory=list)
    reached_s: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sums, self.reached_s = [0] * (len(self.edges) - 1), [-1] * (len(self.edges) - 1)

    def at(self, moment_s: int) -> int:
        """The window in which a moment lies."""
        return bisect_right(self.edges, moment_s) - 1

    def over(self, moment_s: int) -> bool:
        """Whether the window of a moment took off something."""
        return self.sums[bisect_right(self.edges, moment_s) - 1] > self.cap_minor


@dataclass(slots=True)
class Bill:
    """All charges in the order of time, the day caps in the order in which they hold, each band's sum before its cap
    and when it reached it. Amounts are minor units."""

    stay_s: int
    billed_s: int
    charged: bool = False
    charges: list[Charge] = field(default_factory=list)
    caps: list[Cap] = field(default_factory=list)
    bands: dict[Occurrence, tuple[int, int]] = field(default_factory=dict)
    summed_minor: int = 0
    parked_minor: int = 0
    energy_minor: int = 0

    @property
    def total_minor(self) -> int:
        return self.parked_minor + self.energy_minor


def total(tariff: Tariff, window: Window, energy_wh: int = 0) -> int:
    """The price of a stay in minor units, VAT included. Whether the stay is allowed is check_stay's."""
    return bill(tariff, window, energy_wh).total_minor


def energy_minor(tariff: Tariff, energy_wh: int) -> int:
    """What so many watt hours cost, in minor units."""
    return rounded(tariff.energy_minor_per_kwh * energy_wh / 1000, tariff.rounding)


def stay_faults(tariff: Tariff, window: Window) -> list[tuple[str, str]]:
    """Why a stay is not one that the tariff is for: too long, or not valid at the entry. Empty where it is."""
    faults: list[tuple[str, str]] = []
    if tariff.maximum_minutes and window.duration > timedelta(minutes=tariff.maximum_minutes):
        faults.append(("to", f"a stay is at most {tariff.maximum_minutes} minutes here"))
    if tariff.valid_from is None and tariff.valid_to is None:
        return faults
    entry = window.start.astimezone(zone(tariff.time_zone)).date()
    if tariff.valid_from is not None and entry < tariff.valid_from:
        faults.append(("from", f"this tariff begins on {tariff.valid_from}"))
    if tariff.valid_to is not None and entry >= tariff.valid_to:
        faults.append(("from", f"this tariff ended before {tariff.valid_to}"))
    return faults


def check_stay(tariff: Tariff, window: Window) -> None:
    """Raises Invalid, with every fault, for a stay that the tariff is not for."""
    faults = stay_faults(tariff, window)
    if faults:
        raise Invalid("; ".join(text for _, text in faults), faults, code="invalid_window")


def cuts_freely_every(tariff: Tariff) -> int | None:
    """Minutes at whose multiples a stay may be cut without changing the sum; None where the tariff says nothing so."""
    bound = tariff.bands or tariff.free_minutes or tariff.entry_fee_minor or tariff.minimum_minutes
    capped = any(cap is not None for cap in (tariff.cap_minor, tariff.rolling_cap_minor, tariff.stay_cap_minor))
    if bound or capped or len(tariff.steps) != 1:
        return None
    return tariff.steps[0].every_minutes or None


def bill(tariff: Tariff, window: Window, energy_wh: int = 0) -> Bill:
    """What started when, and what it makes."""
    # A started second is a second: rounding down would make an increment free for its first instant.
    stay_s = -(-window.duration // _SECOND)
    free_s = tariff.free_minutes * 60
    made = Bill(stay_s, max(stay_s, tariff.minimum_minutes * 60))
    if energy_wh:
        made.energy_minor = energy_minor(tariff, energy_wh)
    if stay_s <= free_s:
        return made
    made.charged = True
    entry_s = (window.start - _EPOCH) // _SECOND
    made.caps = _caps(tariff, entry_s, made.billed_s)
    for charge in _charges(tariff, pieces(tariff, entry_s, made.billed_s), free_s, _edges(made)):
        _take(made, charge)
    made.parked_minor = made.summed_minor + tariff.entry_fee_minor
    if tariff.stay_cap_minor is not None:
        made.parked_minor = min(made.parked_minor, tariff.stay_cap_minor)
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
            for edge in range(bisect_right(edges, start_s), len(edges)):
                upto = min(count, -(-(edges[edge] - start_s) // every_s))
                if upto > done:
                    first_s = start_s + done * every_s
                    yield Charge(occurrence, index, step.price_minor, every_s, first_s, upto - done)
                    done = upto
                    if done == count:
                        break


def _take(made: Bill, charge: Charge) -> None:
    amount = charge.count * charge.price_minor
    occurrence = charge.occurrence
    if occurrence is not None and occurrence.band.cap_minor is not None:
        before, reached = made.bands.get(occurrence, (0, -1))
        room = max(0, occurrence.band.cap_minor - before)
        if charge.price_minor and reached < 0 and amount >= room:
            reached = _reached_s(charge, room)
        made.bands[occurrence] = (before + amount, reached)
        amount = min(amount, room)
    for cap in made.caps:
        at = cap.at(charge.first_s)
        room = max(0, cap.cap_minor - cap.sums[at])
        if amount >= room and amount and cap.reached_s[at] < 0:
            cap.reached_s[at] = _reached_s(charge, room)
        cap.sums[at] += amount
        amount = min(amount, room)
    charge.taken_minor = amount
    made.summed_minor += amount
    made.charges.append(charge)


def _reached_s(charge: Charge, room_minor: int) -> int:
    """When the increment started that used up the room."""
    return charge.first_s + max(0, -(-room_minor // charge.price_minor) - 1) * charge.every_s


def _caps(tariff: Tariff, entry_s: int, billed_s: int) -> list[Cap]:
    caps: list[Cap] = []
    rolling = tariff.rolling_cap_minor
    if tariff.cap_minor is not None and tariff.cap_window == CALENDAR_DAY:
        caps.append(Cap(CALENDAR_DAY, tariff.cap_minor, _midnights(tariff, entry_s, billed_s)))
    elif tariff.cap_minor is not None:
        rolling = tariff.cap_minor
    if rolling is not None:
        caps.append(Cap(ROLLING_24H, rolling, list(range(0, billed_s + DAY_S, DAY_S))))
    return caps


def _midnights(tariff: Tariff, entry_s: int, billed_s: int) -> list[int]:
    edges = [0]
    day = datetime.fromtimestamp(entry_s, UTC).astimezone(zone(tariff.time_zone)).date()
    while edges[-1] < billed_s:
        day += timedelta(days=1)
        edges.append(max(edges[-1] + 1, edge_s(tariff.time_zone, day, 0) - entry_s))
    return edges


def _edges(made: Bill) -> list[int]:
    """Where any cap's window begins or ends."""
    if not made.caps:
        return [0, made.billed_s]
    if len(made.caps) == 1:
        return made.caps[0].edges
    return sorted({edge for cap in made.caps for edge in cap.edges})
