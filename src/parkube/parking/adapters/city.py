"""A small made-up city, the same each time, for where no register is at hand: Parkdam, at the mouth of the Aa.

Its garages lie around a harbour that is on every map of the world, so that they show on recognisable ground.
"""

from __future__ import annotations

import hashlib
import math
import random
from typing import Final

from parkube.parking.domain.garages import Garage
from parkube.parking.domain.tariffs import Step, Tariff

SOURCE: Final = "city"
NAME: Final = "Parkdam"
CENTRE: Final = (52.3728, 4.8936)
_SEED: Final = 1275
_STREETS: Final = (
    "Haven", "Markt", "Dam", "Station", "Molen", "Kerk", "Schouwburg", "Stadhuis", "Museum", "Bolwerk", "Singel",
    "Veer", "Waag", "Zuider", "Noorder", "Ooster", "Wester", "Linden", "Beurs", "Scheeps",
    "Universiteits", "Ziekenhuis",
)  # fmt: skip
_KINDS: Final = (("garage", "garage"), ("plein", "garage"), ("kade", "terrain"), ("poort P+R", "park and ride"))


def generate(count: int = 60) -> list[Garage]:
    """The city's garages; garage i is the same whatever the count."""
    garages = []
    for number in range(count):
        chance = random.Random(_SEED * 10_007 + number)
        street, (kind, usage) = _STREETS[number % len(_STREETS)], _KINDS[number // len(_STREETS) % len(_KINDS)]
        again = number // (len(_STREETS) * len(_KINDS))
        name = f"{street}{kind}" + (f" {again + 1}" if again else "")
        away_km = 0.25 + 4.5 * math.sqrt(number / max(1, len(_STREETS) * len(_KINDS)))
        angle = number * 2.399963  # the golden angle spreads them without a pattern
        latitude = CENTRE[0] + away_km * math.sin(angle) / 111.2
        longitude = CENTRE[1] + away_km * math.cos(angle) / (111.2 * math.cos(math.radians(CENTRE[0])))
        garages.append(
            Garage(
                id="nl-" + hashlib.sha256(f"{NAME} {name}".encode()).hexdigest()[:8],
                name=name,
                city=NAME,
                latitude=round(latitude, 6),
                longitude=round(longitude, 6),
                country="NL",
                usage=usage,
                capacity=chance.choice((12, 40, 80, 120, 250, 400, 650)),
                height_m=chance.choice((None, 1.9, 2.0, 2.1)),
                tariff=_tariff(usage, away_km, chance),
                source=SOURCE,
                source_ref=str(number),
            )
        )
    return garages


def _tariff(usage: str, away_km: float, chance: random.Random) -> Tariff:
    if usage == "park and ride":
        return Tariff((Step(0, 1440, 600),), cap_minor=600, name="P+R")
    centre = max(100, round((500 - 70 * away_km) / 10) * 10)
    every = chance.choice((20, 30, 60))
    return Tariff(
        (Step(0, every, max(10, centre * every // 60)), Step(240, 60, max(50, centre // 2))),
        cap_minor=centre * 7,
        free_minutes=chance.choice((0, 0, 15)),
        name="centre" if away_km < 1.5 else "town",
    )
