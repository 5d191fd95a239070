"""Any order that the world can produce, twice, late or with a gap, ends in the same state: stays, charges, states."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from parkube.parking.domain import charging
from parkube.parking.domain.bookings import Booking, Move, State, moved
from parkube.parking.domain.money import Money
from parkube.parking.domain.sessions import ENTRY, EXIT, Passage, SessionState, exit_is_lost, replayed
from parkube.parking.domain.site import ASPECTS, Site, SiteOrder, site
from parkube.parking.domain.tariffs import price
from parkube.parking.domain.times import Window
from parkube.parking.services import journal, keeping
from tests.fakes.parking import START, TARIFF, FakeGarage, World, ok

BOOKED = Window(START, START + timedelta(hours=2))
PRICED = price(TARIFF, BOOKED)
LATER = START + timedelta(days=3)


def booking(*, in_out: bool = False, drive_up: bool = False) -> Booking:
    return Booking(
        id="bk", garage_id="g", quote_id="qt", window=BOOKED, state=State.BOOKED,
        price=Money(PRICED.total_minor), lines=PRICED.lines, tariff=TARIFF, jti="gr", grant="", created_at=START,
        in_out=in_out, drive_up=drive_up,
    )  # fmt: skip


def passage(seq: int, direction: str, minute: int) -> Passage:
    return Passage("g", 1, seq, "bk", direction, START + timedelta(minutes=minute))


def after(known: Booking, news: list[Passage], now: datetime) -> tuple[State, int, Any]:
    """The booking as the platform leaves it: it hears one passage after the other, charges as it goes, and ticks."""
    heard: list[Passage] = []
    session = None
    for one in [*news, None, None]:
        lost = now if one is None and session is not None and exit_is_lost(session, known.window, now) else None
        if one is not None:
            heard.append(one)
        session = replayed(heard, known.window, now, in_out=known.in_out, soft_closed_at=lost)
        if session is None:
            continue
        if session.state is SessionState.RUNNING:
            again = known.state in (State.EXITED, State.PAID)
            known = replace(known, state=moved(known.state, Move.ENTER_AGAIN if again else Move.ENTER))
            continue
        assert session.exited_at is not None
        gross, _ = charging.sum_of(charging.charge(known, session.exited_at))
        known = replace(known, state=moved(known.state, Move.EXIT), charged_minor=max(known.charged_minor, gross))
    return known.state, known.charged_minor, session


STORIES = st.lists(st.tuples(st.sampled_from([ENTRY, EXIT]), st.integers(0, 400)), min_size=1, max_size=7)


@given(STORIES, st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_a_stay_is_the_same_in_any_order_twice_and_late(
    story: list[tuple[str, int]], in_out: bool, drive_up: bool, chance: Any
) -> None:
    news = [passage(seq, direction, minute) for seq, (direction, minute) in enumerate(story)]
    mixed = news + news[::2]
    chance.shuffle(mixed)
    known = booking(in_out=in_out, drive_up=drive_up)
    state, charged, session = after(known, mixed, LATER)
    expected_state, expected_charged, expected_session = after(known, news, LATER)
    assert (state, session) == (expected_state, expected_session)
    # What was charged on the way is never more than the whole: later news only ever add to it.
    assert charged == expected_charged
    if session is not None and session.exited_at is not None:
        assert session.entered_at <= session.exited_at


@given(STORIES, st.data())
def test_a_gap_that_is_filled_later_leaves_nothing_behind(story: list[tuple[str, int]], data: st.DataObject) -> None:
    news = [passage(seq, direction, minute) for seq, (direction, minute) in enumerate(story)]
    lost = data.draw(st.sets(st.integers(0, len(news) - 1)))
    kept = [one for one in news if one.seq not in lost]
    late = [one for one in news if one.seq in lost]
    assert after(booking(), kept + late, LATER) == after(booking(), news, LATER)


def test_a_lost_exit_is_soft_closed_and_reopened_by_a_later_one() -> None:
    entry = passage(1, ENTRY, 5)
    running = replayed([entry], BOOKED, LATER)
    assert running is not None
    assert not exit_is_lost(running, BOOKED, BOOKED.end + timedelta(hours=23))
    assert exit_is_lost(running, BOOKED, LATER)
    closed = replayed([entry], BOOKED, LATER, soft_closed_at=LATER)
    assert closed is not None
    assert (closed.state, closed.exited_at) == (SessionState.SOFT_CLOSED, BOOKED.end)
    reopened = replayed([passage(2, EXIT, 600), entry], BOOKED, LATER, soft_closed_at=LATER)
    assert reopened is not None
    assert (reopened.state, reopened.exited_at) == (SessionState.CLOSED, START + timedelta(minutes=600))


def test_intervals_are_half_open() -> None:
    assert not BOOKED.overlaps(Window(BOOKED.end, BOOKED.end + timedelta(hours=1)))
    assert not BOOKED.overlaps(Window(START - timedelta(hours=1), START))


@given(st.lists(st.tuples(st.sampled_from(ASPECTS), st.booleans()), max_size=10), st.randoms(use_true_random=False))
def test_a_garages_state_is_the_same_in_any_order_and_twice(story: list[tuple[str, bool]], chance: Any) -> None:
    orders = [
        SiteOrder("g", str(n), START + timedelta(seconds=n), aspect, on, "me") for n, (aspect, on) in enumerate(story)
    ]
    mixed = orders + orders[::2]
    chance.shuffle(mixed)
    on = dict(story)
    expected = next((Site(aspect) for aspect in ASPECTS if on.get(aspect)), Site.OPEN)
    assert site(mixed) is expected


async def test_the_platform_hears_it_twice_late_and_with_a_gap(world: World, garage: FakeGarage) -> None:
    booked = await world.book()
    garage.disconnect()
    for gate, minutes in (("entry", 5), ("exit", 180)):
        world.clock.forward(minutes=minutes)
        await garage.scan(booked["grant"], gate)
    # The entry's line was lost with a broken disk; then the same exit is sent three times.
    lost = garage.events.pop(0)
    await garage.connect()
    for _ in range(3):
        await garage.send(since=0)
    first = ok(await world.call(booked, "GET"))
    assert (first["state"], first["due_cents"]) == ("exited", 1050)
    # What was lost is found, in another journal of the same garage: the stay begins where it began.
    garage.events = [dict(lost, seq=1)]
    assert garage.connection is not None
    await journal.hello(world.platform, "nl-test", 1, "test", "boot", "another")
    garage.acked = 0
    await garage.send()
    await keeping.tick(world.platform)
    again = ok(await world.call(booked, "GET"))
    assert (again["state"], again["due_cents"]) == ("exited", 1050)
    assert again["session"]["entered_at"] < again["session"]["exited_at"]


async def test_one_opening_is_not_one_vehicle_and_charges_one_stay(world: World, garage: FakeGarage) -> None:
    booked = await world.book()
    await garage.scan(booked["grant"], "entry")
    world.clock.forward(minutes=30)
    for _ in range(3):
        world.clock.forward(seconds=20)
        await garage.report("opened", "exit", booking=booked["id"])
    assert ok(await world.call(booked, "GET"))["due_cents"] == 600
    assert len([entry for entry in await world.entries() if entry.kind == "charge"]) == 1
