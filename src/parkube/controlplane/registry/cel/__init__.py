"""CEL, the Common Expression Language, as Kubernetes speaks it. A port of three names; the library behind it is loaded
when the first expression is compiled, so that a server without expressions does not carry it.

Expressions are checked for syntax, names and the types of literals; variables are dynamic. Not here:
comprehensions over two variables, cost budgets.
Source: Kubernetes documentation, "Common Expression Language in Kubernetes".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, NamedTuple

from parkube.controlplane.registry.cel import objects

__all__ = ["CelError", "Program", "Rights", "compiled"]

Ask = Callable[[Mapping[str, str]], tuple[bool, str]]
"""What is asked (`verb`, and `path` or `group`, `resource`, `subresource`, `namespace`, `name`; `account` as
`namespace:name` where it is not about the user) -> whether it is allowed, and why."""
asking: ContextVar[Ask] = ContextVar("asking")


class Rights(NamedTuple):
    """The value of the variable `authorizer`. `about`: what `authorizer.requestResource` is."""

    ask: Ask
    about: Mapping[str, str]


class CelError(Exception):
    """An expression that cannot be compiled or evaluated; the message is the library's first line."""


class Program:
    """A compiled expression."""

    def __init__(self, source: str, expression: Any) -> None:
        self.source, self._expression = source, expression

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """The value, in plain Python. Raises `CelError`."""
        given = dict(variables)
        rights = given.get("authorizer")
        if isinstance(rights, Rights):
            given["authorizer"] = {"requestResource": dict(rights.about)}
            asking.set(rights.ask)
        try:
            value = self._expression.eval(data=given)
            plain = value.plain_value()
        except Exception as error:
            raise CelError(_first(error)) from error
        if value.type().name() == "ERROR":
            raise CelError(str(plain))
        return plain

    def holds(self, variables: Mapping[str, Any]) -> bool:
        """The value as a condition. Raises `CelError`, also when it is no boolean."""
        value = self.evaluate(variables)
        if not isinstance(value, bool):
            raise CelError("the expression is not a boolean")
        return value


def _first(error: Exception) -> str:
    return str(error).strip().removeprefix("INVALID_ARGUMENT: ").partition("\n")[0]


@lru_cache(maxsize=2048)
def compiled(source: str, variables: tuple[str, ...]) -> Program:
    """A program that may use these variables. Raises `CelError`."""
    from parkube.controlplane.registry.cel import library

    try:
        text = objects.plain(source) if "Object" in variables else source
        names = tuple(name for name in variables if name != "Object")
        return Program(source, library.environment(names).compile(text))
    except objects.BadLiteral as error:
        raise CelError(str(error)) from error
    except RuntimeError as error:
        raise CelError(_first(error)) from error
