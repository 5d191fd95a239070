"""Who passes besides a code shown once: PINs, plates, cards, in and out, doors, states of the garage, wrong clocks."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.parking.domain.antipassback import Passback, Passed, Reset, Where
from parkube.parking.domain.plates import nearest
from parkube.parking.domain.site import Site
from parkube.parking.gate.camera import Camera, serve_camera
from parkube.parking.gate.timekeeping import Timekeeper
from tests.fakes.garage import NOON, FakeGarage


@pytest.fixture
def place(tmp_path: Path) -> FakeGarage:
    return FakeGarage(tmp_path)


def allow(place: FakeGarage, jti: str, *credentials: tuple[str, str], **grant: Any) -> None:
    code = place.grant(jti=jti, booking=f"b-{jti}", **grant)
    place.garage.allow(jti, code, credentials, NOON + 86_400)


async def test_pins_plates_and_cards_stand_for_their_grants_with_the_uplink_down(place: FakeGarage) -> None:
    allow(place, "j1", ("pin", "123456"), ("plate", "AB12CD"), ("rfid", "04A224B1"))
    assert await place.garage.present("entry", "plate", "ab-12-cd") == (True, "")
    assert await place.garage.scan("entry", "pin:123456") == (False, "used")
    place.start()
    assert await place.garage.scan("exit", "RFID:04:a2:24:b1") == (True, "")
    assert await place.garage.present("entry", "plate", "XX-99-X") == (False, "unknown_plate")
    assert "XX99X" not in json.dumps([dict(entry.record.detail) for entry in place.journal.after(0)])
    await place.garage.revoke("j1")
    assert await place.garage.present("entry", "plate", "ab-12-cd") == (False, "unknown_plate")


async def test_pins_cannot_be_tried_one_after_the_other(place: FakeGarage) -> None:
    allow(place, "j1", ("pin", "123456"))
    for number in range(5):
        assert await place.garage.scan("entry", f"pin:00000{number}") == (False, "unknown_pin")
    assert await place.garage.scan("entry", "pin:123456") == (False, "too_many_pins")
    assert await place.garage.scan("exit", "pin:123456") == (True, "")
    place.now += 61
    assert await place.garage.scan("entry", "pin:123456") == (True, "")


async def test_a_plate_read_wrongly_lets_out_who_is_inside_and_nobody_in(place: FakeGarage) -> None:
    allow(place, "j1", ("plate", "AB12CD"))
    assert await place.garage.present("entry", "plate", "A812CD") == (False, "unknown_plate")
    assert await place.garage.present("exit", "plate", "A812CD") == (False, "unknown_plate")
    await place.garage.present("entry", "plate", "AB12CD")
    assert await place.garage.present("exit", "plate", "A812CD") == (True, "")


def test_a_fuzzy_plate_is_one_plate_or_none() -> None:
    assert nearest("AB12CD", ["AB12CD", "AB12CE"]) == "AB12CD"
    assert nearest("A812CD", ["AB12CD", "XX99XX"]) == "AB12CD"
    assert nearest("AB12C", ["AB12CD"]) == "AB12CD"
    assert nearest("AB12CX", ["AB12CD", "AB12CE"]) is None
    assert nearest("ZZ99ZZ", ["AB12CD"]) is None


async def test_in_and_out_and_in_again_where_the_owner_allows_it(place: FakeGarage) -> None:
    code = place.grant(in_out=True)
    for gate in ("entry", "exit", "entry", "exit"):
        assert await place.garage.scan(gate, code) == (True, "")
    await place.garage.scan("entry", code)
    assert await place.garage.scan("entry", code) == (False, "used")
    await place.garage.reset_passback("j1")
    assert await place.garage.scan("entry", code) == (True, "")


async def test_an_exit_lets_out_whoever_was_ever_let_in_and_marks_it(place: FakeGarage) -> None:
    code = place.grant()
    await place.garage.scan("entry", code)
    place.now += 90_000
    await place.garage.revoke("j1")
    for _ in range(2):
        assert await place.garage.scan("exit", code) == (True, "")
    marks = [e.record.detail.get("marks") for e in place.journal.after(0) if e.record.kind == "admitted"]
    assert marks == [None, ["expired", "revoked"], ["expired", "revoked", "not_inside"]]
    forged = FakeGarage(place.folder / "other").grant().split(".")[2]
    head, payload, _ = code.split(".")
    assert await place.garage.scan("exit", f"{head}.{payload}.{forged}") == (False, "forged")


async def test_a_reset_for_all_lets_everybody_in_again(place: FakeGarage) -> None:
    codes = [place.grant(jti=f"j{number}") for number in range(3)]
    for code in codes:
        await place.garage.scan("entry", code)
    await place.garage.reset_passback(None)
    place.start()
    for code in codes:
        assert await place.garage.scan("entry", code) == (True, "")


async def test_a_door_for_people_opens_again_and_again(place: FakeGarage) -> None:
    code = place.grant()
    for _ in range(3):
        assert await place.garage.scan("door", code) == (True, "")
    assert await place.garage.scan("entry", code) == (True, "")


async def test_closed_and_maintenance_let_nobody_in_and_everybody_out(place: FakeGarage) -> None:
    code = place.grant()
    await place.garage.scan("entry", code)
    for state in (Site.CLOSED, Site.MAINTENANCE):
        assert await place.garage.site(state, "c") == (True, "")
        assert await place.garage.scan("entry", place.grant(jti="j2")) == (False, state.value)
        assert await place.garage.open("entry", f"open-{state}", NOON + 10) == (False, state.value)
        assert await place.garage.scan("exit", code) == (True, "")
    await place.garage.site(Site.FULL, "c")
    assert await place.garage.scan("entry", place.grant(jti="j2")) == (True, "")


async def test_evacuated_holds_every_gate_up_through_a_restart_and_a_dead_board(place: FakeGarage) -> None:
    place.relay.dead = True
    assert await place.garage.site(Site.EVACUATED, "c") == (True, "")
    assert not await place.garage.hold()
    assert await place.garage.scan("exit", "anything") == (True, "")
    place.relay.dead = False
    assert await place.garage.hold()
    assert place.relay.states[:3] == [True, True, True]
    place.start()
    await place.garage.release()
    assert await place.garage.hold()
    assert place.relay.states[:3] == [True, True, True]
    await place.garage.site(Site.OPEN, "d")
    assert place.relay.states[:3] == [False, False, False]
    assert await place.garage.scan("entry", "anything") == (False, "malformed")


def test_a_clock_wrong_by_a_day_is_put_right_by_the_platform_and_stays_right_without_it() -> None:
    wall, mono = [NOON + 86_400], [0.0]
    keeper = Timekeeper(lambda: wall[0], lambda: mono[0])
    assert keeper() == NOON + 86_400
    assert keeper.told(NOON)
    mono[0] += 60
    wall[0] += 60
    assert keeper() == NOON + 60
    assert not keeper.told(NOON + 60.4)
    # The machine's clock jumps: nothing changes. It starts again without an uplink: the offset is remembered.
    wall[0] += 7200
    assert keeper() == NOON + 60
    again = Timekeeper(lambda: NOON + 86_400 + 120, lambda: 0.0, keeper.offset_s, NOON + 60)
    assert again() == NOON + 120
    assert again.trusted


async def test_a_clock_that_lost_its_battery_refuses_nobody_who_may_pass(place: FakeGarage) -> None:
    wall, mono = [0.0], [0.0]
    keeper = Timekeeper(lambda: wall[0], lambda: mono[0], not_before=NOON)
    assert not keeper.trusted
    place.time_known = keeper.trusted
    place.now = 0.0
    assert await place.garage.scan("entry", place.grant()) == (True, "")
    wall[0] = NOON + 100
    assert keeper() == NOON + 100
    assert keeper.trusted
    place.now, place.time_known = NOON + 86_400, True
    assert await place.garage.scan("entry", place.grant(jti="j2")) == (False, "expired")


async def test_a_camera_pushes_plates_over_http(place: FakeGarage) -> None:
    allow(place, "j1", ("plate", "AB12CD"))

    async def on_plate(gate: str, plate: str) -> tuple[bool, str]:
        return await place.garage.present(gate, "plate", plate)

    camera = Camera("secret", frozenset({"entry", "exit"}), on_plate, lambda: place.now)
    server = await serve_camera(0, camera)
    port = next(one for one in server.sockets if one.family is socket.AF_INET).getsockname()[1]

    async def push(body: bytes, token: str = "secret", head: str = "POST /plates") -> tuple[int, dict[str, Any]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = f"{head} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(lines.encode() + body)
        answer = await reader.read()
        writer.close()
        top, _, rest = answer.partition(b"\r\n\r\n")
        return int(top.split()[1]), json.loads(rest)

    right = json.dumps({"gate": "entry", "plate": "AB-12-CD"}).encode()
    assert (await push(right, token="other"))[0] == 401
    assert (await push(b"{"))[0] == 400
    assert (await push(right, head="POST /other"))[0] == 404
    assert (await push(right, head="GET /plates"))[0] == 405
    status, body = await push(json.dumps({"gate": "roof", "plate": "?"}).encode())
    assert (status, len(body["faults"])) == (422, 2)
    assert await push(right) == (200, {"opened": True, "reason": ""})
    assert await push(right) == (200, {"opened": True, "reason": ""})
    assert place.relay.changes == [(0, True)]
    place.now += 11
    assert await push(right) == (200, {"opened": False, "reason": "used"})
    server.close()


PASSES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["a", "b"]), st.booleans()),
        st.sampled_from([("a", None), ("b", None), (None, None)]),
    ),
    max_size=12,
)


@given(PASSES, st.randoms(use_true_random=False))
def test_who_is_inside_does_not_depend_on_the_order_of_the_news(story: list[Any], chance: Any) -> None:
    events = [
        Reset(number, jti) if inward is None else Passed(number, jti, inward)
        for number, (jti, inward) in enumerate(story, 1)
    ]
    mixed = events + events[::2]
    chance.shuffle(mixed)
    for jti in ("a", "b"):
        where = Where.NEUTRAL
        for name, inward in story:
            if name is None or (name == jti and inward is None):
                where = Where.NEUTRAL
            elif name == jti:
                where = Where.INSIDE if inward else Where.OUTSIDE
        assert Passback.replay(mixed).where(jti) is where
