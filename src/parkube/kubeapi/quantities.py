"""Quantities: `100m`, `1.5Gi`, `2e3`. Parsing, comparing numbers, and the canonical form. Pure.

Source: Kubernetes API reference, `resource.Quantity`.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from functools import lru_cache

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_FORM = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:(Ki|Mi|Gi|Ti|Pi|Ei)|([numkMGTPE])|[eE]([+-]?\d{1,3}))?", re.ASCII)
_SMALLEST = Decimal(1).scaleb(-9)
_LARGEST = Decimal(2**63 - 1)


class BadQuantity(ValueError):
    """The text is not a quantity."""

    def __init__(self, text: object) -> None:
        super().__init__("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
        self.text = text


@lru_cache(8192)
def _parse(text: str) -> tuple[Decimal, str]:
    """The value, and which form it was written in: `binary`, `decimal` or `exponent`."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadQuantity(text)
    sign, digits, binary, decimal, exponent = match.groups()
    try:
        value = Decimal(sign + digits)
    except InvalidOperation:
        raise BadQuantity(text) from None
    form = "decimal"
    if binary:
        value, form = value * 1024 ** _BINARY[binary], "binary"
    elif decimal:
        value = value.scaleb(_DECIMAL[decimal])
    elif exponent:
        value, form = value.scaleb(int(exponent)), "exponent"
    magnitude = abs(value)
    if magnitude > _LARGEST:
        magnitude = _LARGEST
    elif magnitude != magnitude.quantize(_SMALLEST, ROUND_CEILING):
        magnitude = magnitude.quantize(_SMALLEST, ROUND_CEILING)
    return magnitude.copy_sign(value) if magnitude else Decimal(0), form


def parse(quantity: str | int | float) -> Decimal:
    """The number that a quantity stands for. Raises BadQuantity."""
    return _parse(quantity if isinstance(quantity, str) else str(quantity))[0]


def cpu_millis(quantity: str | int | float | None) -> int:
    """Thousandths of a core, rounded up; 0 for None. Raises BadQuantity."""
    if quantity is None:
        return 0
    return int((parse(quantity) * 1000).to_integral_value(ROUND_CEILING))


def bytes_of(quantity: str | int | float | None) -> int:
    """A whole number (bytes, pods), rounded up; 0 for None. Raises BadQuantity."""
    if quantity is None:
        return 0
    return int(parse(quantity).to_integral_value(ROUND_CEILING))


@lru_cache(8192)
def _canonical(text: str) -> str:
    value, form = _parse(text)
    if not value:
        return "0"
    if form == "binary" and value == value.to_integral_value() and abs(value) >= 1024:
        return _binary(int(value))
    if form == "binary":
        form = "decimal"
    exponent = _exponent(value)
    digits = str(int(value.scaleb(-exponent)))
    if form == "exponent":
        return f"{digits}e{exponent}" if exponent else digits
    return digits + _BY_EXPONENT[exponent]


def canonical(quantity: str | int | float) -> str:
    """The form in which the API answers: the largest suffix that leaves a whole number. Raises BadQuantity."""
    return _canonical(quantity if isinstance(quantity, str) else str(quantity))


@lru_cache(8192)
def like(value: Decimal, example: str) -> str:
    """The canonical form of a number, written as the example is: `1Gi` where that has a binary suffix."""
    if _parse(example or "0")[1] == "binary" and value == value.to_integral_value() and abs(value) >= 1024:
        return _binary(int(value))
    return _canonical(f"{value:f}")


def _binary(value: int) -> str:
    suffix = ""
    for name in _BINARY:
        if value % 1024:
            break
        value //= 1024
        suffix = name
    return f"{value}{suffix}"


def _exponent(value: Decimal) -> int:
    """The largest multiple of three, within the suffixes, by which the value is still a whole number."""
    for exponent in range(18, -10, -3):
        scaled = value.scaleb(-exponent)
        if scaled == scaled.to_integral_value():
            return exponent
    return -9
