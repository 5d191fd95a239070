"""The one error tree of parking: what can be refused, with a code for programs and a sentence for people.

Not HTTP: the API maps a code to a status at its edge, the command line to an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence


class ParkingError(Exception):
    """Anything parking refuses. `code` is stable and for programs, the message is one sentence for people."""

    code = "refused"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code

    @property
    def message(self) -> str:
        return str(self.args[0])


class Invalid(ParkingError):
    """Input that cannot be meant so; `faults` names every fault at once as (field, sentence)."""

    code = "invalid"

    def __init__(self, message: str, faults: Sequence[tuple[str, str]] = (), *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.faults = tuple(faults)


class NotFound(ParkingError):
    """There is no such thing, or the caller may not know that there is."""

    code = "not_found"


class Conflict(ParkingError):
    """The state of things forbids it now: no bay left, already entered, already paid."""

    code = "conflict"


class Denied(ParkingError):
    """The caller did not show the secret or token that this needs."""

    code = "denied"


class Gone(ParkingError):
    """It was there and is over: a quote that expired."""

    code = "gone"


class Unavailable(ParkingError):
    """Something this needs does not answer now: a garage that is away, a database that is down."""

    code = "unavailable"


class Forbidden(ParkingError):
    """Who asks is known, and may not do this here. It tells nothing of what there is."""

    code = "forbidden"


class TooMany(ParkingError):
    """Asked too often, or locked out for a while. `retry_after_s` says for how long."""

    code = "too_many"

    def __init__(self, message: str, retry_after_s: int = 60, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s
