"""A booking's states, and what moves it from one to the next.

                                         +------ in again ------+-------------+
                                         v                      |             |
    booked --------- enter --------+-> entered ---- exit --> exited -- pay -> paid
      |                            |                         ^    ^           |
      +-- cancel --> cancelled ----+---------- exit ---------+    +-----------+
      |                            |    the entry was lost        charged again
      +-- expire --> expired ------+

What leaves it where it is has no arrow: a passage that is heard again, a fee paid for what was given up. An exit that
was lost is taken for one in the end: soft close.
A driver's wish (cancel, pay) is refused where the drawing has no arrow. What a garage reports (enter, exit) is a
fact and is never refused: it may come late, twice, or for a booking that was given up meanwhile. A fee for a booking
that was cancelled or not come for is paid where it stands. In again is only where the owner allows in and out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from parkube.parking.domain.errors import Conflict
from parkube.parking.domain.money import Money
from parkube.parking.domain.tariffs import Line, Tariff
from parkube.parking.domain.tariffs.model import STANDARD
from parkube.parking.domain.times import Window

MOST_AHEAD: Final = timedelta(days=180)
LONGEST: Final = timedelta(days=31)
QUOTE_LIVES: Final = timedelta(minutes=15)
GRANT_GRACE: Final = timedelta(hours=24)
"""How long after its end a booking's grant still opens the exit: an overstay is charged, not locked in."""

OVERSTAY_AHEAD: Final = timedelta(minutes=15)
"""An overstay is taken to last at least this much longer."""


class State(StrEnum):
    """Where a booking is."""

    BOOKED = "booked"
    ENTERED = "entered"
    EXITED = "exited"
    PAID = "paid"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Move(StrEnum):
    """What moves it."""

    ENTER = "enter"
    EXIT = "exit"
    SOFT_CLOSE = "soft_close"
    ENTER_AGAIN = "enter_again"
    CHARGED_AGAIN = "charged_again"
    PAY = "pay"
    CANCEL = "cancel"
    EXPIRE = "expire"


_ARROWS: Final[dict[tuple[State, Move], State]] = {
    (State.BOOKED, Move.ENTER): State.ENTERED,
    (State.BOOKED, Move.EXIT): State.EXITED,
    (State.BOOKED, Move.CANCEL): State.CANCELLED,
    (State.BOOKED, Move.EXPIRE): State.EXPIRED,
    (State.CANCELLED, Move.ENTER): State.ENTERED,
    (State.CANCELLED, Move.EXIT): State.EXITED,
    (State.EXPIRED, Move.ENTER): State.ENTERED,
    (State.EXPIRED, Move.EXIT): State.EXITED,
    (State.ENTERED, Move.ENTER): State.ENTERED,
    (State.ENTERED, Move.EXIT): State.EXITED,
    (State.ENTERED, Move.SOFT_CLOSE): State.EXITED,
    (State.EXITED, Move.ENTER): State.EXITED,
    (State.EXITED, Move.EXIT): State.EXITED,
    (State.EXITED, Move.CHARGED_AGAIN): State.EXITED,
    (State.EXITED, Move.PAY): State.PAID,
    (State.EXITED, Move.ENTER_AGAIN): State.ENTERED,
    (State.PAID, Move.ENTER_AGAIN): State.ENTERED,
    (State.CANCELLED, Move.PAY): State.CANCELLED,
    (State.EXPIRED, Move.PAY): State.EXPIRED,
    (State.PAID, Move.ENTER): State.PAID,
    (State.PAID, Move.EXIT): State.PAID,
    (State.PAID, Move.CHARGED_AGAIN): State.EXITED,
}

_WHY_NOT: Final = {
    State.BOOKED: "the stay has not begun",
    State.ENTERED: "the vehicle is inside",
    State.EXITED: "the stay is over",
    State.PAID: "the booking is paid",
    State.CANCELLED: "the booking is cancelled",
    State.EXPIRED: "the booking has expired",
}

HOLDS_A_BAY: Final = (State.BOOKED, State.ENTERED)


