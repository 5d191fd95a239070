"""Tariffs: what they are (model), when a band holds (bands), what a stay costs (engine) and why (explain), how they are
written (written) and checked (checks), and how other shapes become one (conversion)."""

from parkube.parking.domain.tariffs.engine import check_stay, cuts_freely_every, total
from parkube.parking.domain.tariffs.explain import Line, Price, price
from parkube.parking.domain.tariffs.model import CAP_WINDOWS, CROSSINGS, DAYS, Band, Step, Tariff
from parkube.parking.domain.tariffs.written import read_tariff, tariff_words, write_tariff

__all__ = [
    "CAP_WINDOWS",
    "CROSSINGS",
    "DAYS",
    "Band",
    "Line",
    "Price",
    "Step",
    "Tariff",
    "check_stay",
    "cuts_freely_every",
    "price",
    "read_tariff",
    "tariff_words",
    "total",
    "write_tariff",
]
