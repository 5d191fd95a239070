"""The port through which other shapes of a tariff become ours and ours become theirs. The shapes are adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from parkube.parking.domain.tariffs.model import Tariff


class TariffShape(Protocol):
    """Somebody else's way of writing a tariff."""

    @property
    def name(self) -> str:
        """Whose it is, in a word for commands and reports."""
        ...

    def read(self, shape: Mapping[str, Any], title: str = "") -> Tariff:
        """Our tariff with the same prices, called so. Raises Invalid with every fault, in the shape's own words."""
        ...

    def write(self, tariff: Tariff) -> dict[str, Any]:
        """The shape with the same prices. Raises Invalid naming all that it has no words for."""
        ...
