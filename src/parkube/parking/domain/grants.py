"""Grants: a signed permission to pass a gate, written as a text that fits a QR code and is checked offline.

    PK1.<base64url(JSON payload)>.<base64url(Ed25519 signature over "PK1." + payload part)>

Pure: the signing and the checking function come in from outside, so that the garage and the platform may each
use the library they have. What was already used is asked of the caller, who keeps the journal.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from parkube.parking.domain.errors import ParkingError

PREFIX: Final = "PK1"
MAX_TEXT: Final = 1024  # a QR code of more characters is no longer read reliably off a phone

Sign = Callable[[bytes], bytes]
"""Signs a message with the platform's Ed25519 key: 64 bytes."""
Check = Callable[[bytes, bytes, bytes], bool]
"""check(public key of 32 bytes, signature, message): whether the signature is right. Must not raise."""
Used = Callable[[str, str], bool]
"""used(jti, gate): whether this grant has already passed this gate."""

MALFORMED, UNKNOWN_KEY, FORGED = "malformed", "unknown_key", "forged"
OTHER_GARAGE, OTHER_GATE, NOT_YET, EXPIRED, USED = "other_garage", "other_gate", "not_yet", "expired", "used"

_SENTENCES: Final = {
    MALFORMED: "this is not a Parkube grant",
    UNKNOWN_KEY: "the grant is signed with a key that this garage does not know",
    FORGED: "the grant's signature is wrong",
    OTHER_GARAGE: "the grant is for another garage",
    OTHER_GATE: "the grant is for another gate",
    NOT_YET: "the grant is not valid yet",
    EXPIRED: "the grant has expired",
    USED: "the grant has already been used at this gate",
}


class GrantRefused(ParkingError):
    """A grant that does not open this gate now; `code` is one of the reasons above."""

    def __init__(self, reason: str) -> None:
        super().__init__(_SENTENCES[reason], code=reason)


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission to pass the named gates of one garage, from nbf (inclusive) to exp (exclusive).

    Each once; in_out: in again after out. Times are Unix seconds. A test grant belongs to a synthetic gate cycle and
    never counts as a visit.
    """

    jti: str
    kid: str
    garage: str
    gates: tuple[str, ...]
    nbf: int
    exp: int
    booking: str | None = None
    test: bool = False
    in_out: bool = False


@dataclass(frozen=True, slots=True)
class SignedGrant:
    """A grant as it was read, with what is needed to check its signature."""

    grant: Grant
    message: bytes
    signature: bytes


def encode(grant: Grant, sign: Sign) -> str:
    """The text of a grant, signed."""
    payload = {
        "jti": grant.jti,
        "kid": grant.kid,
        "garage": grant.garage,
        "gates": list(grant.gates),
        "nbf": grant.nbf,
        "exp": grant.exp,
        "booking": grant.booking,
        "test": grant.test,
    }
    if grant.in_out:
        payload["in_out"] = True
    part = _to_base64(json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode())
    message = f"{PREFIX}.{part}"
    return f"{message}.{_to_base64(sign(message.encode()))}"


def decode(text: str) -> SignedGrant:
    """Reads a grant's text without checking who signed it. Raises GrantRefused(malformed)."""
    text = text.strip()
    parts = text.split(".")
    if len(text) > MAX_TEXT or len(parts) != 3 or parts[0] != PREFIX:
        raise GrantRefused(MALFORMED)
    try:
        payload = json.loads(_from_base64(parts[1]))
        signature = _from_base64(parts[2])
    except (ValueError, binascii.Error, RecursionError) as error:
        raise GrantRefused(MALFORMED) from error
    if len(signature) != 64 or not isinstance(payload, dict):
        raise GrantRefused(MALFORMED)
    return SignedGrant(_grant_of(payload), f"{PREFIX}.{parts[1]}".encode(), signature)


def verify(
    text: str, *, keys: Mapping[str, bytes], check: Check, garage: str, gate: str, now: float | None, used: Used
) -> Grant:
    """The grant, if it opens this gate of this garage now; otherwise raises GrantRefused with the first reason.

    keys: kid -> raw public key of 32 bytes. now: Unix seconds by the garage's own clock; None where the time is not
    known, or does not matter: then the grant's times refuse nobody.
    """
    signed = decode(text)
    grant = signed.grant
    key = keys.get(grant.kid)
    if key is None:
        raise GrantRefused(UNKNOWN_KEY)
    if not check(key, signed.signature, signed.message):
        raise GrantRefused(FORGED)
    if grant.garage != garage:
        raise GrantRefused(OTHER_GARAGE)
    if gate not in grant.gates:
        raise GrantRefused(OTHER_GATE)
    if now is not None and now < grant.nbf:
        raise GrantRefused(NOT_YET)
    if now is not None and now >= grant.exp:
        raise GrantRefused(EXPIRED)
    if used(grant.jti, gate):
        raise GrantRefused(USED)
    return grant


def _grant_of(payload: dict[str, Any]) -> Grant:
    texts = [payload.get(field) for field in ("jti", "kid", "garage")]
    gates, booking = payload.get("gates"), payload.get("booking")
    times = [payload.get(field) for field in ("nbf", "exp")]
    sound = (
        all(isinstance(text, str) and text for text in texts)
        and isinstance(gates, list)
        and all(isinstance(gate, str) and gate for gate in gates)
        and all(type(moment) is int for moment in times)
        and (booking is None or isinstance(booking, str))
        and type(payload.get("test", False)) is bool
        and type(payload.get("in_out", False)) is bool
    )
    if not sound:
        raise GrantRefused(MALFORMED)
    return Grant(
        jti=payload["jti"],
        kid=payload["kid"],
        garage=payload["garage"],
        gates=tuple(payload["gates"]),
        nbf=payload["nbf"],
        exp=payload["exp"],
        booking=booking,
        test=payload.get("test", False),
        in_out=payload.get("in_out", False),
    )


_ALPHABET: Final = re.compile(r"[A-Za-z0-9_-]*\Z")


def _to_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    # The standard decoder skips characters it does not know: two texts would then be one grant.
    if not _ALPHABET.match(text):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
