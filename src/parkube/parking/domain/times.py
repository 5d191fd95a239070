"""Moments and half-open windows. Everything inside is UTC; a garage's zone matters only at the edge.

Not a calendar: opening hours and holidays are the tariff's and the garage's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from parkube.parking.domain.errors import Invalid


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name. Raises Invalid."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Invalid(f"there is no time zone {name!r}", [("time_zone", "unknown")]) from error


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC with Z, to the second, with milliseconds only where there are any."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Window:
    """From start (inclusive) to end (exclusive), both aware and in UTC."""

    start: datetime
    end: datetime

    @property
    def duration(self) -> timedelta:
        """The time that really elapses, also over a change of the clocks."""
        return self.end - self.start

    def overlaps(self, other: Window) -> bool:
        return self.start < other.end and other.start < self.end


def parse_moment(text: str, zone_name: str, field: str) -> datetime:
    """A moment from RFC 3339, or from a local time of that zone without an offset, as UTC.

    A local time that the clocks skip or show twice is refused with a sentence that says so. Raises Invalid.
    """
    try:
        # A plus sign that a URL turned into a space is meant as a plus sign.
        moment = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
    except ValueError as error:
        raise Invalid(f"{field}: {text!r} is not a time like 2026-05-01T14:00:00Z", [(field, "not a time")]) from error
    if moment.tzinfo is None:
        moment = _localise(moment, zone_name, field)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise Invalid(f"{field}: {text!r} is out of range", [(field, "out of range")]) from error


def _localise(moment: datetime, zone_name: str, field: str) -> datetime:
    if not 1 < moment.year < 9999:
        raise Invalid(f"{field}: the year {moment.year} is out of range", [(field, "out of range")])
    first = moment.replace(tzinfo=zone(zone_name), fold=0)
    second = first.replace(fold=1)
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(UTC).astimezone(first.tzinfo).replace(tzinfo=None) != moment:
        raise Invalid(
            f"{field}: {moment:%H:%M} on {moment:%Y-%m-%d} does not exist in {zone_name}, the clocks go forward then",
            [(field, "skipped by the change to daylight saving time")],
        )
    raise Invalid(
        f"{field}: {moment:%H:%M} on {moment:%Y-%m-%d} happens twice in {zone_name}, the clocks go back then: "
        f"say which by an offset, {first.isoformat()} or {second.isoformat()}",
        [(field, "happens twice, give an offset")],
    )
