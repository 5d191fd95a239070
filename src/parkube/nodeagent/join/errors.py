"""The errors of joining; each text is one sentence for the person at the command line."""


class JoinError(Exception):
    """The node cannot join, for a reason that trying again does not cure."""


class Unreachable(JoinError):
    """The server does not answer now; it may later."""


class RegistriesError(JoinError):
    """registries.yaml cannot be used."""
