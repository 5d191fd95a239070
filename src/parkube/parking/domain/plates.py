"""Number plates: kept raw, normalised and with their country. Not a recogniser.

A fuzzy match is only among those known to be inside one garage, to let one of them out; never for an entry.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from parkube.parking.domain.errors import Invalid

_LOOK_ALIKE: Final = str.maketrans("OQDILBSZG", "000118526")


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate as it was given, as it is compared, and the country it was given for (ISO 3166, or None)."""

    raw: str
    normal: str
    country: str | None = None


def plate(text: str, country: str | None = None) -> Plate:
    """Reads a plate. Compared are its letters and digits in upper case, accents folded. Raises Invalid."""
    folded = unicodedata.normalize("NFKD", text)
    normal = "".join(c for c in folded.upper() if c.isalnum())
    if not 2 <= len(normal) <= 12 or not re.search(r"\d", normal) or re.search(r"[<>{};]", text):
        raise Invalid(f"{text!r} is not a number plate", [("plate", "two to twelve letters and digits")])
    return Plate(text.strip(), normal, country)


def nearest(read: str, inside: Iterable[str]) -> str | None:
    """Which of the plates inside a camera meant by what it read: the one that looks alike, or differs in one character.

    None where there is none, or more than one: nobody is let out by another's plate.
    """
    known = set(inside)
    if read in known:
        return read
    folded = read.translate(_LOOK_ALIKE)
    alike = [plate for plate in known if plate.translate(_LOOK_ALIKE) == folded]
    close = alike or [plate for plate in known if _differ_in_one(plate, read)]
    return close[0] if len(close) == 1 else None


def _differ_in_one(one: str, other: str) -> bool:
    if len(one) == len(other):
        return sum(a != b for a, b in zip(one, other, strict=True)) == 1
    short, long = sorted((one, other), key=len)
    return len(long) - len(short) == 1 and any(long[:i] + long[i + 1 :] == short for i in range(len(long)))
