"""The driver's JSON, made from the domain's records. One function a shape; queries are in the routes."""

from __future__ import annotations

from typing import Any, Final

from parkube.parking.adapters.qr import qr_svg
from parkube.parking.domain import changes
from parkube.parking.domain.bookings import Booking, Quote
from parkube.parking.domain.counting import almost_full
from parkube.parking.domain.payments import Order, OrderState
from parkube.parking.domain.receipts import Receipt
from parkube.parking.domain.sessions import Session
from parkube.parking.domain.tariffs import Line, tariff_words
from parkube.parking.domain.times import rfc3339
from parkube.parking.services.booking import secret_of
from parkube.parking.services.forecasting import Expected
from parkube.parking.services.index import Asked, Indexed, Place
from parkube.parking.services.platform import Platform

_NOTICES: Final = (
    changes.EXTENDED, changes.SHORTENED, changes.PLATE, changes.ENDS_SOON, changes.OVERSTAYED, changes.AT_RISK,
    changes.GUARANTEED, changes.NO_SHOW,
)  # fmt: skip


def found(platform: Platform, known: Indexed, asked: Asked, distance_m: float | None) -> dict[str, Any]:
    """shapes.GarageFound"""
    shown = known.shown
    if shown is None:
        shown = known.shown = _always(known)
    free = asked.free(known)
    return {
        **shown,
        "distance_m": None if distance_m is None else round(distance_m),
        "price_cents": asked.price(known),
        "free_bays": free,
        "almost_full": almost_full(free, asked.bays(known)),
        "verified": known.verified == "True",
        "online": platform.links.get(known.garage.id) is not None,
    }


def _always(known: Indexed) -> dict[str, Any]:
    garage = known.garage
    return {
        "id": garage.id,
        "name": garage.name,
        "city": garage.city,
        "latitude": garage.latitude,
        "longitude": garage.longitude,
        "currency": garage.tariff.currency,
        "capacity": garage.capacity,
        "bookable": known.bookable,
    }


def detail(platform: Platform, known: Indexed, asked: Asked) -> dict[str, Any]:
    """shapes.GarageDetail"""
    garage = known.garage
    return found(platform, known, asked, None) | {
        "time_zone": garage.time_zone,
        "usage": garage.usage,
        "gates": [gate.name for gate in garage.gates],
        "height_m": garage.height_m,
        "tariff": tariff_words(garage.tariff) if known.bookable else [],
    }


def expected(guess: Expected | None) -> dict[str, Any] | None:
    """shapes.Expected"""
    return None if guess is None else {"free_bays": guess.free_bays, "error_bays": guess.error_bays}


def lines(made: tuple[Line, ...]) -> list[dict[str, Any]]:
    """shapes.Line"""
    return [{"text": line.text, "amount_cents": line.amount_minor} for line in made]


def quote(made: Quote) -> dict[str, Any]:
    """shapes.Quote"""
    return {
        "id": made.id,
        "garage_id": made.garage_id,
        "from": rfc3339(made.window.start),
        "to": rfc3339(made.window.end),
        "price_cents": made.price.minor,
        "currency": made.price.currency,
        "vat_cents": made.vat_minor,
        "lines": lines(made.lines),
        "expires_at": rfc3339(made.expires_at),
    }


def garage(platform: Platform, garage_id: str) -> dict[str, Any]:
    """shapes.GarageOfBooking"""
    known = platform.index.get(garage_id)
    one = known.garage if known else None
    return {
        "id": garage_id,
        "name": one.name if one else garage_id,
        "city": one.city if one else "",
        "latitude": one.latitude if one else None,
        "longitude": one.longitude if one else None,
        "gates": [
            {"name": gate.name, "direction": gate.direction}
            for gate in (one.gates if one else ())
            if gate.direction != "pedestrian"
        ],
        "doors": [gate.name for gate in (one.gates if one else ()) if gate.direction == "pedestrian"],
        "online": platform.links.get(garage_id) is not None,
    }


async def shown(platform: Platform, made: Booking) -> dict[str, Any]:
    """shapes.Booking, with its session and what happened to it."""
    async with platform.database.reading() as transaction:
        session = await transaction.session(made.id)
        known = await transaction.changes(made.id)
        another = await transaction.booking_replacing(made.id)
    return booking(platform, made, session) | {
        "notices": [{"kind": c.kind, "at": rfc3339(c.at)} for c in known if c.kind in _NOTICES],
        "replaced_by": another.id if another else None,
    }


def booking(platform: Platform, made: Booking, session: Session | None) -> dict[str, Any]:
    """shapes.Booking"""
    return {
        "id": made.id,
        "secret": secret_of(platform.signer, made.id),
        "state": made.state.value,
        "garage": garage(platform, made.garage_id),
        "from": rfc3339(made.window.start),
        "to": rfc3339(made.window.end),
        "price_cents": made.price.minor,
        "due_cents": made.due_minor,
        "currency": made.price.currency,
        "lines": lines(made.lines),
        "plate": made.plate_raw,
        "bay_kind": made.bay_kind,
        "drive_up": made.drive_up,
        "in_out": made.in_out,
        "grant": made.grant,
        "qr_svg": qr_svg(made.grant),
        "session": None if session is None else _session(session),
    }


def receipt(platform: Platform, made: Receipt) -> dict[str, Any]:
    """shapes.Receipt"""
    return {
        "kind": made.kind,
        "refers_to": made.refers_to,
        "number": made.number,
        "booking_id": made.booking_id,
        "garage": garage(platform, made.garage_id),
        "issued_at": rfc3339(made.issued_at),
        "entered_at": rfc3339(made.entered_at) if made.entered_at else None,
        "exited_at": rfc3339(made.exited_at) if made.exited_at else None,
        "lines": lines(made.lines),
        "total_cents": made.total_minor,
        "vat_cents": made.vat_minor,
        "vat_percent": made.vat_percent,
        "net_cents": made.total_minor - made.vat_minor,
        "currency": made.currency,
    }


def order(made: Order) -> dict[str, Any]:
    """shapes.Order"""
    return {
        "id": made.id,
        "state": made.state.value,
        "method": made.method,
        "amount_cents": made.amount_minor,
        "captured_cents": made.captured_minor,
        "currency": made.currency,
        "url": made.url if made.state is OrderState.PENDING else None,
    }


def place(one: Place) -> dict[str, Any]:
    """shapes.Place"""
    return {
        "kind": one.kind,
        "name": one.name,
        "city": one.city,
        "latitude": one.latitude,
        "longitude": one.longitude,
        "garages": one.garages,
        "garage_id": one.garage_id,
    }


def _session(session: Session) -> dict[str, Any]:
    return {
        "state": session.state.value,
        "entered_at": rfc3339(session.entered_at),
        "exited_at": rfc3339(session.exited_at) if session.exited_at else None,
    }
