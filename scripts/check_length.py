"""Refuses files over 500 lines, functions over 70 and modules named `utils`: small rooms stay small."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES, FUNCTION_LINES = 500, 70
ROOTS = ("src", "tests", "bench", "scripts")


def faults(path: Path) -> Iterator[str]:
    """One sentence for each rule that the file breaks."""
    text = path.read_text()
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines, {FILE_LINES} at most"
    if path.stem in {"utils", "util", "helpers", "misc"}:
        yield f"{path}: a name that says nothing"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, {FUNCTION_LINES} at most"
    if path.parts[0] == "src" and path.name != "__init__.py" and ast.get_docstring(ast.parse(text)) is None:
        yield f"{path}: no first line that says what it is for"


def main() -> int:
    """Exit status 1 when anything is too long."""
    found = [
        f
        for root in ROOTS
        for p in sorted(Path(root).rglob("*.py"))
        if "node_modules" not in p.parts
        for f in faults(p)
    ]
    print("\n".join(found) or "lengths: all within bounds")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
