"""Every state machine's drawing shows the arrows that its code has, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import product
from types import ModuleType
from typing import Any

import pytest

from parkube.parking.domain import antipassback, bookings, commands, payments, payouts, refunds, sessions, site
from parkube.parking.domain.errors import Conflict
from parkube.parking.domain.times import Window
from tests.fakes.parking import START

Arrow = tuple[str, str]
_HEADS = {">": (0, 1), "<": (0, -1), "^": (-1, 0), "v": (1, 0)}
_SIDEWAYS, _UPRIGHT = ((0, 1), (0, -1)), ((1, 0), (-1, 0))
_RUNS = {"-": _SIDEWAYS, "|": _UPRIGHT, "+": (*_SIDEWAYS, *_UPRIGHT), "<": _SIDEWAYS, ">": _SIDEWAYS, "^": _UPRIGHT}
_RUNS["v"] = _UPRIGHT


class Drawing:
    """Words joined by lines: `-` and `|` run, `+` turns or branches, an arrow ends in `>`, `<`, `^` or `v`.

    Whatever hangs together is one bundle: each word that a line leaves has an arrow to each word that a head meets.
    Words between `-- ` and ` --` are told along the way and break no line.
    """

    def __init__(self, text: str, states: Iterable[str]) -> None:
        self._words: dict[tuple[int, int], str] = {}
        self._lines: dict[tuple[int, int], str] = {}
        for row, line in enumerate(text.splitlines()):
            for found in re.finditer(r"[a-z_]+", line):
                if found[0] in states:
                    self._words |= {(row, column): found[0] for column in range(*found.span())}
            plain = re.sub(r"(?<=--) [a-z][a-z ,:()]*? (?=-[->])", lambda told: self._told(told[0], states), line)
            for column, mark in enumerate(plain):
                beside = plain[max(0, column - 1) : column] + plain[column + 1 : column + 2]
                if mark in _RUNS and not (mark == "v" and re.search(r"\w", beside)):
                    self._lines[row, column] = mark

    @staticmethod
    def _told(words: str, states: Iterable[str]) -> str:
        return words if words.strip() in states else "-" * len(words)

    def arrows(self) -> set[Arrow]:
        """All of them, but for those that lead back to where they began."""
        left, found = set(self._lines), set[Arrow]()
        while left:
            bundle, heads, tails = [left.pop()], set[str](), set[str]()
            for place in bundle:
                mark = self._lines[place]
                for way in _RUNS[mark]:
                    beside = (place[0] + way[0], place[1] + way[1])
                    if beside in self._lines:
                        if (-way[0], -way[1]) in _RUNS[self._lines[beside]] and beside in left:
                            left.discard(beside)
                            bundle.append(beside)
                        continue
                    word = self._words.get(beside) or self._words.get((beside[0], beside[1] + way[1]))
                    if word is not None and mark != "+":
                        (heads if _HEADS.get(mark) == way else tails).add(word)
            found |= {(tail, head) for tail in tails for head in heads if tail != head}
        return found


def of_bookings() -> set[Arrow]:
    found = set()
    for state, move in product(bookings.State, bookings.Move):
        try:
            found.add((state.value, bookings.moved(state, move).value))
        except Conflict:
            continue
    return found


def of_refunds() -> set[Arrow]:
    found = set()
    for state, move in product(refunds.RefundState, refunds.RefundMove):
        refund = refunds.Refund("rf", "bk", "po", 100, "EUR", "", START, state)
        try:
            found.add((state.value, refunds.moved(refund, move, START).state.value))
        except Conflict:
            continue
    return found


def of_payouts() -> set[Arrow]:
    made = payouts.Payout("py", "org", 1, "EUR", 100, START, ())
    done = payouts.left(made, "bank", START)
    return {(made.state, done.state), (done.state, payouts.left(done, "bank", START).state)}


def of_commands() -> set[Arrow]:
    found = set()
    for state, answer in product(commands.CommandState, commands.CommandState):
        command = commands.Command("cm", "g", None, "open", "entry", START, START, state)
        found.add((state.value, commands.answered(command, answer).state.value))
    return found


def of_payments() -> set[Arrow]:
    found = set()
    for state, reported in product(payments.OrderState, payments.OrderState):
        order = payments.Order("po", "bk", "bank", "card", 100, "EUR", True, START, START, state)
        held = payments.Held("bank", "ref", reported, 100, "EUR")
        found.add((state.value, payments.heard(order, held, START).state.value))
    return found


def of_sessions() -> set[Arrow]:
    """Every history of four passages and one soft close, in and out allowed or not, during the booking or after it."""
    booked = Window(START, START + timedelta(hours=2))
    found = set()
    for ways, in_out, minutes in product(product("io.", repeat=4), (False, True), (10, 50)):
        at, state, lost = START, "none", None
        heard: list[sessions.Passage] = []
        for seq, way in enumerate(ways, 1):
            at += timedelta(minutes=minutes)
            if way == ".":
                lost = at
            else:
                direction = sessions.ENTRY if way == "i" else sessions.EXIT
                heard.append(sessions.Passage("g", 1, seq, "bk", direction, at))
            now = sessions.replayed(heard, booked, at, in_out=in_out, soft_closed_at=lost)
            after = now.state.value if now else "none"
            found.add((state, after))
            state = after
    return found


def of_sites() -> set[Arrow]:
    def order(number: int, aspect: str, on: bool) -> site.SiteOrder:
        return site.SiteOrder("g", str(number), START + timedelta(minutes=number), aspect, on, "me")

    found = set()
    for switched in product((False, True), repeat=len(site.ASPECTS)):
        before = [order(n, aspect, on) for n, (aspect, on) in enumerate(zip(site.ASPECTS, switched, strict=True))]
        for aspect, on in product(site.ASPECTS, (False, True)):
            found.add((site.site(before).value, site.site([*before, order(9, aspect, on)]).value))
    return found


def of_passbacks() -> set[Arrow]:
    found = set()
    events: list[Callable[[int], Any]] = [
        lambda number: antipassback.Passed(number, "gr", inward=True),
        lambda number: antipassback.Passed(number, "gr", inward=False),
        lambda number: antipassback.Reset(number, "gr"),
        lambda number: antipassback.Reset(number),
    ]
    for first, then in product(events, repeat=2):
        before, after = (antipassback.Passback.replay(heard).where("gr") for heard in ([first(1)], [first(1), then(2)]))
        found |= {("neutral", before.value), (before.value, after.value)}
    return found


@pytest.mark.parametrize(
    ("module", "states", "code"),
    [
        (bookings, bookings.State, of_bookings),
        (sessions, ("none", *sessions.SessionState), of_sessions),
        (payments, payments.OrderState, of_payments),
        (refunds, refunds.RefundState, of_refunds),
        (payouts, (payouts.MADE, payouts.TRANSFERRED), of_payouts),
        (commands, commands.CommandState, of_commands),
        (antipassback, antipassback.Where, of_passbacks),
    ],
    ids=lambda value: value.__name__.rpartition(".")[2] if isinstance(value, ModuleType) else "",
)
def test_its_drawing_is_its_code(module: ModuleType, states: Iterable[str], code: Callable[[], set[Arrow]]) -> None:
    drawn = Drawing(module.__doc__ or "", {str(state) for state in states}).arrows()
    assert drawn == {arrow for arrow in code() if arrow[0] != arrow[1]}


def test_a_garage_goes_from_any_state_to_any_other_and_the_drawing_names_them_by_rank() -> None:
    assert of_sites() == set(product(site.Site, site.Site))
    by_rank = re.findall(r"([a-z]+) +(?=goes before|open\n)|goes before +([a-z]+)", site.__doc__ or "")
    named = [first or then for first, then in by_rank]
    assert list(dict.fromkeys(named)) == [*site.ASPECTS, site.Site.OPEN]


def test_a_drawing_is_followed_by_its_lines() -> None:
    text = """
          +---- again ----+
          v               |
        one -- told --> two ---+--> four
                               |
        three -----------------+
    """
    drawn = Drawing(text, ("one", "two", "three", "four")).arrows()
    assert drawn == {("one", "two"), ("two", "one"), ("two", "four"), ("three", "four")}
