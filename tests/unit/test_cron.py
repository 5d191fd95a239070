"""When a CronJob is due: names, intervals, zones, the two nights on which the clock is changed."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from parkube.kubeapi.cron import CronSchedule, ScheduleError

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def due(schedule: str, start: str, count: int = 2, zone: ZoneInfo | None = None) -> list[str]:
    after = CronSchedule.parse(schedule).after(datetime.fromisoformat(start), zone or ZoneInfo("UTC"))
    return [moment.astimezone(UTC).strftime("%m-%d %H:%M:%S") for moment in islice(after, count)]


def test_fields_names_and_intervals() -> None:
    assert due("*/15 * * * *", "2026-11-26T10:07:00Z") == ["11-26 10:15:00", "11-26 10:30:00"]
    assert due("@hourly", "2026-11-26T10:00:00Z") == ["11-26 11:00:00", "11-26 12:00:00"]
    assert due("0 0 ? * MON", "2026-11-26T10:00:00Z", 1) == ["11-30 00:00:00"]
    assert due("@every 1h30m", "2026-11-26T10:00:00Z") == ["11-26 11:30:00", "11-26 13:00:00"]


def test_a_zone_moves_it() -> None:
    assert due("0 8 * * *", "2026-11-26T10:00:00Z", 1, AMSTERDAM) == ["11-27 07:00:00"]
    assert due("0 8 * * *", "2026-07-01T10:00:00Z", 1, AMSTERDAM) == ["07-02 06:00:00"]


def test_the_nights_on_which_the_clock_is_changed() -> None:
    spring = due("30 2 * * *", "2026-03-28T12:00:00Z", 2, AMSTERDAM)
    assert len(spring) == len(set(spring)) == 2
    autumn = due("30 2 * * *", "2026-10-24T12:00:00Z", 2, AMSTERDAM)
    assert autumn[0].startswith("10-25")
    assert autumn[1].startswith("10-26"), "once, though half past two comes twice"


@pytest.mark.parametrize("text", ["", "* * * *", "61 * * * *", "@every", "@every 0s", "@sometimes", "0 0 * * FUN"])
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ScheduleError):
        CronSchedule.parse(text)
