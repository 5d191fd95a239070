"""The token that lets an agent join: `K10<sha256 of the CA certificate>::<user>:<secret>`, K3s's form. Pure.

The hash lets the agent verify the server before it says anything; the secret lets the server admit the agent.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

PREFIX = "K10"


class TokenError(Exception):
    """A token is empty, cut, or not one at all; the text is one sentence."""


class Token(NamedTuple):
    """A token's parts; `ca_hash` is empty for a bare secret."""

    ca_hash: str
    user: str
    secret: str


def ca_hash(ca_pem: bytes) -> str:
    """The hash that tokens carry: SHA-256 over the PEM exactly as `/cacerts` answers it."""
    return hashlib.sha256(ca_pem).hexdigest()


def compose(ca_pem: bytes, secret: str, user: str = "server") -> str:
    """The full token."""
    return f"{PREFIX}{ca_hash(ca_pem)}::{user}:{secret}"


def parse(text: str) -> Token:
    """Parts of a full token or of a bare secret. Raises `TokenError`."""
    text = text.strip()
    if not text:
        raise TokenError("the token is empty")
    if not text.startswith(PREFIX) or "::" not in text:
        return Token("", "", text)
    digest, _, credentials = text.removeprefix(PREFIX).partition("::")
    user, separator, secret = credentials.partition(":")
    if len(digest) != 64 or not separator or not user or not secret:
        raise TokenError("the token is cut or malformed: it should read K10<64 hex digits>::<user>:<secret>")
    return Token(digest, user, secret)


def same_secret(given: str, expected: str) -> bool:
    """Compare in constant time; nothing equals an empty secret."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())
