"""Garages and their taken bays in memory, so that a search costs microseconds. What it holds is the database's.

It shows; it does not decide: a booking is decided under a lock in the database. Only of this process.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.geo import Grid, distance_m
from parkube.parking.domain.occupancy import Profile
from parkube.parking.domain.sharing import EVERYTHING, Terms, bays_of, supply
from parkube.parking.domain.tariffs import STRANGER, Asking, moves, pin, stay_faults, total
from parkube.parking.domain.times import Window

NEARBY_M: Final = 10_000.0
WITHIN_M: Final = 50_000.0
"""Where nothing is nearby, the search goes this far."""


@dataclass(slots=True)
class Indexed:
    """A garage with what its bookings take."""

    garage: Garage
    folded: str
    taken: Profile = field(default_factory=Profile)
    taken_of: dict[str, Profile] = field(default_factory=dict)
    """By kind of bay, as far as bookings said one."""
    verified: str = "Unknown"
    bookable: bool = False
    tariff: int = 0
    moves: bool = False
    terms: Terms = EVERYTHING
    shown: dict[str, Any] | None = None
    """What an edge shows of it whatever is asked; the edge's own, forgotten when the garage changes."""


class Asked:
    """A window that is asked of many garages: what they share is worked out once."""

    __slots__ = ("_asking", "_end_s", "_prices", "_start_s", "kind", "window")

    def __init__(self, window: Window, kind: str | None = None) -> None:
        self.window, self.kind = window, kind
        self._asking = STRANGER if kind is None else Asking(bay_kind=kind)
        self._start_s, self._end_s = window.start.timestamp(), window.end.timestamp()
        self._prices: dict[tuple[int, int | None], int | None] = {}

    def bays(self, known: Indexed) -> int | None:
        """How many bays there are, of the kind that is asked for or of all; None where nobody knows."""
        capacity = known.garage.capacity
        return capacity if capacity is None or self.kind is None else bays_of(known.terms, capacity, self.kind)

    def free(self, known: Indexed) -> int | None:
        """Bays free all through the window; None where nobody knows how many there are."""
        capacity = known.garage.capacity
        if capacity is None:
            return None
        free = self._free(known, capacity, None, known.taken)
        if self.kind is None:
            return free
        bays, taken = bays_of(known.terms, capacity, self.kind), known.taken_of.get(self.kind) or Profile()
        return min(free, self._free(known, bays, self.kind, taken))

    def _free(self, known: Indexed, bays: int, kind: str | None, taken: Profile) -> int:
        if known.terms.always:
            return max(0, bays - taken.most(self._start_s, self._end_s))
        shared = supply(known.terms, bays, known.garage.time_zone, kind, self.window)
        return max(0, min(many - taken.most(start_s, end_s) for start_s, end_s, many in shared))

    def price(self, known: Indexed) -> int | None:
        """The price in minor units; None where nobody can book, or not for such a stay."""
        if not known.bookable:
            return None
        taken = self.taken_percent(known) if known.moves else None
        key = (known.tariff, taken)
        if key not in self._prices:
            tariff = pin(known.garage.tariff, self.window.start, self._asking, taken).tariff
            self._prices[key] = None if stay_faults(tariff, self.window) else total(tariff, self.window)
        return self._prices[key]

    def taken_percent(self, known: Indexed) -> int | None:
        """How many bays in a hundred are taken at the most in the window; None where nobody knows."""
        capacity = known.garage.capacity
        free = None if capacity is None else self._free(known, capacity, None, known.taken)
        return (capacity - free) * 100 // capacity if capacity and free is not None else None


@dataclass(frozen=True, slots=True)
class Place:
    """A city or a garage found by name. Position in degrees."""

    kind: str
    name: str
    city: str
    latitude: float
    longitude: float
    garages: int
    garage_id: str | None = None


