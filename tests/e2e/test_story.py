"""The whole story, through real containers, a real relay protocol and a cable that can be pulled.

One server and one garage, each in a network namespace of its own; they stand for all tests of this file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scripts.demo.cluster import Cluster
from scripts.demo.town import Town

from tests.e2e.story import ENTRY, EXIT, INTERVAL_S, NUMBER, SITE, Story

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A garage whose gate has provably opened. PARKUBE_STORY=folder keeps the town up there, for a next run."""
    kept = os.environ.get("PARKUBE_STORY", "")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("story")
    cluster = Cluster(folder, prefix="pkst", subnet="10.78.0", server_site="server", sites={SITE: NUMBER})
    town = Town(cluster, interval=f"{INTERVAL_S}s")
    try:
        yield bring_up(cluster, town)
    finally:
        if not kept:
            cluster.down()


def bring_up(cluster: Cluster, town: Town) -> Story:
    """Server and garage; a garage that stands is kept."""
    cluster.start_server("platform", "garage")
    with ThreadPoolExecutor() as threads:
        deployed = threads.submit(town.deploy)
        cluster.network.add_site(SITE, NUMBER)
        deployed.result()
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
