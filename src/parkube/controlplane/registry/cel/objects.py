"""Object literals of mutating policies, `Object{spec: Object.spec{replicas: 3}}`, as plain CEL maps. Pure text to text.

The library knows messages only from compiled protobuf, and what a policy writes has the type of any kind: so a literal
of `Object…` or `JSONPatch` becomes a map literal whose keys are the field names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<text>[rR]?(?:\"\"\"(?:.|\n)*?\"\"\"|'''(?:.|\n)*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
    r"|(?P<note>//[^\n]*)|(?P<literal>(?:Object(?:\.[A-Za-z_]\w*)*|JSONPatch)\s*\{)"
    r"|(?P<name>[A-Za-z_]\w*|`[^`]*`)|(?P<space>\s+)|(?P<mark>.)",
)


class BadLiteral(ValueError):
    """The braces do not match."""


def plain(source: str) -> str:
    """The expression with maps for object literals. Raises `BadLiteral`."""
    return "".join(_rewritten(source))


def _rewritten(source: str) -> Iterator[str]:
    nested: list[str] = []  # what each open bracket is: o for an object literal
    key = False  # whether a field's name comes next
    for match in _TOKEN.finditer(source):
        kind, text = match.lastgroup, match.group()
        if kind in ("space", "note"):
            yield " "
            continue
        if kind == "literal":
            nested.append("o")
            key = True
            yield "{"
            continue
        if kind == "name" and key:
            yield '"' + text.strip("`") + '"'
            key = False
            continue
        if kind == "mark":
            if text in "([{":
                nested.append(text)
                key = False
            elif text in ")]}":
                if not nested:
                    raise BadLiteral(f"unexpected '{text}'")
                nested.pop()
                key = False
            elif text == "," and nested and nested[-1] == "o":
                key = True
        yield text
    if nested:
        raise BadLiteral("an object literal or a bracket is not closed")
