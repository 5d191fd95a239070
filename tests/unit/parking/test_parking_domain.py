"""Grants, state machines, occupancy, places: the pure rules."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.parking.adapters.signing import Ed25519Signer, check
from parkube.parking.domain import grants, sessions
from parkube.parking.domain.bookings import _ARROWS, Move, State, moved
from parkube.parking.domain.errors import Conflict, Invalid
from parkube.parking.domain.geo import Grid, distance_m
from parkube.parking.domain.ledger import LedgerError
from parkube.parking.domain.ledger import Move as LedgerMove
from parkube.parking.domain.occupancy import Profile, most_at_once
from parkube.parking.domain.plates import plate
from parkube.parking.domain.times import Window

SIGNER = Ed25519Signer(bytes(32))
GRANT = grants.Grant("gr_1", SIGNER.kid, "nl-test", ("entry", "exit"), 1000, 2000, "bk_1")
START = datetime(2026, 5, 4, 8, tzinfo=UTC)


def verify(text: str, *, gate: str = "entry", garage: str = "nl-test", now: float = 1500, used: bool = False) -> object:
    keys = {SIGNER.kid: SIGNER.public_key}
    return grants.verify(text, keys=keys, check=check, garage=garage, gate=gate, now=now, used=lambda *_: used)


def test_a_grant_passes_its_gates_and_nothing_else() -> None:
    text = grants.encode(GRANT, SIGNER.sign)
    assert verify(text) == GRANT
    assert verify(f" {text}\n", gate="exit", now=1000) == GRANT
    head, part, signature = text.split(".")
    other = Ed25519PrivateKey.generate()
    refusals = [
        (grants.MALFORMED, "PK1.x", {}),
        (grants.MALFORMED, f"{head}.{part}.{signature[:-3]}", {}),
        (grants.MALFORMED, text + "A" * 2000, {}),
        (grants.MALFORMED, f"{head}.{part[:5]}*{part[5:]}.{signature}", {}),
        (grants.FORGED, grants.encode(GRANT, other.sign), {}),
        (grants.FORGED, f"{head}.{part}.{'A' * 86}", {}),
        (grants.OTHER_GARAGE, text, {"garage": "nl-other"}),
        (grants.OTHER_GATE, text, {"gate": "roof"}),
        (grants.NOT_YET, text, {"now": 999}),
        (grants.EXPIRED, text, {"now": 2000}),
        (grants.USED, text, {"used": True}),
    ]  # fmt: skip
    for reason, code, how in refusals:
        with pytest.raises(grants.GrantRefused) as refused:
            verify(code, **how)
        assert refused.value.code == reason
    stranger = grants.Grant("gr_1", "other", "nl-test", ("entry",), 1000, 2000)
    with pytest.raises(grants.GrantRefused) as refused:
        verify(grants.encode(stranger, SIGNER.sign))
    assert refused.value.code == grants.UNKNOWN_KEY


@settings(max_examples=200)
@given(st.text(max_size=80) | st.text(alphabet="PK1.eyJ0-_", max_size=80).map("PK1.".__add__))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(grants.GrantRefused):
        verify(text)


def test_a_booking_moves_as_its_drawing_says() -> None:
    for state in State:
        for move in Move:
            if (state, move) in _ARROWS:
                assert moved(state, move) is _ARROWS[state, move]
            else:
                with pytest.raises(Conflict):
                    moved(state, move)
        # What a garage reports is a fact: it is never refused.
        assert moved(state, Move.ENTER)
        assert moved(state, Move.EXIT)


def test_a_session_is_the_same_whatever_the_order() -> None:
    booked = Window(START, START + timedelta(hours=2))
    facts = [
        ("entry", START + timedelta(minutes=5)),
        ("entry", START + timedelta(minutes=6)),
        ("exit", START + timedelta(hours=1)),
        ("exit", START + timedelta(hours=3)),
    ]
    passages = [sessions.Passage("nl", 1, seq, "bk", kind, at) for seq, (kind, at) in enumerate(facts)]
    ends = {sessions.replayed(order, booked, START) for order in permutations(passages + passages[:1])}
    assert ends == {
        sessions.Session("bk", "nl", sessions.SessionState.CLOSED, facts[0][1], START + timedelta(hours=3), True)
    }


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=30), st.data())
def test_the_profile_counts_what_overlaps(spans: list[tuple[int, int]], data: st.DataObject) -> None:
    held = [(start, start + length) for start, length in spans]
    profile = Profile()
    for start, end in held:
        profile.add(start, end)
    gone = data.draw(st.sets(st.integers(0, max(0, len(held) - 1)))) if held else set()
    for index in gone:
        profile.add(*held[index], -1)
    left = [span for index, span in enumerate(held) if index not in gone]
    for moment in range(0, 72, 3):
        end = moment + 5
        inside = [(max(a, moment), min(b, end)) for a, b in left]
        assert profile.most(moment, end) == most_at_once(inside)
    for span in left:
        profile.add(*span, -1)
    assert profile._levels == [0]


def test_the_grid_finds_what_a_look_at_all_finds() -> None:
    chance = random.Random(5)
    grid: Grid[int] = Grid()
    at = {}
    for key in range(600):
        at[key] = (chance.gauss(52.1, 0.3), chance.gauss(5.1, 0.4))
        grid.put(key, 0.0, 0.0)
        grid.put(key, *at[key])
    for _ in range(40):
        here = chance.gauss(52.1, 0.5), chance.gauss(5.1, 0.6)
        for limit, within in ((1, 50_000), (20, 10_000), (20, 500_000)):
            every = sorted((distance_m(*here, *place), key) for key, place in at.items())
            wanted = [pair for pair in every[:limit] if pair[0] <= within]
            found = grid.nearest(*here, limit, within)
            assert [key for _, key in found] == [key for _, key in wanted]
            assert [far for far, _ in found] == pytest.approx([far for far, _ in wanted], abs=0.01)
    assert distance_m(52.0, 5.0, 53.0, 5.0) == pytest.approx(111_195, abs=1)


def test_plates_and_ledger_moves_that_cannot_be_are_refused() -> None:
    assert plate(" ab-12-çd ").normal == "AB12CD"
    for text in ("", "-", "<script>1", "1" * 30, "ABC"):
        with pytest.raises(Invalid):
            plate(text)
    for wrong in (("a", "b", 0), ("a", "b", -5), ("a", "a", 5)):
        with pytest.raises(LedgerError):
            LedgerMove(*wrong)
