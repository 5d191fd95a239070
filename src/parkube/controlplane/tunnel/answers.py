"""What the handlers of this package take and give, so that they know neither the HTTP server above nor its types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import orjson

from parkube.controlplane.registry.resource import User

Header = tuple[bytes, bytes]
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(frozen=True, slots=True)
class Ask:
    """One request with its whole body. Header names are lower case, `path` is decoded and has no query."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    user: User = ANONYMOUS


@dataclass(slots=True)
class Answer:
    """A whole answer, or a streamed one: with `chunks`, `body` is empty and each chunk is written as it comes.

    `chunks` must be closed (`aclose`) by whoever serves it when the client goes away.
    """

    status: int = 200
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: list[Header] = field(default_factory=list)
    chunks: AsyncIterator[bytes] | None = None


def json_answer(status: int, value: object) -> Answer:
    """`value` as JSON."""
    return Answer(status, orjson.dumps(value))


def text_answer(status: int, text: str) -> Answer:
    """Plain text, one line."""
    return Answer(status, text.encode() + b"\n", b"text/plain; charset=utf-8")