@dataclass(frozen=True, slots=True)
class Quote:
    """A price pinned for a window of a garage, with the tariff it was made by."""

    id: str
    garage_id: str
    window: Window
    price: Money
    vat_minor: int
    lines: tuple[Line, ...]
    tariff: Tariff
    created_at: datetime
    expires_at: datetime
    bay_kind: str = STANDARD


@dataclass(frozen=True, slots=True)
class Booking:
    """A bay promised to a driver. Amounts are minor units of the price's currency.

    charged_minor is what the stays came to; credited_minor is what discounts and refunds took off it, so that charging
    again after a late exit does not charge what was given back. paid_minor is what we keep of what was paid.

    A drive-up's price and lines are nothing until its exit. replaces: the booking for which this is another garage.
    """

    id: str
    garage_id: str
    quote_id: str
    window: Window
    state: State
    price: Money
    lines: tuple[Line, ...]
    tariff: Tariff
    jti: str
    grant: str
    created_at: datetime
    plate_raw: str | None = None
    plate_normal: str | None = None
    plate_country: str | None = None
    idempotency_key: str | None = None
    charged_minor: int = 0
    paid_minor: int = 0
    credited_minor: int = 0
    person_id: str | None = None
    bay_kind: str = STANDARD
    drive_up: bool = False
    in_out: bool = False
    replaces: str | None = None

    @property
    def due_minor(self) -> int:
        return self.charged_minor - self.credited_minor - self.paid_minor

    def taken(self, now: datetime) -> Window | None:
        """The window in which this booking holds a bay, if it does; an overstay holds it a while longer than now."""
        if self.state not in HOLDS_A_BAY:
            return None
        if self.state is State.ENTERED:
            return Window(self.window.start, max(self.window.end, now + OVERSTAY_AHEAD))
        return self.window


def moved(state: State, move: Move) -> State:
    """The state after a move. Raises Conflict where the drawing has no arrow."""
    after = _ARROWS.get((state, move))
    if after is None:
        raise Conflict(_refusal(state, move), code="wrong_state")
    return after


def check_open(booking: Booking, gate_direction: str, now: datetime) -> None:
    """Whether the driver may ask for this gate now. Raises Conflict with the sentence that the driver reads."""
    if gate_direction == "pedestrian":
        _check_door(booking, now)
        return
    coming_back = booking.in_out and booking.state is State.ENTERED
    entering = gate_direction == "entry" or (gate_direction == "both" and booking.state is State.BOOKED)
    if not entering:
        if booking.state is State.BOOKED:
            raise Conflict("the stay has not begun: open the entry first", code="wrong_state")
        if booking.state in (State.CANCELLED, State.EXPIRED):
            raise Conflict(_WHY_NOT[booking.state], code="wrong_state")
        if booking.state is not State.ENTERED:
            raise Conflict("the vehicle has already left", code="wrong_state")
        return
    if booking.state is not State.BOOKED and not coming_back:
        raise Conflict(_WHY_NOT[booking.state], code="wrong_state")
    opens = booking.window.start - timedelta(minutes=booking.tariff.entry_grace_minutes)
    if now < opens:
        raise Conflict(f"the gate opens for this booking from {opens:%Y-%m-%dT%H:%M:%SZ} on", code="too_early")
    if now >= booking.window.end:
        raise Conflict("the booking is over", code="too_late")


def _check_door(booking: Booking, now: datetime) -> None:
    # Who parks comes and goes on foot, and fetches what was forgotten while the gate is still open to the booking.
    if booking.state is State.ENTERED:
        return
    if booking.state is not State.BOOKED:
        raise Conflict(_WHY_NOT[booking.state], code="wrong_state")
    opens = booking.window.start - timedelta(minutes=booking.tariff.entry_grace_minutes)
    if now < opens:
        raise Conflict(f"the door opens for this booking from {opens:%Y-%m-%dT%H:%M:%SZ} on", code="too_early")


def _refusal(state: State, move: Move) -> str:
    wish = {Move.PAY: "paid", Move.CANCEL: "cancelled"}.get(move, move.value)
    return f"the booking cannot be {wish}: {_WHY_NOT[state]}"
