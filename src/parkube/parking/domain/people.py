"""People and organisations as records. Who may do what is in rights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from parkube.parking.domain.errors import Invalid

_EMAIL: Final = re.compile(
    r"[^@\s<>\"(),:;\[\]\\]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,180}[A-Za-z0-9])?\.[A-Za-z]{2,24}\Z"
)
OWNER, OPERATOR, PARTNER = "owner", "operator", "partner"
KINDS: Final = (OWNER, OPERATOR, PARTNER)


@dataclass(frozen=True, slots=True)
class Organisation:
    """Who owns garages, runs the fleet, or sells on. vat_number and iban are empty where there are none."""

    id: str
    kind: str
    name: str
    address: str
    country: str
    vat_number: str
    iban: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """A driver or one of the staff. A deleted person keeps the id alone: the ledger's entries stay theirs."""

    id: str
    email: str | None
    name: str
    created_at: datetime
    issuer: str | None = None
    subject: str | None = None
    deleted_at: datetime | None = None


def email_of(text: str) -> str:
    """An address as it is compared: trimmed, lower case. Raises Invalid."""
    folded = text.strip().lower()
    if len(folded) > 254 or not _EMAIL.match(folded) or ".." in folded:
        raise Invalid("this is not an e-mail address", [("email", "not an e-mail address")])
    return folded
