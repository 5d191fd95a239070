"""Places on the ground: distance, and a grid that finds the nearest of thousands in microseconds.

Not a geocoder and not a map projection.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

EARTH_RADIUS_M: Final = 6_371_008.8
_CELL_DEGREES: Final = 0.02  # about 2.2 km: a Dutch city is a few dozen cells of a few garages each
_METRES_PER_DEGREE: Final = math.pi / 180 * EARTH_RADIUS_M

K = TypeVar("K", bound=Hashable)


def distance_m(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Great-circle distance in metres between two WGS 84 positions in degrees."""
    p1, p2 = math.radians(latitude), math.radians(other_latitude)
    dp, dl = p2 - p1, math.radians(other_longitude - longitude)
    h = math.sin(dp / 2) ** 2 + math.cos(p1) * math.cos(p2) * math.sin(dl / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))


class Grid(Generic[K]):
    """Keys at positions, found nearest first. Positions are kept as unit vectors: a chord needs no sine to compare."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], dict[K, Vector]] = {}
        self._positions: dict[K, tuple[tuple[int, int], Vector]] = {}

    def __len__(self) -> int:
        return len(self._positions)

    def put(self, key: K, latitude: float, longitude: float) -> None:
        """Places a key, or moves it."""
        self.remove(key)
        cell, at = _cell(latitude, longitude), _vector(latitude, longitude)
        self._positions[key] = (cell, at)
        self._cells.setdefault(cell, {})[key] = at

    def remove(self, key: K) -> None:
        position = self._positions.pop(key, None)
        if position is not None:
            inside = self._cells[position[0]]
            del inside[key]
            if not inside:
                del self._cells[position[0]]

    def nearest(self, latitude: float, longitude: float, limit: int, within_m: float) -> list[tuple[float, K]]:
        """Up to `limit` keys as (distance in metres, key), the nearest first, none farther than within_m."""
        here, centre = _vector(latitude, longitude), _cell(latitude, longitude)
        # A ring's cells are at least this far away; degrees of longitude shrink towards the poles.
        east = math.cos(math.radians(min(89.0, abs(latitude) + within_m / _METRES_PER_DEGREE)))
        ring_m = _CELL_DEGREES * _METRES_PER_DEGREE * max(0.05, east)
        rings = int(within_m / ring_m) + 2
        found: list[tuple[float, K]] = []
        if (2 * rings + 1) ** 2 > 4 * len(self._cells) + 400:
            rings = 0
            for inside in self._cells.values():
                _gather(found, inside, here)
        for ring in range(rings):
            for cell in _ring(centre, ring):
                known = self._cells.get(cell)
                if known:
                    _gather(found, known, here)
            if len(found) >= limit:
                found.sort(key=_first)
                if _metres(found[limit - 1][0]) <= ring * ring_m:
                    break
        found.sort(key=_first)
        near = [(_metres(chord), key) for chord, key in found[:limit]]
        return [pair for pair in near if pair[0] <= within_m]


Vector = tuple[float, float, float]


def _vector(latitude: float, longitude: float) -> Vector:
    p, m = math.radians(latitude), math.radians(longitude)
    return math.cos(p) * math.cos(m), math.cos(p) * math.sin(m), math.sin(p)


def _gather(found: list[tuple[float, K]], inside: dict[K, Vector], here: Vector) -> None:
    x, y, z = here
    for key, at in inside.items():
        dx, dy, dz = at[0] - x, at[1] - y, at[2] - z
        found.append((dx * dx + dy * dy + dz * dz, key))


def _metres(chord_squared: float) -> float:
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(chord_squared) / 2))


def _first(pair: tuple[float, object]) -> float:
    return pair[0]


def _cell(latitude: float, longitude: float) -> tuple[int, int]:
    return math.floor(latitude / _CELL_DEGREES), math.floor(longitude / _CELL_DEGREES)


def _ring(centre: tuple[int, int], ring: int) -> Iterator[tuple[int, int]]:
    y, x = centre
    if ring == 0:
        yield centre
        return
    for dx in range(-ring, ring + 1):
        yield y - ring, x + dx
        yield y + ring, x + dx
    for dy in range(-ring + 1, ring):
        yield y + dy, x - ring
        yield y + dy, x + ring
