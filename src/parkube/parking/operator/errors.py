"""The operator's error tree."""

from __future__ import annotations


class OperatorError(Exception):
    """Something the operator needs does not work; the message is one sentence."""


class PlatformAway(OperatorError):
    """The platform does not answer, or answers that it cannot now."""


class PlatformRefused(OperatorError):
    """The platform says that what it was told is wrong."""


class BadGarage(OperatorError):
    """The Garage cannot be meant so."""
