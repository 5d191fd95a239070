"""The errors of this package."""


class StreamFault(Exception):
    """The peer broke the protocol that it speaks on a stream."""
