"""Reads docs/tutorial.md: commands, and the answers that it promises. `…` stands for anything, also for whole lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Step:
    """One block of commands, and the answer under it; empty: whatever."""

    commands: str
    answer: str = ""


def steps(page: str) -> list[Step]:
    """The blocks of a page, in order."""
    found: list[Step] = []
    for language, text in _BLOCK.findall(page):
        if language == "sh":
            found.append(Step(text))
        else:
            found[-1].answer = text
    return found


def agrees(answer: str, output: str) -> bool:
    """Whether an output is what the page promises; runs of blanks count as one, since columns move."""
    wanted = r"\s+".join(
        ".*?".join(re.escape(part) for part in word.split("…")) for word in _squeezed(answer).split(" ")
    )
    return re.fullmatch(wanted, _squeezed(output), re.DOTALL) is not None


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
