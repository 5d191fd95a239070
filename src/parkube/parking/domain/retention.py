"""Personal data: what is kept, why, how long, and what happens then. The one table; the code does what it says.

A test reads the database's columns off the schema and finds each that may hold something personal here, so a column
that is added without a rule does not pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Then = Literal["delete", "clear", "hash", "keep"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of data in `table`.`columns`, counted from the moment in `since`.

    then: delete the row, clear the columns, hash them (a number that says "the same again", under a key of the
    platform's), or keep them. days is None where nothing happens by itself; `only` limits it to some rows.
    """

    what: str
    table: str
    columns: tuple[str, ...]
    why: str
    days: int | None
    then: Then
    since: str = ""
    only: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A rule that had something to do, and for how many rows."""

    rule: Rule
    rows: int


_PLATE: Final = ("plate_raw", "plate_normal", "plate_country")

TABLE: Final[Sequence[Rule]] = (
    Rule("plates of bookings that nobody came for", "bookings", _PLATE, "to find the booking at the gate", 1, "clear",
         "ends_at", "state IN ('cancelled', 'expired')"),
    Rule("plates of stays", "bookings", _PLATE, "to find the stay at the gate, and disputes about it", 28, "hash",
         "ends_at", "state IN ('exited', 'paid')"),
    Rule("whose booking it is", "bookings", ("person_id",), "one's own bookings and receipts", 730, "clear", "ends_at",
         "state IN ('paid', 'cancelled', 'expired')"),
    Rule("what opens a gate for a stay: plate, PIN, card", "credentials", ("value",), "letting that stay in and out", 1,
         "delete", "until"),
    Rule("who may have more stays at once", "allowances", ("driver",), "what their account allows", None, "keep"),
    Rule("who gave a garage an order", "site_orders", ("by",), "what was done there and by whom", None, "keep"),
    Rule("what gates reported", "gate_events", ("detail",), "what happened at a gate; holds codes, not plates", None,
         "keep"),
    Rule("name and address of an account", "people", ("email", "name", "issuer", "subject"), "logging in", None,
         "keep"),
    Rule("login codes", "login_codes", ("email", "code_hash"), "logging in", 1, "delete", "changed_at"),
    Rule("tokens", "access_tokens", ("person_id", "name"), "being logged in", 30, "delete", "expires_at"),
    Rule("roles", "memberships", ("person_id",), "what staff may do", None, "keep"),
    Rule("answers kept for their keys", "idempotency", ("scope", "headers", "body"), "a repeat does nothing", 2,
         "delete", "at"),
    Rule("who did what", "trail", ("actor", "subject", "detail"), "disputes; ids, no addresses or plates", None,
         "keep"),
    Rule("buyers of invoices", "buyers", ("name", "address", "vat_number"), "tax law: seven years at least", None,
         "keep"),
    Rule("owners and partners", "organisations", ("name", "address", "vat_number", "iban"), "paying them", None,
         "keep"),
    Rule("reasons of refunds", "refunds", ("reason",), "bookkeeping", None, "keep"),
    Rule("words in the ledger", "ledger_entries", ("text",), "bookkeeping; names bookings, never people", None,
         "keep"),
)  # fmt: skip
"""Every kind of personal data."""
