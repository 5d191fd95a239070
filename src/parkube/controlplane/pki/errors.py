"""The errors of this package; each text is one sentence for the person at the command line."""


class PkiError(Exception):
    """Keys or certificates cannot be used or made."""


class CsrError(PkiError):
    """A certificate signing request is malformed or asks for what it may not have."""
