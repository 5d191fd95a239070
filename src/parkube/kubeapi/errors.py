"""The errors of the Kubernetes API, each one a `Status`.

One tree for everything that speaks the API: the server raises them, the client raises the same ones back from
what it read. Nothing here knows HTTP beyond the status code.
Source: Kubernetes API reference, `meta/v1` Status, StatusDetails, StatusCause.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Obj = dict[str, Any]


class Cause(NamedTuple):
    """One fault of an object: `reason` as the API spells it, a sentence, and the path of the field."""

    reason: str
    message: str
    field: str


class ApiError(Exception):
    """An answer of the API that is not success; `status()` is its wire form."""

    code = 500
    reason = "InternalError"

    def __init__(
        self, message: str, *, details: Obj | None = None, causes: Sequence[Cause] = (), metadata: Obj | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Obj = dict(metadata or {})  # a `ListMeta`: how to go on with a list that expired
        self.details: Obj = dict(details or {})
        self.causes = list(causes)

    def status(self) -> Obj:
        """The `meta/v1` Status object."""
        details = dict(self.details)
        if self.causes:
            details["causes"] = [cause._asdict() for cause in self.causes]
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure",
            "message": self.message, "reason": self.reason,
            **({"details": details} if details else {}), "code": self.code,
        }  # fmt: skip


class BadRequest(ApiError):
    """The request cannot be understood."""

    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    """Nobody known is asking."""

    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    """The one who asks may not."""

    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    """No such object, or no such resource."""

    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    """The resource does not know that verb."""

    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    """No media type that the client accepts can be given."""

    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    """The name is taken."""

    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    """The object changed since it was read, or another owner holds the field."""

    code, reason = 409, "Conflict"


class Expired(ApiError):
    """The revision asked for was compacted: list again."""

    code, reason = 410, "Expired"


class RequestEntityTooLarge(ApiError):
    """The body is over the limit."""

    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """The body is in a form that is not read."""

    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    """The object breaks rules; `causes` names all of them."""

    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    """Try again later: a budget or a limit is used up."""

    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    """Our own fault."""


class ServiceUnavailable(ApiError):
    """Not now."""

    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    """It took too long."""

    code, reason = 504, "Timeout"


_BY_REASON = {kind.reason: kind for kind in ApiError.__subclasses__()}
_BY_CODE = {kind.code: kind for kind in ApiError.__subclasses__() if kind is not AlreadyExists}


def from_status(status: Obj) -> ApiError:
    """The error that a `Status` read from the wire stands for."""
    code = int(status.get("code") or 500)
    kind = _BY_REASON.get(str(status.get("reason", ""))) or _BY_CODE.get(code) or ApiError
    details = dict(status.get("details") or {})
    causes = [
        Cause(c.get("reason", ""), c.get("message", ""), c.get("field", "")) for c in details.pop("causes", None) or ()
    ]
    error = kind(str(status.get("message", "")), details=details, causes=causes, metadata=status.get("metadata"))
    error.code = code
    return error


def namespace_ends(error: BaseException) -> bool:
    """Whether something could not be made because its namespace is being deleted: to try again is of no use."""
    return isinstance(error, Forbidden) and any(cause.reason == "NamespaceTerminating" for cause in error.causes)


def _named(kind: type[ApiError], resource: str, group: str, name: str, what: str) -> ApiError:
    full = f"{resource}.{group}" if group else resource
    details = {"name": name, **({"group": group} if group else {}), "kind": resource}
    return kind(f'{full} "{name}" {what}', details=details)


def not_found(resource: str, group: str, name: str) -> ApiError:
    """`pods "web" not found`: the words kubectl prints."""
    return _named(NotFound, resource, group, name, "not found")


def already_exists(resource: str, group: str, name: str) -> ApiError:
    """`pods "web" already exists`."""
    return _named(AlreadyExists, resource, group, name, "already exists")


def conflict(resource: str, group: str, name: str, why: str = "") -> ApiError:
    """The stale `resourceVersion` answer, worded as clients match it."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    full = f"{resource}.{group}" if group else resource
    details = {"name": name, **({"group": group} if group else {}), "kind": resource}
    return Conflict(f'Operation cannot be fulfilled on {full} "{name}": {why}', details=details)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """All faults of one object at once, in the API's pattern `Kind "name" is invalid: [field: message, …]`."""
    lines = [f"{c.field}: {c.message}" if c.field else c.message for c in causes]
    joined = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    full = f"{kind}.{group}" if group else kind
    details = {key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value}
    return Invalid(f'{full} "{name}" is invalid: {joined}', details=details, causes=causes)
