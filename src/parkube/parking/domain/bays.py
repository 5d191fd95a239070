"""Kinds of bay, and what a vehicle must be to stand on one. Words only; how many there are is the garage's terms'."""

from __future__ import annotations

from typing import Final

STANDARD: Final = "standard"
BAY_KINDS: Final = (STANDARD, "ev", "accessible", "motorcycle")
