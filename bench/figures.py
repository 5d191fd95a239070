"""What a row yields: figures, each with its target and what the peers measured on two such cores. Pure data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. Smaller is better in all of them; `target` None: told, not judged. Peers: None where unknown."""

    what: str
    value: float
    unit: str
    target: float | None = None
    k3s: float | None = None
    kubernetes: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether it is under its target; None where there is none."""
        return None if self.target is None else self.value < self.target

    def as_json(self) -> dict[str, Any]:
        """For keeping."""
        return asdict(self)


def shown(value: float | None, unit: str) -> str:
    """A number as people read it: three digits are enough."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()
