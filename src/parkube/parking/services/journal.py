"""What garages report: each journal line stored once, and what it means for bookings, sessions and money.

    hello --> where we are in its journal        events --> stored, applied, acknowledged, in one transaction

A line that comes twice is nothing. The link keeps the order and is closed when a frame cannot be stored, so a gap
means that those numbers are lost at the garage: waiting for them would hold up all that follow.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from parkube.parking.domain import changes, charging
from parkube.parking.domain import sessions as stays
from parkube.parking.domain.bookings import Booking, Move, State, moved
from parkube.parking.domain.commands import CommandState, answered
from parkube.parking.domain.garages import GateEvent, Link
from parkube.parking.domain.sessions import Passage, Session, SessionState
from parkube.parking.services import books, counting, news, reported
from parkube.parking.services.links import Connection
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction

_log = logging.getLogger(__name__)
SEEN_EVERY_S: Final = 60.0
CLOCK_MAY_DIFFER: Final = timedelta(seconds=30)


async def hello(
    platform: Platform,
    garage_id: str,
    last_seq: int,
    app_version: str | None,
    boot_id: str | None,
    journal_id: str | None = None,
) -> int:
    """A garage connects. Returns up to where its journal was received; 0 where it has a new one."""
    async with platform.database.writing() as transaction:
        link = await transaction.lock_link(garage_id) or Link(garage_id)
        other = journal_id is not None and link.journal_id is not None and journal_id != link.journal_id
        if last_seq < link.acked_seq or other:
            _log.warning("garage %s lost its journal after %d: it begins a new one", garage_id, link.acked_seq)
            link = replace(link, journal=link.journal + 1, acked_seq=0)
        link = replace(
            link,
            last_seen=platform.clock(),
            app_version=app_version or None,
            boot_id=boot_id or None,
            journal_id=journal_id or link.journal_id,
        )
        await transaction.save_link(link)
    return link.acked_seq


async def seen(platform: Platform, connection: Connection) -> None:
    """Remembers that the garage was heard, now and then."""
    now = platform.clock()
    connection.last_heard = now
    if connection.saved_at is not None and (now - connection.saved_at).total_seconds() < SEEN_EVERY_S:
        return
    connection.saved_at = now
    async with platform.database.writing() as transaction:
        link = await transaction.lock_link(connection.garage_id)
        if link is not None:
            await transaction.save_link(replace(link, last_seen=now))


async def receive(platform: Platform, connection: Connection, events: Sequence[GateEvent]) -> int:
    """Stores and applies journal lines. Returns the sequence number to acknowledge."""
    changed: dict[str, Booking] = {}
    async with platform.database.writing() as transaction:
        link = await transaction.lock_link(connection.garage_id) or Link(connection.garage_id)
        fresh = _fresh(link, events)
        if fresh:
            fresh = [replace(event, journal=link.journal) for event in fresh]
            await transaction.add_events(fresh)
            for event in fresh:
                await reported.note(platform, transaction, event)
                booking = await _apply(platform, transaction, event, connection)
                if booking is not None:
                    changed[booking.id] = booking
            link = replace(link, acked_seq=fresh[-1].seq, last_seen=platform.clock())
            await transaction.save_link(link)
    for event in fresh:
        if event.command_id and event.kind != "verify_started":
            platform.links.event_stored(event.command_id)
    now = platform.clock()
    for booking in changed.values():
        platform.index.hold(booking, now)
        news.booking(platform, booking)
    if changed:
        news.garage(platform, connection.garage_id)
    return link.acked_seq


def _fresh(link: Link, events: Sequence[GateEvent]) -> list[GateEvent]:
    by_seq = {event.seq: event for event in events if event.seq > link.acked_seq}
    fresh = [by_seq[seq] for seq in sorted(by_seq)]
    if fresh and fresh[0].seq != link.acked_seq + 1:
        _log.warning("garage %s: journal lines %d to %d are lost", link.garage_id, link.acked_seq + 1, fresh[0].seq - 1)
    return fresh


async def _apply(
    platform: Platform, transaction: Transaction, event: GateEvent, connection: Connection
) -> Booking | None:
    if event.command_id and event.kind in ("opened", "refused", "failed"):
        command = await transaction.lock_command(event.command_id)
        if command is not None and command.garage_id == event.garage_id:
            state = CommandState.OPENED if event.kind == "opened" else CommandState.REFUSED
            await transaction.save_command(answered(command, state))
    if event.kind not in ("opened", "counted"):
        return None
    at = _believable(event, connection.clock_error)
    direction = await _gate_direction(transaction, event)
    counted = counting.count_of(event, at, direction)
    if counted is not None:
        await transaction.add_count(counted)
    booking = await _booking_of(transaction, event) if event.kind == "opened" else None
    if booking is None:
        return None
    way = await _way(transaction, event, booking, direction)
    if way is None:
        return None
    at = max(at, booking.created_at)
    await transaction.add_passage(Passage(event.garage_id, event.journal, event.seq, booking.id, way, at))
    reference = f"{event.garage_id}:{event.journal}:{event.seq}"
    return await replay(transaction, booking, platform.clock(), reference)


async def _booking_of(transaction: Transaction, event: GateEvent) -> Booking | None:
    booking = await transaction.lock_booking(event.booking_id) if event.booking_id else None
    if booking is None and event.jti:
        found = await transaction.booking_of_jti(event.jti)
        booking = await transaction.lock_booking(found.id) if found else None
    # A garage speaks for its own bookings only.
    return booking if booking is not None and booking.garage_id == event.garage_id else None


async def _way(transaction: Transaction, event: GateEvent, booking: Booking, direction: str | None) -> str | None:
    """Which way the vehicle went; None through a door for people."""
    if direction is None:
        return stays.EXIT if event.gate == "exit" else stays.ENTRY
    if direction == "pedestrian":
        return None
    if direction == "both":
        return stays.ENTRY if await transaction.session(booking.id) is None else stays.EXIT
    return direction


async def _gate_direction(transaction: Transaction, event: GateEvent) -> str | None:
    garage = await transaction.garage(event.garage_id)
    return next((g.direction for g in garage.gates if g.name == event.gate), None) if garage else None


def _believable(event: GateEvent, error: timedelta) -> datetime:
    # A garage's clock may be wrong: we know by how much it was when it said hello, and nothing can have happened after
    # we heard of it.
    return min(event.at - error if abs(error) > CLOCK_MAY_DIFFER else event.at, event.received_at)


async def replay(transaction: Transaction, booking: Booking, now: datetime, reference: str) -> Booking:
    """The booking after all its passages, replayed: whatever their order, and however often. Charges what is new."""
    lost = [c.at for c in await transaction.changes(booking.id) if c.kind == changes.SOFT_CLOSED]
    session = stays.replayed(
        await transaction.passages(booking.id), booking.window, now, in_out=booking.in_out,
        soft_closed_at=max(lost, default=None),
    )  # fmt: skip
    if session is None:
        return booking
    await transaction.save_session(session)
    if session.state is SessionState.RUNNING:
        again = booking.state in (State.EXITED, State.PAID)
        booking = replace(booking, state=moved(booking.state, Move.ENTER_AGAIN if again else Move.ENTER))
        await transaction.save_booking(booking)
        return booking
    lost_exit = session.state is SessionState.SOFT_CLOSED and booking.state is State.ENTERED
    return await _charge(transaction, booking, session, Move.SOFT_CLOSE if lost_exit else Move.EXIT, reference)


async def soft_close(platform: Platform) -> int:
    """Ends the sessions whose exit was lost, at their booking's end; a later exit opens them again. How many.

    With them those who were out, in and out being allowed, when their booked time ended.
    """
    now = platform.clock()
    closed: list[Booking] = []
    async with platform.database.writing() as transaction:
        for session in await transaction.running_sessions(now):
            booking = await transaction.lock_booking(session.booking_id)
            if booking is None:
                continue
            if stays.exit_is_lost(session, booking.window, now):
                key = f"{changes.SOFT_CLOSED}:{now.timestamp():.0f}"
                await transaction.add_change(changes.Change(booking.id, key, now, changes.SOFT_CLOSED))
            elif not booking.in_out:
                continue
            after = await replay(transaction, booking, now, f"{booking.id}:soft:{now.timestamp():.0f}")
            if after.state is not State.ENTERED:
                closed.append(after)
    for booking in closed:
        platform.index.hold(booking, now)
        news.booking(platform, booking)
    return len(closed)


async def _charge(transaction: Transaction, booking: Booking, session: Session, move: Move, reference: str) -> Booking:
    assert session.exited_at is not None
    assert session.state is not SessionState.RUNNING
    lines = charging.charge(booking, session.exited_at)
    gross, vat = charging.sum_of(lines)
    state = moved(booking.state, move)
    more = gross - booking.charged_minor
    if more > 0:
        vat_before = await _vat_charged(transaction, booking)
        await books.charge(transaction, booking, more, vat - vat_before, session.exited_at, reference)
        if state is State.PAID:
            state = moved(state, Move.CHARGED_AGAIN)
    booking = replace(booking, state=state, charged_minor=booking.charged_minor + max(0, more))
    await transaction.save_booking(booking)
    return booking


async def _vat_charged(transaction: Transaction, booking: Booking) -> int:
    moves = [move for entry in await transaction.entries(booking.id) if entry.kind == "charge" for move in entry.moves]
    return sum(move.amount_minor for move in moves if move.credit.startswith("vat:"))
