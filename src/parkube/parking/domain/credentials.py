"""What opens a gate besides an app and a QR code: a PIN, a number plate, an RFID card. Each stands for one grant.

Pure. The garage looks the grant up and decides by it, so that whatever somebody shows, the same rules hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.plates import plate

PIN: Final = "pin"
PLATE: Final = "plate"
RFID: Final = "rfid"
KINDS: Final = (PIN, PLATE, RFID)
PIN_DIGITS: Final = 6
_RFID: Final = re.compile(r"[0-9A-F]{8,32}\Z")
_PIN: Final = re.compile(rf"[0-9]{{{PIN_DIGITS}}}\Z")


@dataclass(frozen=True, slots=True)
class Credential:
    """One booking's, one of each kind, as it is compared. Forgotten when `until` has passed."""

    booking_id: str
    kind: str
    value: str
    garage_id: str
    until: datetime


def normal(kind: str, text: str) -> str:
    """A value as it is compared. Raises Invalid."""
    if kind == PLATE:
        return plate(text).normal
    folded = re.sub(r"[\s:-]", "", text).upper()
    if kind == RFID and _RFID.match(folded):
        return folded
    if kind == PIN and _PIN.match(folded):
        return folded
    if kind not in KINDS:
        raise Invalid(f"{kind!r} is no kind of credential", [("kind", "one of " + ", ".join(KINDS))])
    wanted = "8 to 32 hexadecimal digits" if kind == RFID else f"{PIN_DIGITS} digits"
    raise Invalid(f"{text[:40]!r} is not a {kind.upper()}", [("value", wanted)])


def pin_of(secret: str) -> str:
    """A PIN from a secret text that nobody can guess."""
    return f"{int.from_bytes(secret.encode()[:64], 'big') % 10**PIN_DIGITS:0{PIN_DIGITS}d}"
