"""The whole story, through real containers, a real relay protocol and a cable that can be pulled.

One server and one garage, each in a network namespace of its own; they stand for all tests of this file.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from scripts.demo.cleaning import end_containers, unmount_below
from scripts.demo.cluster import Cluster
from scripts.demo.town import Town

from tests.e2e.story import AWAY_S, ENTRY, EXIT, INTERVAL_S, NUMBER, SITE, SLACK_S, TEST, Story, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A garage whose gate has provably opened. PARKUBE_STORY=folder keeps the town up there, for a next run."""
    kept = os.environ.get("PARKUBE_STORY", "")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("story")
    own = os.getpid()  # two runs on one machine do not meet
    prefix, subnet = ("pkst", "10.79.0") if kept else (f"pks{own % 1000}", f"10.78.{own % 256}")
    cluster = Cluster(folder, prefix=prefix, subnet=subnet, server_site="server", sites={SITE: NUMBER})
    town = Town(cluster, interval=f"{INTERVAL_S}s")
    try:
        yield bring_up(cluster, town)
    finally:
        if not kept:
            cluster.down()


def bring_up(cluster: Cluster, town: Town) -> Story:
    """Server and garage; a garage that stands is kept."""
    cluster.start_server("platform", "garage")
    town.deploy()
    town.import_register()
    garage = town.choose_garages()[SITE]
    town.open_garage(SITE, garage)
    made = Story(cluster, town, garage)
    cluster.wait("the gate", lambda: made.verified()["status"] == "True", f"agent-{SITE}", 90)
    return made


def test_a_driver_finds_a_garage_books_parks_and_pays(story: Story) -> None:
    at = f"lat={story.garage['latitude']}&lon={story.garage['longitude']}&limit=5"
    found = next(g for g in story.ask("GET", f"/api/v1/driver/garages?{at}")["items"] if g["id"] == story.id)
    assert found["bookable"]
    assert found["verified"]
    assert found["online"]
    booking = story.book(plate="12-AB-34")
    assert booking.quote["price_cents"] == 300
    with story.pulsing(ENTRY):
        assert booking.open("entry")["state"] == "opened"
    stay = booking.until("entered")
    assert stay["session"]["state"] == "running"
    with story.pulsing(EXIT):
        assert booking.open("exit")["state"] == "opened"
    over = booking.until("exited")
    assert over["session"]["state"] == "closed"
    assert over["due_cents"] == 300
    receipt = booking.ask("POST", "/pay")
    assert (receipt["total_cents"], receipt["vat_cents"], receipt["net_cents"]) == (300, 52, 248)
    assert booking.now["state"] == "paid"
    assert booking.ask("GET", "/receipt")["number"] == receipt["number"]
    assert story.events(booking.id) == [(kind, gate) for gate in ("entry", "exit") for kind in ("admitted", "opened")]
    story.check_ledger()


def test_with_the_uplink_cut_the_code_opens_the_gate_and_every_event_comes_once(story: Story) -> None:
    booking = story.book()
    with story.uplink_cut():
        with story.pulsing(ENTRY):
            assert story.scan(booking.grant) == "OK"
        with story.pulsing(EXIT):
            assert story.scan(booking.grant, "exit") == "OK"
        assert booking.now["state"] == "booked"
    booking.until("exited", 60)
    assert story.events(booking.id) == [(kind, gate) for gate in ("entry", "exit") for kind in ("admitted", "opened")]
    story.check_journal()
    assert booking.ask("POST", "/pay")["total_cents"] == 300
    story.check_ledger()


