"""Number plates: kept raw, normalised and with their country. Not a recogniser and no fuzzy matching."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from parkube.parking.domain.errors import Invalid


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
