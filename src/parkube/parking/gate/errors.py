"""The one error tree of the garage app, in the words of a garage."""

from __future__ import annotations


class GateError(Exception):
    """Anything the garage app cannot do; the message is one sentence."""


class ConfigError(GateError):
    """The configuration is wrong; the message names every fault at once."""


class DeviceError(GateError):
    """A relay or scanner does not answer, or answers nonsense."""


class JournalError(GateError):
    """The journal cannot be written: then nothing may move."""
