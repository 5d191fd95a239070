"""What a Garage turns into, and what its status says, without a cluster."""

from __future__ import annotations

import copy
from datetime import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from parkube.parking.domain.tariffs.written import read_tariff
from parkube.parking.gate.config import load, parse
from parkube.parking.operator import desired
from parkube.parking.operator.errors import BadGarage
from parkube.parking.operator.platform import Platform
from parkube.parking.operator.status import Cycle, after_cycle

COIL = {"address": "10.0.0.2", "port": 5020, "unit": 1, "coil": 0, "pulseMs": 500}
SPEC: dict[str, Any] = {
    "displayName": "Diepenring", "location": {"latitude": 53.2, "longitude": 6.5, "city": "Groningen"},
    "bays": [{"kind": "standard", "count": 120}], "tariff": "centre", "testCoil": {**COIL, "coil": 7},
    "gates": [
        {"name": "entry", "direction": "in", "relay": COIL, "scanner": {"address": "10.0.0.2", "port": 4001}},
        {"name": "exit", "direction": "out", "relay": {**COIL, "coil": 1}},
    ],
}  # fmt: skip


def test_the_garage_app_reads_what_the_operator_writes() -> None:
    config = desired.gate_config("nl-1", SPEC, "http://platform")
    written = yaml.safe_load(desired.config_map("nl-1", "parkube", config)["data"]["garage.yaml"])
    read = parse(written, "token")
    assert (read.garage, read.platform_url, [g.name for g in read.gates]) == (
        "nl-1",
        "http://platform",
        ["entry", "exit"],
    )
    assert read.test_coil is not None
    assert read.test_coil.coil == 7


def test_cameras_of_a_garage_push_to_a_port_of_its_node_with_a_token_of_their_own(tmp_path: Path) -> None:
    spec = {**SPEC, "cameras": {"port": 8090, "tokenSecret": "cameras"}}
    config = desired.gate_config("nl-1", spec, "http://platform")
    pod = desired.daemon_set("nl-1", "parkube", config, "image", camera_secret="cameras")["spec"]["template"]["spec"]
    (app,) = pod["containers"]
    assert {"name": "cameras", "containerPort": 8090, "hostPort": 8090} in app["ports"]
    (place,) = [mount["mountPath"] for mount in app["volumeMounts"] if mount["name"] == "camera"]
    assert {"name": "camera", "secret": {"secretName": "cameras"}} in pod["volumes"]
    assert config["cameraTokenFile"] == f"{place}/token"
    (tmp_path / "token").write_text("seen-by-cameras\n")
    (tmp_path / "garage.yaml").write_text(
        yaml.safe_dump({**config, "tokenFile": None, "cameraTokenFile": str(tmp_path / "token")})
    )
    read = load(tmp_path / "garage.yaml", {"PARKUBE_GARAGE_TOKEN": "token"})
    assert (read.camera_port, read.camera_token) == (8090, "seen-by-cameras")
    with open("deploy/base/crds.yaml") as file:
        garages = next(yaml.safe_load_all(file))
    schema = garages["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert set(schema["cameras"]["required"]) == set(spec["cameras"])
    with pytest.raises(BadGarage, match=r"cameras.port 8081 is the app's own"):
        desired.gate_config("nl-1", {**SPEC, "cameras": {"port": 8081, "tokenSecret": "x"}}, "http://platform")


def test_the_platform_reads_the_tariff_that_the_resource_holds() -> None:
    with open("deploy/demo/tariff.yaml") as file:
        spec = yaml.safe_load(file)["spec"]
    assert read_tariff(desired.written_tariff(spec)).cap_minor == 2400


def test_a_changed_configuration_restarts_the_app_and_an_equal_one_does_not() -> None:
    config = desired.gate_config("nl-1", SPEC, "http://platform")
    changed = copy.deepcopy(SPEC)
    changed["gates"][0]["relay"]["coil"] = 3
    one, same, other = (
        desired.daemon_set("nl-1", "parkube", c, "image")["spec"]["template"]["metadata"]["annotations"]
        for c in (config, copy.deepcopy(config), desired.gate_config("nl-1", changed, "http://platform"))
    )
    assert one == same != other


def test_all_faults_of_a_garage_are_named_at_once() -> None:
    spec = copy.deepcopy(SPEC)
    spec["gates"] += [{**SPEC["gates"][0]}, {**SPEC["gates"][0], "name": "test"}]
    spec["verify"] = {"gateHours": {"from": "02:00", "to": "03:00", "gate": "roof"}}
    with pytest.raises(
        BadGarage, match=r"entry is there twice; a gate must not be called test; .* names the gate roof"
    ):
        desired.gate_config("nl-1", spec, "http://platform")


def test_the_gate_itself_moves_only_in_its_hours_also_over_midnight() -> None:
    spec = {**SPEC, "verify": {"gateHours": {"from": "23:00", "to": "01:00", "gate": "entry"}}}
    allowed = [hour for hour in range(24) if desired.gate_may_move(spec, time(hour))]
    assert allowed == [0, 23]
    assert desired.gate_config("nl-1", spec, "u", move_gate=True)["testCoil"]["coil"] == 0
    assert desired.gate_config("nl-1", spec, "u", move_gate=False)["testCoil"]["coil"] == 7


@pytest.mark.parametrize(("text", "seconds"), [("10m", 600), ("1h30m", 5400), ("15s", 15), ("1s", 5), ("", 600)])
def test_an_interval_is_read(text: str, seconds: float) -> None:
    assert desired.interval_s({"verify": {"interval": text}}) == seconds


def test_verified_turns_false_naming_the_step_and_unknown_when_away() -> None:
    passed = after_cycle({}, 1, Cycle(True, "t1", 42), "pi")
    broken = after_cycle(passed, 1, Cycle(False, "t2", 9, "relay", "no answer"), "pi")
    away = after_cycle(broken, 1, Cycle(False, "t3", 0, "link", "gone"), "pi")
    told = [(s["phase"], s["conditions"][0]["status"], s["conditions"][0]["reason"]) for s in (passed, broken, away)]
    assert told == [
        ("Verified", "True", "GateOpens"),
        ("Degraded", "False", "RelayFailed"),
        ("Away", "Unknown", "GarageAway"),
    ]
    assert broken["conditions"][0]["message"] == "step relay failed: no answer"
    assert passed["verification"] == {"at": "t1", "durationMs": 42, "step": "", "reason": ""}


CYCLES = st.builds(
    Cycle, st.booleans(), st.sampled_from(["t1", "t2"]), st.integers(0, 9), st.sampled_from(["link", "relay"])
)


@given(st.lists(CYCLES, min_size=1))
def test_there_is_one_verified_condition_and_its_time_moves_only_with_its_status(cycles: list[Cycle]) -> None:
    status: dict[str, Any] = {"conditions": [{"type": "Deployed", "status": "True"}]}
    last: tuple[str, str] | None = None
    for cycle in cycles:
        status = after_cycle(status, 1, cycle, "pi")
        assert [c["type"] for c in status["conditions"]] == ["Deployed", "Verified"]
        now = (status["conditions"][1]["status"], status["conditions"][1]["lastTransitionTime"])
        assert last is None or last[0] != now[0] or last[1] == now[1]
        last = now


async def test_a_platform_that_does_not_answer_is_a_cycle_that_failed_there() -> None:
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    platform = Platform("http://platform", "secret", httpx.MockTransport(down))
    assert (await platform.verify("nl-1")).step == "platform"
    assert await platform.seen("nl-1") == {}
    await platform.close()
