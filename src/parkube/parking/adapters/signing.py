"""The platform's Ed25519 key, kept in its database from the first start on, and the check that goes with it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from parkube.parking.services.ports import Database

_SETTING = "signing_key"


class Ed25519Signer:
    """Signs grants, and derives the secrets of bookings from the same key by HMAC-SHA256."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes_raw()
        self._kid = hashlib.sha256(self._public).hexdigest()[:8]
        self._secrets = hmac.digest(seed, b"parkube secrets", "sha256")

    @property
    def kid(self) -> str:
        return self._kid

    @property
    def public_key(self) -> bytes:
        return self._public

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def secret_of(self, purpose: str) -> str:
        digest = hmac.digest(self._secrets, purpose.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def check(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature is right (domain.grants.Check)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


async def load_signer(database: Database) -> Ed25519Signer:
    """The platform's signer; its key is made at the first start."""
    async with database.writing() as transaction:
        kept = await transaction.setting(_SETTING)
        if kept is None:
            kept = base64.b64encode(os.urandom(32)).decode()
            await transaction.put_setting(_SETTING, kept)
    return Ed25519Signer(base64.b64decode(kept))