def test_a_command_that_arrives_too_late_is_refused_and_the_code_still_opens(story: Story) -> None:
    booking, began, before = story.book(), time.monotonic(), story.pulses(ENTRY)
    with story.uplink_cut():
        assert booking.open("entry")["state"] == "sent"
        time.sleep(max(0.0, began + 11 - time.monotonic()))  # a command lives ten seconds
    until(lambda: story.events(booking.id), 60, "the garage has received the command")
    assert story.events(booking.id) == [("refused", "entry")]
    [(state, reason)] = story.rows("SELECT c.state, e.detail FROM commands c JOIN gate_events e ON e.command_id = c.id "
                                   "WHERE c.booking_id = ?", booking.id)  # fmt: skip
    assert state == "refused"
    assert "expired" in reason
    assert story.pulses(ENTRY) == before
    assert booking.now["state"] == "booked"
    with story.pulsing(ENTRY):
        assert story.scan(booking.grant) == "OK"
    booking.until("entered")


def test_grants_that_open_nothing(story: Story) -> None:
    now = int(time.time())
    payload = story.grant().split(".")
    forged = ".".join([*story.grant(garage="nl-other").split(".")[:2], payload[2]])
    shown = {
        story.grant(exp=now): "expired", story.grant(nbf=now + 600): "not_yet",
        story.grant(gates=("exit",)): "other_gate",
        story.grant(garage="nl-other"): "other_garage", story.grant(kid="k0"): "unknown_key", forged: "forged",
        story.grant(gates=("entry",), test=True): "test_grant", story.grant()[:-9]: "malformed", "PK1": "malformed",
    }  # fmt: skip
    before = story.pulses(ENTRY)
    for code, reason in shown.items():
        assert story.scan(code) == f"NO {reason}"
    assert story.pulses(ENTRY) == before
    good = story.grant()
    with story.pulsing(ENTRY):
        assert story.scan(good) == "OK"
        assert story.scan(good) == "NO used"
    for _ in range(2):  # one opening is not one vehicle, and an exit keeps nobody inside: it says so of the second
        with story.pulsing(EXIT):
            assert story.scan(good, "exit") == "OK"
    marked = "SELECT 1 FROM gate_events WHERE kind = 'admitted' AND gate = 'exit' AND detail LIKE '%not_inside%'"
    until(lambda: story.rows(marked), 5, "the second exit is marked")
    assert story.scan(good) == "NO used"
    story.check_journal()


def test_what_the_garage_says_of_itself(story: Story) -> None:
    visits = story.rows("SELECT count(*) FROM sessions"), story.rows("SELECT count(*) FROM ledger_entries")
    free, before = story.fleet()["free_bays"], len(story.pulses(TEST))
    until(lambda: len(story.pulses(TEST)) >= before + 4, 2 * INTERVAL_S + SLACK_S, "two cycles drive the test coil")
    assert visits == (story.rows("SELECT count(*) FROM sessions"), story.rows("SELECT count(*) FROM ledger_entries"))
    assert story.fleet()["free_bays"] == free
    said = story.cluster.kubectl("-n", "parkube", "get", "garages", "-o", "wide").splitlines()
    titles = ["NAME", "NAME", "PHASE", "VERIFIED", "NODE", "FREE", "VERSION", "CYCLE", "REASON", "LAST SEEN", "AGE"]
    assert said[0].split("  ")[0] == "NAME"
    assert [title.strip() for title in said[0].split("  ") if title.strip()] == titles
    for word in (story.id, "Verified", "True", SITE, "GateOpens"):
        assert word in said[1]
    status = story.cluster.get("-n", "parkube", "garage", story.id)["status"]
    assert status["verification"]["durationMs"] < 1000
    assert story.fleet()["verified"] == "True"


@pytest.mark.parametrize("device", ["relay", "scanner"])
def test_a_dead_device_is_named_within_an_interval(story: Story, device: str) -> None:
    story.board("/fail", {device: True})
    try:
        found = story.until_verified("False", f"{device.capitalize()}Failed")
        assert found["message"].startswith(f"step {device} failed: the {device}")
        until(lambda: story.fleet()["verified"] == "False", SLACK_S, "the fleet page says so")
    finally:
        story.board("/fail", {device: False})
    story.until_verified("True", seconds=INTERVAL_S + AWAY_S)


