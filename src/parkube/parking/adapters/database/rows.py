"""Between records of the domain and rows of the tables. No queries here."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Any

from sqlalchemy import RowMapping

from parkube.parking.domain.bookings import Booking, Quote, State
from parkube.parking.domain.commands import Command
from parkube.parking.domain.garages import Garage, Gate, GateEvent, Link, Verification
from parkube.parking.domain.money import Money
from parkube.parking.domain.receipts import Receipt
from parkube.parking.domain.sessions import Session, SessionState
from parkube.parking.domain.tariffs import Line, Tariff, read_tariff, write_tariff
from parkube.parking.domain.times import Window

Row = dict[str, Any]


def fields_of(record: Any) -> Row:
    """A record whose fields are its table's columns, as a row; enumerations by their values."""
    values = {name: getattr(record, name) for name in record.__dataclass_fields__}
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def lines_json(lines: tuple[Line, ...]) -> list[list[Any]]:
    return [[x.text, x.amount_minor, x.vat_minor, _rate(x)] for x in lines]


def _rate(line: Line) -> str | None:
    return None if line.vat_percent is None else str(line.vat_percent)


def lines_of(written: list[list[Any]]) -> tuple[Line, ...]:
    return tuple(_line_of(*line) for line in written)


def _line_of(text: str, amount_minor: int, vat_minor: int, vat_percent: str | None = None) -> Line:
    return Line(text, amount_minor, vat_minor, None if vat_percent is None else Decimal(vat_percent))


_tariffs: dict[str, Tariff] = {}


def tariff_of(written: dict[str, Any]) -> Tariff:
    """Thousands of garages share a few tariffs; they are read once and shared."""
    key = repr(written)
    known = _tariffs.get(key)
    if known is None:
        if len(_tariffs) > 20_000:
            _tariffs.clear()
        known = _tariffs[key] = read_tariff(written)
    return known


def garage_row(garage: Garage) -> Row:
    return {
        "id": garage.id,
        "name": garage.name,
        "city": garage.city,
        "latitude": garage.latitude,
        "longitude": garage.longitude,
        "time_zone": garage.time_zone,
        "country": garage.country,
        "usage": garage.usage,
        "capacity": garage.capacity,
        "height_m": garage.height_m,
        "gates": [[gate.name, gate.direction] for gate in garage.gates],
        "tariff": write_tariff(garage.tariff),
        "managed": garage.managed,
        "bookable": garage.bookable,
        "node": garage.node,
        "source": garage.source,
        "source_ref": garage.source_ref,
    }


def garage_of(row: RowMapping) -> Garage:
    values = dict(row)
    values["gates"] = tuple(Gate(name, direction) for name, direction in row["gates"])
    values["tariff"] = tariff_of(row["tariff"])
    return Garage(**values)


def quote_row(quote: Quote) -> Row:
    return {
        "id": quote.id,
        "garage_id": quote.garage_id,
        "starts_at": quote.window.start,
        "ends_at": quote.window.end,
        "price_minor": quote.price.minor,
        "vat_minor": quote.vat_minor,
        "currency": quote.price.currency,
        "lines": lines_json(quote.lines),
        "tariff": write_tariff(quote.tariff),
        "created_at": quote.created_at,
        "expires_at": quote.expires_at,
        "bay_kind": quote.bay_kind,
    }


def quote_of(row: RowMapping) -> Quote:
    return Quote(
        id=row["id"],
        garage_id=row["garage_id"],
        window=Window(row["starts_at"], row["ends_at"]),
        price=Money(row["price_minor"], row["currency"]),
        vat_minor=row["vat_minor"],
        lines=lines_of(row["lines"]),
        tariff=tariff_of(row["tariff"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        bay_kind=row["bay_kind"],
    )


def booking_row(booking: Booking) -> Row:
    return {
        "id": booking.id,
        "garage_id": booking.garage_id,
        "quote_id": booking.quote_id,
        "starts_at": booking.window.start,
        "ends_at": booking.window.end,
        "state": booking.state.value,
        "price_minor": booking.price.minor,
        "currency": booking.price.currency,
        "lines": lines_json(booking.lines),
        "tariff": write_tariff(booking.tariff),
        "jti": booking.jti,
        "grant_text": booking.grant,
        "created_at": booking.created_at,
        "plate_raw": booking.plate_raw,
        "plate_normal": booking.plate_normal,
        "plate_country": booking.plate_country,
        "idempotency_key": booking.idempotency_key,
        "charged_minor": booking.charged_minor,
        "paid_minor": booking.paid_minor,
        "credited_minor": booking.credited_minor,
        "person_id": booking.person_id,
        "bay_kind": booking.bay_kind,
        "drive_up": booking.drive_up,
        "in_out": booking.in_out,
        "replaces": booking.replaces,
    }


def booking_of(row: RowMapping) -> Booking:
    return Booking(
        id=row["id"],
        garage_id=row["garage_id"],
        quote_id=row["quote_id"],
        window=Window(row["starts_at"], row["ends_at"]),
        state=State(row["state"]),
        price=Money(row["price_minor"], row["currency"]),
        lines=lines_of(row["lines"]),
        tariff=tariff_of(row["tariff"]),
        jti=row["jti"],
        grant=row["grant_text"],
        created_at=row["created_at"],
        plate_raw=row["plate_raw"],
        plate_normal=row["plate_normal"],
        plate_country=row["plate_country"],
        idempotency_key=row["idempotency_key"],
        charged_minor=row["charged_minor"],
        paid_minor=row["paid_minor"],
        credited_minor=row["credited_minor"],
        person_id=row["person_id"],
        bay_kind=row["bay_kind"],
        drive_up=row["drive_up"],
        in_out=row["in_out"],
        replaces=row["replaces"],
    )


def session_row(session: Session) -> Row:
    return {
        "booking_id": session.booking_id,
        "garage_id": session.garage_id,
        "state": session.state.value,
        "entered_at": session.entered_at,
        "exited_at": session.exited_at,
        "entry_known": session.entry_known,
    }


def session_of(row: RowMapping) -> Session:
    values = dict(row)
    values["state"] = SessionState(row["state"])
    return Session(**values)


def link_row(link: Link) -> Row:
    return {
        "garage_id": link.garage_id,
        "token_hashes": list(link.token_hashes),
        "journal": link.journal,
        "journal_id": link.journal_id,
        "acked_seq": link.acked_seq,
        "last_seen": link.last_seen,
        "app_version": link.app_version,
        "boot_id": link.boot_id,
    }


def link_of(row: RowMapping) -> Link:
    values = dict(row)
    values["token_hashes"] = tuple(row["token_hashes"])
    return Link(**values)


def event_row(event: GateEvent) -> Row:
    return {name: getattr(event, name) for name in GateEvent.__dataclass_fields__}


def event_of(row: RowMapping) -> GateEvent:
    return GateEvent(**row)


def command_row(command: Command) -> Row:
    return fields_of(command) | {"state": command.state.value}


def command_of(row: RowMapping) -> Command:
    return Command(**row)


def verification_row(verification: Verification) -> Row:
    return {name: getattr(verification, name) for name in Verification.__dataclass_fields__}


def verification_of(row: RowMapping) -> Verification:
    return Verification(**{name: row[name] for name in Verification.__dataclass_fields__})


def receipt_row(receipt: Receipt) -> Row:
    row = {name: getattr(receipt, name) for name in Receipt.__dataclass_fields__}
    row["lines"] = lines_json(receipt.lines)
    return row


def receipt_of(row: RowMapping) -> Receipt:
    values = dict(row)
    values["lines"] = lines_of(row["lines"])
    return Receipt(**values)
