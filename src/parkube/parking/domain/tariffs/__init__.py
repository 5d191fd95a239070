"""Tariffs: what they are (model), what a stay costs (engine), how they are written (written)."""

from parkube.parking.domain.tariffs.engine import Line, Price, price, total
from parkube.parking.domain.tariffs.model import CAP_WINDOWS, Step, Tariff
from parkube.parking.domain.tariffs.written import read_tariff, tariff_words, write_tariff

__all__ = [
    "CAP_WINDOWS",
    "Line",
    "Price",
    "Step",
    "Tariff",
    "price",
    "read_tariff",
    "tariff_words",
    "total",
    "write_tariff",
]
