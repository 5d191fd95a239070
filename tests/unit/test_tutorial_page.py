"""The reader of the tutorial page: a promise that is not kept must be noticed."""

from __future__ import annotations

import pytest

from tests.e2e.tutorial import agrees, steps


def test_commands_and_answers_are_paired() -> None:
    page = "# x\n```sh\na\nb\n```\ntext\n```sh\nc\n```\n```text\nd\n```\n"
    assert [(s.commands, s.answer) for s in steps(page)] == [("a\nb\n", ""), ("c\n", "d\n")]


@pytest.mark.parametrize(
    ("answer", "output", "same"),
    [
        ("node/x labeled", "node/x labeled\n", True),
        ("node/x labeled", "node/y labeled\n", False),
        ("NAME   AGE\nx   …", "NAME  AGE\nx     12s\n", True),
        ("web-…   1/1   Running", "web-abc-1 1/1 Running", True),
        ("web-…   1/1   Running", "web-abc-1 0/1 Running", False),
        ("…done", "one\ntwo\nall done", True),
        ("ok", "ok\nError", False),
    ],
)
def test_an_answer_agrees_or_not(answer: str, output: str, same: bool) -> None:
    assert agrees(answer, output) is same
