"""What pricing costs on one core, over the Swiss railway's 622 tariffs and stays of 5 minutes to 3 days.

It is right first: the minute-by-minute reference of the tests has to agree on 100,000 random stays and tariffs.

Where the railway's file is not on the machine, random tariffs of the tests stand in.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.unit.parking.tariff_reference import random_stay, random_tariff, reference

from bench.figures import Figure
from bench.measure import BenchError
from parkube.parking.adapters.swiss_rail import SwissRail, priced_car_parks
from parkube.parking.domain.tariffs import Tariff, price, total
from parkube.parking.domain.times import Window

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "ch_opendata_swiss_parkrail.geojson"
TOTAL_US, QUOTE_US = 20, 100  # 50,000 totals, 10,000 explained quotes a second


def measure(quick: bool) -> list[Figure]:
    """The best of five runs: what the machine does beside it is not the engine's cost."""
    checked = 1000 if quick else 100_000
    for seed in range(1_000_000, 1_000_000 + checked):
        chance = random.Random(seed)
        tariff, window = random_tariff(chance), random_stay(chance)
        if total(tariff, window) != reference(tariff, window):
            raise BenchError(f"the engine and the reference differ for seed {seed}")
    chance = random.Random(1)
    tariffs = [SwissRail().read(model) for _, _, model in priced_car_parks(FILE)] if FILE.exists() else []
    kind = f"{len(tariffs)} tariffs of the Swiss railway" if tariffs else "random tariffs"
    tariffs = tariffs or [random_tariff(chance) for _ in range(622)]
    stays = [(tariffs[index % len(tariffs)], _stay(chance)) for index in range(5_000 if quick else 50_000)]
    note = f"{kind}, stays of 5 min to 3 days; the reference agrees on {checked:,} random stays and tariffs"
    return [
        Figure("tariffs: one total, CPU", _least_us(total, stays), "µs", TOTAL_US, note=note),
        Figure("tariffs: one explained quote, CPU", _least_us(price, stays), "µs", QUOTE_US),
    ]


def _stay(chance: random.Random) -> Window:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(365 * 1440))
    return Window(start, start + timedelta(minutes=chance.randint(5, 3 * 1440)))


def _least_us(run: Callable[[Tariff, Window], object], stays: list[tuple[Tariff, Window]]) -> float:
    taken = []
    for _ in range(5):
        before = time.process_time()
        for tariff, window in stays:
            run(tariff, window)
        taken.append((time.process_time() - before) / len(stays) * 1e6)
    return min(taken)
