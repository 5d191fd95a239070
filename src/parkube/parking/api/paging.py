"""Lists in pages: `limit` and an opaque `cursor` that says after which one the next page begins.

A cursor is good for ever and shows nothing twice: it is the last row's own key, not a count of rows.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

from parkube.parking.domain.errors import Invalid

Cursor = Annotated[str | None, Query(max_length=200, description="where the page before ended")]
PageLimit = Annotated[int, Query(ge=1, le=200)]
Row = TypeVar("Row")


def after(cursor: str | None) -> str:
    """The key after which the page begins; "" for the first. Raises Invalid for a cursor that is none of ours."""
    if not cursor:
        return ""
    try:
        key = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error) as error:
        raise Invalid("this cursor is none", [("cursor", "not one that was given out")]) from error
    if not key.startswith("k:") or "\0" in key:
        raise Invalid("this cursor is none", [("cursor", "not one that was given out")])
    return key[2:]


def after_number(cursor: str | None) -> int | None:
    """The same, where keys are numbers."""
    key = after(cursor)
    if not key:
        return None
    if not key.isascii() or not key.isdigit() or len(key) > 15:
        raise Invalid("this cursor is none", [("cursor", "not one that was given out")])
    return int(key)


def page(rows: Sequence[Row], limit: int, key: Callable[[Row], object], show: Callable[[Row], Any]) -> dict[str, Any]:
    """A page of rows, of which one more than the limit was asked for; `next` is null at the end."""
    shown = rows[:limit]
    more = len(rows) > limit
    return {"items": [show(row) for row in shown], "next": cursor_of(key(shown[-1])) if more else None}


def cursor_of(key: object) -> str:
    """The cursor that begins after this key."""
    return base64.urlsafe_b64encode(f"k:{key}".encode()).rstrip(b"=").decode()