def test_a_dead_journal_is_named_and_nothing_moves(story: Story) -> None:
    before = story.pulses(ENTRY)
    stuck = sqlite3.connect(story.journal, isolation_level=None)
    try:
        stuck.execute("BEGIN EXCLUSIVE")
        assert story.scan(story.grant()) == "NO journal"
        story.until_verified("False", "JournalFailed")
        assert story.pulses(ENTRY) == before
    finally:
        stuck.close()
    story.until_verified("True", seconds=INTERVAL_S + AWAY_S)


def test_a_container_that_does_not_run_is_named_within_an_interval(story: Story) -> None:
    name, image = f"daemonset/garage-{story.id}", "docker.io/parkube/garage"
    story.cluster.kubectl("-n", "parkube", "set", "image", name, f"garage={image}:broken")
    try:
        found = story.until_verified("False", "ContainerNotRunning", INTERVAL_S + AWAY_S)
        assert "the garage's container does not run" in found["message"]
    finally:
        story.cluster.kubectl("-n", "parkube", "set", "image", name, f"garage={image}:dev")
    story.until_verified("True", seconds=30)


def test_kill_9_of_the_garage_app_after_it_said_yes(story: Story) -> None:
    booking = story.book()
    assert story.scan(booking.grant) == "OK"
    app = story.app_pid()
    os.kill(app, signal.SIGKILL)
    until(lambda: story.app_pid() not in (0, app), 20, "the app is started again")
    booking.until("entered", 20)
    until(lambda: story.board("/coils")["coils"][ENTRY] is False, 5, "the pulse that was cut short ends")
    until(lambda: story.scan(booking.grant) == "NO used", 20, "what was spent stays spent")
    until(lambda: ("refused", "entry") in story.events(booking.id), 20, "the refusal is at the platform")
    story.check_journal()


