"""A CronJob's schedule: when it is due after some moment, in its time zone. Reads no clock.

The five fields and what a change of the clock does to them are cronsim's; the names (`@hourly`) and `@every 1h30m` are
those of the CronJob API (API reference, CronJobSpec.schedule; syntax of robfig/cron's standard parser).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Protocol

_NAMED = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_EVERY = re.compile(r"@every (?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


class ScheduleError(ValueError):
    """The text is no schedule; says why."""


class Moments(Protocol):
    """Due times after a start, in order."""

    def __call__(self, start: datetime) -> Iterator[datetime]: ...


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A schedule that was read. `every` is set for `@every`, `fields` for all others."""

    fields: str = ""
    every: timedelta = timedelta()

    @classmethod
    def parse(cls, text: str) -> CronSchedule:
        """Raises ScheduleError."""
        from cronsim import CronSim, CronSimError  # only where there are CronJobs

        plain = text.strip()
        if plain.startswith("@every"):
            match = _EVERY.fullmatch(plain)
            hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
            every = timedelta(hours=hours, minutes=minutes, seconds=seconds)
            if every < timedelta(seconds=1):
                raise ScheduleError(f"failed to parse duration {plain}")
            return cls(every=every)
        fields = _NAMED.get(plain, plain).replace("?", "*")
        if len(fields.split()) != 5:
            raise ScheduleError(f"expected exactly 5 fields, found {len(fields.split())}: [{plain}]")
        try:
            CronSim(fields, datetime(2026, 1, 1))  # noqa: DTZ001 - only read
        except CronSimError as error:
            raise ScheduleError(str(error)) from None
        return cls(fields=fields)

    def after(self, start: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Due times later than `start`, which knows its zone, each in `zone`. Ends where none comes in fifty years."""
        from cronsim import CronSim

        if self.every:
            moment = start
            while True:
                moment += self.every
                yield moment.replace(microsecond=0).astimezone(zone)
        yield from CronSim(self.fields, start.astimezone(zone))
