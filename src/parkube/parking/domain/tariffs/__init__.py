"""Tariffs: what they are (model), when a band holds (bands, calendars), what a stay costs (engine) and why (explain),
whose prices hold (terms), how they are written (written, variants, words) and checked (checks), and how other shapes
become one (conversion)."""

from parkube.parking.domain.tariffs.engine import check_stay, cuts_freely_every, stay_faults, total
from parkube.parking.domain.tariffs.explain import Line, Price, energy_line, price
from parkube.parking.domain.tariffs.model import (
    BAY_KINDS,
    CAP_WINDOWS,
    CROSSINGS,
    DAYS,
    Band,
    Dynamic,
    Season,
    Step,
    Tariff,
    Variant,
)
from parkube.parking.domain.tariffs.terms import STRANGER, Asking, Terms, chosen, moves, pin
from parkube.parking.domain.tariffs.words import tariff_words
from parkube.parking.domain.tariffs.written import read_tariff, write_tariff

__all__ = [
    "BAY_KINDS",
    "CAP_WINDOWS",
    "CROSSINGS",
    "DAYS",
    "STRANGER",
    "Asking",
    "Band",
    "Dynamic",
    "Line",
    "Price",
    "Season",
    "Step",
    "Tariff",
    "Terms",
    "Variant",
    "check_stay",
    "chosen",
    "cuts_freely_every",
    "energy_line",
    "moves",
    "pin",
    "price",
    "read_tariff",
    "stay_faults",
    "tariff_words",
    "total",
    "write_tariff",
]