class GarageIndex:
    """Search over all garages. Changed only after the change is in the database."""

    def __init__(self) -> None:
        self._garages: dict[str, Indexed] = {}
        self._bookable: Grid[str] = Grid()
        self._others: Grid[str] = Grid()
        self._windows: dict[str, tuple[str, str, float, float]] = {}
        self._cities: list[Place] | None = None
        self._tariffs: dict[object, int] = {}

    def __len__(self) -> int:
        return len(self._garages)

    def get(self, garage_id: str) -> Indexed | None:
        return self._garages.get(garage_id)

    def all(self) -> Iterable[Indexed]:
        return self._garages.values()

    def put(self, garage: Garage) -> None:
        """Takes a garage in, or takes it in anew; its bookings stay."""
        known = self._garages.get(garage.id)
        if known is None:
            known = self._garages[garage.id] = Indexed(garage, "")
        known.garage, known.folded = garage, fold(f"{garage.name} {garage.city}")
        known.bookable, known.shown = garage.can_be_booked, None
        known.tariff = self._tariffs.setdefault(garage.tariff, len(self._tariffs))
        known.moves = moves(garage.tariff)
        self._bookable.remove(garage.id)
        self._others.remove(garage.id)
        if garage.latitude is not None and garage.longitude is not None:
            grid = self._bookable if known.bookable else self._others
            grid.put(garage.id, garage.latitude, garage.longitude)
        self._cities = None

    def hold(self, booking: Booking, now: datetime) -> None:
        """Takes, moves or gives back what a booking takes, whichever its state asks for. Again is nothing."""
        self.release(booking.id)
        known = self._garages.get(booking.garage_id)
        window = booking.taken(now)
        if known is None or window is None:
            return
        start, end = window.start.timestamp(), window.end.timestamp()
        known.taken.add(start, end)
        known.taken_of.setdefault(booking.bay_kind, Profile()).add(start, end)
        self._windows[booking.id] = (booking.garage_id, booking.bay_kind, start, end)

    def release(self, booking_id: str) -> None:
        held = self._windows.pop(booking_id, None)
        if held is not None:
            garage_id, kind, start, end = held
            known = self._garages[garage_id]
            known.taken.add(start, end, -1)
            known.taken_of[kind].add(start, end, -1)

    def free(self, known: Indexed, window: Window) -> int | None:
        """Bays free all through the window; None where nobody knows how many there are."""
        return Asked(window).free(known)

    def taken_percent(self, garage_id: str, window: Window) -> int | None:
        """How many bays of a garage in a hundred are taken at the most in a window; None where nobody knows."""
        known = self._garages.get(garage_id)
        return None if known is None else Asked(window).taken_percent(known)

    def near(
        self, latitude: float, longitude: float, limit: int, kind: str | None = None
    ) -> list[tuple[float | None, Indexed]]:
        """The nearest garages, with distances in metres. Streets do not crowd out what can be booked.

        kind: those alone that have such bays.
        """
        if kind is not None:
            every = self._near(latitude, longitude, len(self._garages))
            return [pair for pair in every if _has(pair[1], kind)][:limit]
        return self._near(latitude, longitude, limit)

    def _near(self, latitude: float, longitude: float, limit: int) -> list[tuple[float | None, Indexed]]:
        found = self._bookable.nearest(latitude, longitude, limit, NEARBY_M)
        if len(found) < limit:
            found += self._others.nearest(latitude, longitude, limit - len(found), NEARBY_M)
        if not found:
            found = self._bookable.nearest(latitude, longitude, limit, WITHIN_M)
        if not found:
            found = self._others.nearest(latitude, longitude, limit, WITHIN_M)
        found.sort()
        return [(far, self._garages[key]) for far, key in found]

    def named(
        self,
        text: str,
        limit: int,
        latitude: float | None = None,
        longitude: float | None = None,
        kind: str | None = None,
    ) -> list[tuple[float | None, Indexed]]:
        """Garages whose name or city holds every word of the text; those that can be booked first, then the nearest."""
        words = fold(text).split()
        found: list[tuple[float | None, Indexed]] = []
        for known in self._garages.values():
            if all(word in known.folded for word in words) and (kind is None or _has(known, kind)):
                found.append((_distance(known.garage, latitude, longitude), known))
        found.sort(key=lambda pair: (not pair[1].bookable, pair[0] or 0.0, pair[1].garage.name))
        return found[:limit]

    def places(self, text: str, limit: int) -> Sequence[Place]:
        """Cities, then garages, whose name begins with or holds the text."""
        if self._cities is None:
            self._cities = self._count_cities()
        wanted = fold(text)
        found = [place for place in self._cities if wanted in fold(place.name)]
        found.sort(key=lambda place: (not fold(place.name).startswith(wanted), -place.garages, place.name))
        found = found[: max(1, limit // 2)]
        if wanted:
            for _, known in self.named(text, limit - len(found)):
                g = known.garage
                if g.latitude is not None and g.longitude is not None:
                    found.append(Place("garage", g.name, g.city, g.latitude, g.longitude, 1, g.id))
        return found

    def _count_cities(self) -> list[Place]:
        cities: dict[str, list[Garage]] = {}
        for known in self._garages.values():
            if known.garage.city and known.garage.latitude is not None:
                cities.setdefault(known.garage.city, []).append(known.garage)
        places = []
        for city, garages in cities.items():
            # The median, not the mean: one row placed wrongly must not move a city into the sea.
            latitude = sorted(g.latitude or 0.0 for g in garages)[len(garages) // 2]
            longitude = sorted(g.longitude or 0.0 for g in garages)[len(garages) // 2]
            places.append(Place("city", city, city, latitude, longitude, len(garages)))
        return places


def fold(text: str) -> str:
    """Text for comparing: no case, no accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def _has(known: Indexed, kind: str) -> bool:
    # Where nobody knows how many bays there are, they are ordinary ones.
    return bays_of(known.terms, known.garage.capacity or 1, kind) > 0


def _distance(garage: Garage, latitude: float | None, longitude: float | None) -> float | None:
    if latitude is None or longitude is None or garage.latitude is None or garage.longitude is None:
        return None
    return distance_m(latitude, longitude, garage.latitude, garage.longitude)
