"""What happens at a gate, as scripts: codes shown, commands sent, power cut."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.parking.gate.config import parse
from parkube.parking.gate.errors import ConfigError, JournalError
from parkube.parking.gate.events import Record
from parkube.parking.gate.lane import Lane
from parkube.parking.gate.link import event_message, unix
from tests.fakes.garage import NAME, NOON, FakeGarage


@pytest.fixture
def place(tmp_path: Path) -> FakeGarage:
    return FakeGarage(tmp_path)


async def test_a_booked_driver_is_let_in_and_out_with_no_platform_in_reach(place: FakeGarage) -> None:
    code = place.grant()
    assert await place.garage.scan("entry", code) == (True, "")
    assert await place.garage.scan("exit", code) == (True, "")
    assert place.relay.changes == [(0, True), (1, True)]
    assert place.kinds == ["admitted", "opened", "admitted", "opened"]


async def test_the_journal_is_on_disk_before_the_relay_moves(place: FakeGarage) -> None:
    seen: list[list[str]] = []
    place.relay.before_write = lambda: seen.append(place.kinds)
    await place.garage.scan("entry", place.grant())
    assert seen == [["admitted"]]


async def test_nothing_moves_when_the_journal_cannot_be_written(
    place: FakeGarage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(record: Record) -> None:
        raise JournalError("the journal cannot be written: disk full")

    monkeypatch.setattr(place.journal, "append", full)
    assert await place.garage.scan("entry", place.grant()) == (False, "journal")
    assert place.relay.changes == []
    assert place.garage.devices()["journal"] is False


async def test_a_pulse_that_a_crash_cut_short_ends_when_the_app_starts_again(place: FakeGarage) -> None:
    place.relay.states[1] = True
    place.relay.dead = True
    releasing = asyncio.create_task(place.garage.release(every_s=0))
    await asyncio.sleep(0)
    place.relay.dead = False
    await releasing
    assert place.relay.changes == [(1, False)]


@pytest.mark.parametrize(
    ("changes", "gate", "reason"),
    [
        ({"exp": int(NOON)}, "entry", "expired"),
        ({"nbf": int(NOON + 1)}, "entry", "not_yet"),
        ({"garage": "nl-other"}, "entry", "other_garage"),
        ({"gates": ("entry",)}, "exit", "other_gate"),
        ({"kid": "k2"}, "entry", "unknown_key"),
        ({"test": True}, "entry", "test_grant"),
    ],
)
async def test_a_grant_that_does_not_fit_is_refused_and_journalled(
    place: FakeGarage, changes: dict[str, object], gate: str, reason: str
) -> None:
    assert await place.garage.scan(gate, place.grant(**changes)) == (False, reason)
    assert place.relay.changes == []
    (entry,) = [e for e in place.journal.after(0) if e.record.kind == "refused"]
    assert event_message(entry)["detail"] == {"reason": reason}
    assert unix(event_message(entry)["at"]) == NOON


async def test_a_forged_grant_is_refused(place: FakeGarage) -> None:
    head, payload, _ = place.grant().split(".")
    forged = FakeGarage(place.folder / "other").grant().split(".")[2]
    assert await place.garage.scan("entry", f"{head}.{payload}.{forged}") == (False, "forged")
    assert await place.garage.scan("entry", "hello") == (False, "malformed")


async def test_a_grant_passes_a_gate_once_even_across_a_restart(place: FakeGarage) -> None:
    code = place.grant()
    assert await place.garage.scan("entry", code) == (True, "")
    assert await place.garage.scan("entry", code) == (False, "used")
    place.start()
    place.lane.keys = {"k1": place.key.public_key().public_bytes_raw()}
    assert await place.garage.scan("entry", code) == (False, "used")


async def test_a_dead_relay_refuses_and_leaves_the_grant_good(place: FakeGarage) -> None:
    code = place.grant()
    place.relay.dead = True
    assert await place.garage.scan("entry", code) == (False, "relay")
    assert place.kinds == ["admitted", "failed"]
    place.relay.dead = False
    assert await place.garage.scan("entry", code) == (True, "")


async def test_a_crash_between_relay_and_journal_believes_the_driver_inside(place: FakeGarage) -> None:
    def power_cut() -> None:
        raise KeyboardInterrupt

    place.relay.before_write = power_cut
    with pytest.raises(KeyboardInterrupt):
        await place.garage.scan("entry", place.grant())
    place.start()
    *_, opened, started = place.journal.records()
    assert (opened.kind, opened.jti, opened.detail) == ("opened", "j1", {"outcome": "unknown"})
    assert started.kind == "started"


async def test_a_command_that_comes_too_late_is_refused_and_one_that_comes_twice_is_done_once(
    place: FakeGarage,
) -> None:
    assert await place.garage.open("entry", "c1", NOON) == (False, "expired")
    assert await place.garage.open("entry", "c2", NOON + 5, "b1") == (True, "")
    assert await place.garage.open("entry", "c2", NOON + 5, "b1") == (True, "")
    assert place.relay.changes == [(0, True)]
    assert await place.garage.open("roof", "c3", NOON + 5) == (False, "other_gate")


async def test_a_revoked_grant_opens_nothing_after_a_restart_either(place: FakeGarage) -> None:
    await place.garage.revoke("j1")
    place.start()
    assert await place.garage.scan("entry", place.grant()) == (False, "expired")


async def test_the_synthetic_cycle_moves_only_the_test_coil_and_names_the_step_that_fails(place: FakeGarage) -> None:
    def test_grant(jti: str) -> str:
        return place.grant(jti=jti, gates=("test",), test=True, booking=None)

    outcome = await place.garage.verify("v1", test_grant("t1"))
    assert (outcome.ok, outcome.step) == (True, "")
    assert place.relay.changes == [(7, True), (7, False)]
    assert place.kinds == ["verify_started", "verify_done"]
    assert (await place.garage.verify("v2", test_grant("t1"))).step == "grant"
    place.relay.stuck = True
    assert (await place.garage.verify("v3", test_grant("t3"))).step == "readback"
    place.relay.dead = True
    assert (await place.garage.verify("v4", test_grant("t4"))).step == "relay"
    place.scanners["exit"].alive = False
    outcome = await place.garage.verify("v5", test_grant("t5"))
    assert (outcome.step, outcome.reason) == ("scanner", "the scanner at exit does not answer")
    assert (await place.garage.verify("v6", place.grant())).step == "grant"


def test_a_new_disk_is_another_journal_and_a_restart_is_not(place: FakeGarage, tmp_path: Path) -> None:
    old = place.journal.id
    place.start()
    assert place.journal.id == old
    assert FakeGarage(tmp_path / "new disk").journal.id != old


def test_a_device_that_goes_and_comes_is_journalled_once_each(place: FakeGarage) -> None:
    for up in (True, False, False, True, True):
        place.garage._seen("scanner:entry", up)
    assert place.kinds == ["device_down", "device_up"]


def test_every_fault_of_a_configuration_is_named_at_once() -> None:
    raw = {"platformUrl": "x", "color": "red", "gates": [{"name": "test", "relay": {"address": "a", "pulseMs": 1}}, 3]}
    with pytest.raises(ConfigError) as caught:
        parse(raw, "")
    for fault in (
        "color: not known",
        "garage: required",
        "dataDir: required",
        "token: required",
        "pulseMs",
        "gates[1]",
    ):
        assert fault in str(caught.value)


EVENTS = st.lists(st.tuples(st.sampled_from(["admitted", "opened", "failed", "revoked"]), st.sampled_from("ab")))


@given(EVENTS)
def test_restoring_twice_from_any_journal_adds_nothing_the_second_time(events: list[tuple[str, str]]) -> None:
    records = [Record(kind, "entry", jti) for kind, jti in events]
    added = Lane(NAME, ("entry",), lambda *_: True).restore(records)
    again = Lane(NAME, ("entry",), lambda *_: True).restore([*records, *(a for a in added if isinstance(a, Record))])
    assert again == []


async def test_a_cycle_that_could_write_again_ends_the_trouble_with_the_journal(
    place: FakeGarage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(record: Record) -> None:
        raise JournalError("the journal cannot be written: database is locked")

    def test_grant(jti: str) -> str:
        return place.grant(jti=jti, gates=("test",), test=True, booking=None)

    with monkeypatch.context() as patch:
        patch.setattr(place.journal, "append", locked)
        assert (await place.garage.verify("v1", test_grant("t1"))).step == "journal"
        assert place.garage.devices()["journal"] is False
    assert (await place.garage.verify("v2", test_grant("t2"))).ok
    assert place.garage.devices()["journal"] is True
