"""Public holidays by the name of a calendar: a country, `NL`, or a part of one, `CH-ZH` (ISO 3166).

The days are the `holidays` package's, which is maintained for this; a tariff may add dates of its own. No prices here.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache


def is_known(calendar: str) -> bool:
    """Whether there is a calendar of that name."""
    from holidays import list_supported_countries  # Not before a tariff asks: it takes a quarter of a second.

    country, dash, part = calendar.partition("-")
    parts = list_supported_countries().get(country)
    return parts is not None and (part in parts if dash else True)


@lru_cache(maxsize=1024)
def days_off(calendar: str, year: int) -> frozenset[date]:
    """The public holidays of a known calendar in a year."""
    from holidays import country_holidays

    country, _, part = calendar.partition("-")
    return frozenset(country_holidays(country, subdiv=part or None, years=year))