def test_kill_9_of_the_garage_app_between_journal_and_relay(story: Story) -> None:
    booking = story.book()
    story.until_verified("True", seconds=30)
    app, board = story.app_pid(), story.cluster.processes.pid(f"board-{SITE}")
    with story.pulsing(ENTRY):
        os.kill(board, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor() as threads:
                asked = threads.submit(booking.open, "entry")
                until(lambda: journalled(story, booking.id), 5, "the admission is on disk")
                os.kill(app, signal.SIGKILL)
                assert asked.result()["state"] != "opened"
        finally:
            os.kill(board, signal.SIGCONT)
        booking.until("entered", 30)  # who may be inside is believed to be inside; and the gate does not stay open
    assert story.events(booking.id) == [("admitted", "entry"), ("opened", "entry")]
    story.check_journal()


def journalled(story: Story, booking: str) -> bool:
    with closing(sqlite3.connect(f"file:{story.journal}?mode=ro", uri=True)) as database:
        return bool(database.execute("SELECT 1 FROM event WHERE booking = ?", (booking,)).fetchall())


def test_kill_9_of_the_relay_board(story: Story) -> None:
    story.kill(f"board-{SITE}")
    story.until_verified("False", seconds=INTERVAL_S + AWAY_S)
    story.town.start_board(SITE)
    story.until_verified("True", seconds=INTERVAL_S + AWAY_S)
    with story.pulsing(ENTRY):
        assert story.scan(story.grant()) == "OK"


def test_kill_9_of_the_agent_leaves_the_garage_running(story: Story) -> None:
    app = story.app_pid()
    story.kill(f"agent-{SITE}")
    with story.pulsing(ENTRY):
        assert story.scan(story.grant()) == "OK"
    assert story.app_pid() == app
    story.start_agent()
    said = f"node/{SITE}"
    story.cluster.kubectl("wait", "--for=condition=Ready", said, "--timeout=30s")
    with story.pulsing(EXIT):
        assert story.scan(story.grant(), "exit") == "OK"
    assert story.app_pid() == app


def test_kill_9_of_the_server_loses_nothing_and_stops_no_garage(story: Story) -> None:
    kubectl, pod, app = story.cluster.kubectl, story.pod(), story.app_pid()
    kubectl("-n", "parkube", "create", "configmap", "last-words", "--from-literal=said=yes")
    story.kill("server")
    booking = story.book()
    with story.pulsing(ENTRY):
        assert booking.open("entry")["state"] == "opened"
    story.cluster.start_server("platform", "garage")
    assert story.cluster.get("-n", "parkube", "configmap", "last-words")["data"] == {"said": "yes"}
    booking.until("entered")
    since = story.cluster.get("-n", "parkube", "garage", story.id)["status"]["verification"]["at"]

    def verified_anew() -> bool:
        status = story.cluster.get("-n", "parkube", "garage", story.id)["status"]
        return str(status["verification"]["at"]) > str(since) and story.verified()["status"] == "True"

    until(verified_anew, 60, "the operator's cycle goes on")
    assert story.pod()["metadata"]["uid"] == pod["metadata"]["uid"]
    assert story.app_pid() == app


def test_kill_9_of_the_platform_loses_no_booking_and_no_event(story: Story) -> None:
    booking = story.book()
    platform = story.platform_pid()
    os.kill(platform, signal.SIGKILL)
    assert story.scan(booking.grant) == "OK"
    assert story.scan(booking.grant, "exit") == "OK"
    until(lambda: story.platform_pid() not in (0, platform), 30, "the platform is started again")
    until(lambda: answers(story), 30, "it answers")
    booking.until("exited", 60)
    assert story.events(booking.id) == [(kind, gate) for gate in ("entry", "exit") for kind in ("admitted", "opened")]
    assert booking.ask("POST", "/pay")["total_cents"] == 300
    story.check_journal()
    story.check_ledger()


def answers(story: Story) -> bool:
    try:
        return story.ask("GET", "/healthz") is not None
    except OSError:
        return False


def test_a_garage_that_boots_with_no_network_opens_its_gate(story: Story) -> None:
    story.until_verified("True", seconds=60)
    booking = story.book()
    with story.uplink_cut():
        story.until_verified("Unknown", "GarageAway", INTERVAL_S + AWAY_S + SLACK_S)
        power_cut(story)
        assert not story.app_pid()
        story.start_agent()
        story.cluster.wait("the garage with no server in reach", lambda: bool(story.app_pid()), f"agent-{SITE}", 40)
        until(lambda: story.board("/scan", {"gate": "entry", "code": booking.grant}).get("ok"), 20, "the gate opens")
        assert story.pulses(ENTRY)[-2:] == [True, False] or story.pulses(ENTRY)[-1:] == [True]
        ready = ["get", "node", SITE, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"]
        until(lambda: story.cluster.kubectl(*ready) == "Unknown", 60, "the node is taken for lost")
        story.until_verified("Unknown", "GarageAway")
        assert booking.now["state"] == "booked"
    booking.until("entered", 90)
    assert story.events(booking.id) == [("admitted", "entry"), ("opened", "entry")]
    story.until_verified("True", seconds=60)
    story.check_journal()
    with story.pulsing(EXIT):
        assert booking.open("exit")["state"] == "opened"
    booking.until("exited")
    booking.ask("POST", "/pay")
    story.check_ledger()


def power_cut(story: Story) -> None:
    """The node's processes end at once, and what only memory held is gone; the relay board has its own supply."""
    place = story.cluster.folder / SITE
    story.kill(f"agent-{SITE}")
    end_containers(place)
    unmount_below(place)
    for device in ("cni0", "parkube0"):
        subprocess.run(story.inside("ip", "link", "delete", device), check=False, capture_output=True)
    subprocess.run(story.inside("nft", "flush", "ruleset"), check=True)
