"""Completion indexes as a Job's status writes them: `0,2-5,7`. Pure.

Source: API reference, JobStatus.completedIndexes.
"""

from __future__ import annotations

from collections.abc import Iterable


def parse(text: str, below: int) -> set[int]:
    """The numbers of such a text, those under `below`; what cannot be read is left out."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if first.isdigit() and (last.isdigit() or not last):
            found.update(range(int(first), min(int(last or first) + 1, below)))
    return {number for number in found if number < below}


def written(numbers: Iterable[int]) -> str:
    """The shortest such text."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    out = []
    for part in parts:
        ends = (part[0], part[-1])
        if ends[0] == ends[1]:
            out.append(str(ends[0]))
        elif ends[1] == ends[0] + 1:
            out.append(f"{ends[0]},{ends[1]}")
        else:
            out.append(f"{ends[0]}-{ends[1]}")
    return ",".join(out)
