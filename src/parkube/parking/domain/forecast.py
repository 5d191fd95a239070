"""How many vehicles will be inside at the time of arrival, and whether that guess is worth showing. Pure.

    guess = the usual at that hour of the week + what is left by then of how far from the usual it is now

`usual` is the mean of the weeks it was learned from; what is left is learned too, by how far ahead the arrival is. The
guess is judged on weeks that were held back, against the two that anybody can make: as now, and as a week before. It is
shown only where it beats both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any, Final

SLOT: Final = timedelta(minutes=30)
AHEAD: Final = (1, 2, 4, 8)
"""How far ahead it is learned and judged, in slots: half an hour to four hours."""
_WEEK: Final = timedelta(days=7)
_SLOTS: Final = 7 * 48
_HELD_BACK: Final = 2
_LEAST_WEEKS: Final = 4
_LEAST_JUDGED: Final = 50

Samples = Sequence[tuple[datetime, int]]
"""(local moment, vehicles inside), in any order."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean absolute errors in vehicles at one distance ahead, on the weeks held back."""

    guess: float
    as_now: float
    as_last_week: float
    judged: int

    @property
    def worth_showing(self) -> bool:
        return self.judged >= _LEAST_JUDGED and self.guess < min(self.as_now, self.as_last_week)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was learned of a garage. usual: by slot of the week, Monday 00:00 first; None where nothing was seen.

    left: by distance ahead in slots, which part of today's difference from the usual is still there by then.
    """

    usual: tuple[float | None, ...]
    left: Mapping[int, float]
    errors: Mapping[int, Errors]

    def guess(self, now: datetime, inside: int, arrival: datetime) -> tuple[float, float] | None:
        """Vehicles inside at the arrival and the error to expect, local moments; None where it is not worth showing."""
        ahead = nearest_ahead(arrival - now)
        if ahead is None or not self.errors[ahead].worth_showing:
            return None
        usual_now, usual_then = self.usual[_slot(now)], self.usual[_slot(arrival)]
        if usual_now is None or usual_then is None:
            return None
        return max(0.0, usual_then + self.left[ahead] * (inside - usual_now)), self.errors[ahead].guess


def learn(samples: Samples) -> Forecast | None:
    """Learns from all weeks but the last two, and judges on those. None where there are too few."""
    known = {_rounded(at): inside for at, inside in samples}
    if not known:
        return None
    last = max(known)
    if last - min(known) < _WEEK * _LEAST_WEEKS:
        return None
    until = last - _WEEK * _HELD_BACK
    learned = {at: inside for at, inside in known.items() if at <= until}
    usual = _usual(learned)
    left = {ahead: _left(learned, usual, ahead) for ahead in AHEAD}
    judged = {at: inside for at, inside in known.items() if at > until}
    return Forecast(usual, left, {ahead: _judge(known, judged, usual, left[ahead], ahead) for ahead in AHEAD})


def nearest_ahead(distance: timedelta) -> int | None:
    """The learned distance that is nearest; None for the past and for what is too far ahead."""
    slots = distance / SLOT
    if not 0 < slots <= AHEAD[-1] * 1.25:
        return None
    return min(AHEAD, key=lambda ahead: abs(ahead - slots))


def write_forecast(made: Forecast) -> dict[str, Any]:
    """As JSON."""
    return {
        "usual": list(made.usual),
        "left": {str(ahead): left for ahead, left in made.left.items()},
        "errors": {str(ahead): [e.guess, e.as_now, e.as_last_week, e.judged] for ahead, e in made.errors.items()},
    }


def read_forecast(written: Mapping[str, Any]) -> Forecast:
    """From the same."""
    return Forecast(
        tuple(written["usual"]),
        {int(ahead): left for ahead, left in written["left"].items()},
        {int(ahead): Errors(*errors) for ahead, errors in written["errors"].items()},
    )


def _usual(learned: Mapping[datetime, int]) -> tuple[float | None, ...]:
    seen: list[list[int]] = [[] for _ in range(_SLOTS)]
    for at, inside in learned.items():
        seen[_slot(at)].append(inside)
    return tuple(fmean(counts) if counts else None for counts in seen)


def _left(learned: Mapping[datetime, int], usual: Sequence[float | None], ahead: int) -> float:
    # Least squares through the origin: how much of a difference is still there so many slots later.
    both = square = 0.0
    for at, inside in learned.items():
        then = learned.get(at + SLOT * ahead)
        usual_now, usual_then = usual[_slot(at)], usual[_slot(at + SLOT * ahead)]
        if then is None or usual_now is None or usual_then is None:
            continue
        both += (inside - usual_now) * (then - usual_then)
        square += (inside - usual_now) ** 2
    return min(1.0, max(0.0, both / square)) if square else 0.0


def _judge(
    known: Mapping[datetime, int], judged: Mapping[datetime, int], usual: Sequence[float | None], left: float,
    ahead: int,
) -> Errors:  # fmt: skip
    guesses, nows, weeks = [], [], []
    for then_at, then in judged.items():
        now_at = then_at - SLOT * ahead
        now, before = known.get(now_at), known.get(then_at - _WEEK)
        usual_now, usual_then = usual[_slot(now_at)], usual[_slot(then_at)]
        # All three are judged on the same moments, or the comparison says nothing.
        if now is None or before is None or usual_now is None or usual_then is None:
            continue
        guesses.append(abs(max(0.0, usual_then + left * (now - usual_now)) - then))
        nows.append(abs(now - then))
        weeks.append(abs(before - then))
    if not guesses:
        return Errors(0.0, 0.0, 0.0, 0)
    return Errors(fmean(guesses), fmean(nows), fmean(weeks), len(guesses))


def _rounded(at: datetime) -> datetime:
    half_hours = (at.minute * 60 + at.second + 900) // 1800
    return at.replace(minute=0, second=0, microsecond=0) + half_hours * SLOT


def _slot(at: datetime) -> int:
    rounded = _rounded(at)
    return rounded.weekday() * 48 + rounded.hour * 2 + rounded.minute // 30
