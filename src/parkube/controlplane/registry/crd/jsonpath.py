"""JSONPath as printer columns use it: a path compiled to a function from an object to all that it finds.

Fields, `['quoted names']`, escaped dots, indices, slices, `[*]`, `..name` and filters `[?(@.type=="Ready")]`; not the
template language around it. Source: Kubernetes documentation, "JSONPath Support".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Step = Callable[[Any], Iterator[Any]]
Finder = Callable[[Any], list[Any]]


class BadPath(ValueError):
    """Not a path; the message says what is wrong with it."""


_NAME = re.compile(r"(?:[^.\[\]\\\s'\"(){}]|\\.)+")
_INDEX = re.compile(r"-?\d+\Z")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+))?\Z")
_FILTER = re.compile(r"\?\(\s*@(?P<path>[^=!<>]*?)\s*(?:(?P<sign>==|!=|<=|>=|<|>)\s*(?P<value>.+?)\s*)?\)\Z", re.DOTALL)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def compile_path(path: str) -> Finder:
    """The function that finds `path`. Raises `BadPath`."""
    steps = list(_parse(path))
    if not steps and path.strip() not in (".", "$", "@", ""):
        raise BadPath(f"unrecognized path {path!r}")

    def find(obj: Any) -> list[Any]:
        found: Iterable[Any] = [obj]
        for step in steps:
            found = [below for value in found for below in step(value)]
        return list(found)

    return find


def _parse(path: str) -> Iterator[Step]:
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    if text[:1] in ("$", "@"):
        text = text[1:]
    at = 0
    while at < len(text):
        if text[at] == "[":
            end = _closing(text, at)
            yield _bracket(text[at + 1 : end].strip(), path)
            at = end + 1
        elif text.startswith("..", at):
            name, at = _name(text, at + 2, path)
            yield _deep(name)
        elif text[at] == ".":
            if at + 1 == len(text) or text[at + 1] == "[":
                at += 1
                continue
            name, at = _name(text, at + 1, path)
            yield _everything if name == "*" else _field(name)
        else:
            raise BadPath(f"unrecognized character {text[at]!r} in {path!r}: a path starts with a dot")


def _name(text: str, at: int, path: str) -> tuple[str, int]:
    match = _NAME.match(text, at)
    if match is None:
        raise BadPath(f"a name is missing in {path!r}")
    return re.sub(r"\\(.)", r"\1", match[0]), match.end()


def _closing(text: str, start: int) -> int:
    depth, quote = 0, ""
    for at in range(start, len(text)):
        char = text[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if depth == 0:
                return at
    raise BadPath(f"unterminated array in {text!r}")


def _bracket(inside: str, path: str) -> Step:
    if inside == "*":
        return _everything
    if _INDEX.match(inside):
        return _at(int(inside))
    span = _SLICE.match(inside)
    if span is not None:
        return _span(slice(*(int(part) if part else None for part in span.groups())))
    if len(inside) >= 2 and inside[0] in "'\"" and inside[-1] == inside[0]:
        return _field(inside[1:-1].replace("\\", ""))
    condition = _FILTER.match(inside)
    if condition is not None:
        return _where(condition, path)
    raise BadPath(f"invalid array index {inside!r} in {path!r}")


def _where(condition: re.Match[str], path: str) -> Step:
    find = compile_path(condition["path"])
    compare = _SIGNS.get(condition["sign"] or "")
    wanted = _literal(condition["value"], path) if compare else None

    def step(value: Any) -> Iterator[Any]:
        for item in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
            found = find(item)
            if compare is None:
                if found:
                    yield item
                continue
            try:
                if found and compare(found[0], wanted):
                    yield item
            except TypeError:
                continue

    return step


def _literal(text: str, path: str) -> Any:
    if len(text) >= 2 and text[0] in "'\"" and text[-1] == text[0]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise BadPath(f"cannot compare with {text!r} in {path!r}") from None


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _at(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _span(part: slice) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[part]

    return step


def _everything(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _deep(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            if name in value:
                yield value[name]
            for below in value.values():
                yield from step(below)
        elif isinstance(value, list):
            for below in value:
                yield from step(below)

    return step
