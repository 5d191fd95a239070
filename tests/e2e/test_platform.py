"""Platform and operator as processes: two platforms on one PostgreSQL, both killed; the operator with its rights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import ROOT, Server, free_port
from tests.fakes import postgres

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]
PARKING = [sys.executable, "-m", "parkube.cli", "parking"]
TOKEN = "operator-token"


class Platform:
    """One `parkube parking platform` on a port of its own."""

    def __init__(self, database_url: str, log: Path) -> None:
        self.environment = {**os.environ, "PARKUBE_DATABASE_URL": database_url, "PARKUBE_OPERATOR_TOKEN": TOKEN}
        self.address, self.log = f"127.0.0.1:{free_port()}", log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [*PARKING, "platform", "--listen", self.address], env=self.environment, stdout=out, stderr=out
            )

    def ask(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> tuple[int, Any]:
        """Status and JSON; status 0 while nobody listens."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, None

    def garages(self) -> list[dict[str, Any]]:
        """All that it shows."""
        status, body = self.ask("GET", "/api/v1/driver/garages")
        return list(body["items"]) if status == 200 else []

    def until_it_shows(self, number: int) -> None:
        """Wait for so many garages."""
        end = time.monotonic() + 40
        while self.ask("GET", "/healthz")[0] != 200 or len(self.garages()) < number:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def quote(self, garage: str) -> str:
        """The id of a quote for an hour, soon."""
        start = datetime.now(UTC) + timedelta(minutes=10)
        window = {"from": start.isoformat(), "to": (start + timedelta(hours=1)).isoformat()}
        status, body = self.ask("POST", "/api/v1/driver/quotes", {"garage_id": garage, **window})
        assert status == 201, body
        return str(body["id"])


@pytest.fixture
def database() -> Iterator[str]:
    bin_dir = postgres.binaries()
    assert bin_dir is not None, "PostgreSQL's binaries are missing: run scripts/setup test"
    with postgres.server(bin_dir) as address:
        yield address


def test_two_platforms_on_one_empty_postgresql(database: str, tmp_path: Path) -> None:
    # All three find no schema; one makes it, the others wait for it.
    platforms = [Platform(database, tmp_path / f"{name}.log") for name in "ab"]
    try:
        took = subprocess.run(
            [*PARKING, "city", "--garages", "3", "--bookable"], env=platforms[0].environment, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (took.returncode, "3 garages added" in took.stdout) == (0, True), took.stdout + took.stderr
        for platform in platforms:
            platform.until_it_shows(3)
        garage = platforms[0].garages()[0]["id"]
        status, said = platforms[0].ask("PUT", f"/api/v1/operator/garages/{garage}", {"bays": {"standard": 1}})
        assert status == 200, said

        asked = [(platform, platform.quote(garage)) for platform in platforms for _ in range(8)]
        with ThreadPoolExecutor(len(asked)) as threads:
            answers = list(
                threads.map(lambda one: one[0].ask("POST", "/api/v1/driver/bookings", {"quote_id": one[1]}), asked)
            )
        assert sorted(status for status, _ in answers) == [201] + [409] * (len(asked) - 1)
        assert {body["code"] for status, body in answers if status == 409} == {"no_free_bay"}
        booking = next(body for status, body in answers if status == 201)

        for platform in platforms:
            platform.process.kill()
            platform.process.wait()
        again = Platform(database, tmp_path / "again.log")
        platforms.append(again)
        again.until_it_shows(3)
        status, shown = again.ask("GET", f"/api/v1/driver/bookings/{booking['id']}", token=booking["secret"])
        assert (status, shown["grant"]) == (200, booking["grant"])
        books = subprocess.run(
            [*PARKING, "check-ledger"], env=again.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert books.stdout.startswith("balanced: 0 ledger entries, 0 charged bookings"), books.stdout + books.stderr
    finally:
        for platform in platforms:
            platform.process.kill()
            platform.process.wait()


GARAGE: dict[str, Any] = {
    "apiVersion": "parkube.io/v1", "kind": "Garage", "metadata": {"name": "nl-alone", "namespace": "parkube"},
    "spec": {
        "displayName": "Alone", "location": {"latitude": 52.09, "longitude": 5.12}, "tariff": "centre",
        "verify": {"interval": "5s"},
        "bays": [{"kind": "standard", "count": 2}],
        "gates": [{"name": "entry", "direction": "in", "relay": {"address": "10.0.0.2", "coil": 0}}],
    },
}  # fmt: skip


def test_the_operator_does_its_work_with_the_rights_of_its_role(
    server: Server, kubectls: dict[str, Path], tmp_path: Path
) -> None:
    kube = server.kubectl(kubectls["new"])
    kube("apply", "-k", str(ROOT / "deploy/base"))
    kube("wait", "--for=condition=Established", "crd/garages.parkube.io", "crd/tariffs.parkube.io", "--timeout=30s")
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": kube("-n", "parkube", "create", "token", "operator").strip()}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    platform = Platform(f"sqlite:///{tmp_path}/platform.sqlite", tmp_path / "platform.log")
    operator: subprocess.Popen[bytes] | None = None
    try:
        platform.until_it_shows(0)
        url = f"http://{platform.address}"
        with (tmp_path / "operator.log").open("wb") as out:
            operator = subprocess.Popen(
                [*PARKING, "operator", "--platform-url", url, "--public-url", url], stdout=out, stderr=out,
                env={**platform.environment, "KUBECONFIG": str(tmp_path / "kubeconfig")},
            )  # fmt: skip
        tariff = (ROOT / "deploy/demo/tariff.yaml").read_text()
        kube.apply(tariff + "---\n" + yaml.safe_dump(GARAGE))
        condition = "-o=jsonpath={.status.conditions[?(@.type=='Verified')].reason}"
        kube.wait_for(lambda: kube("-n", "parkube", "get", "garage", "nl-alone", condition) == "NoNode", 20)
        made = [f"{kind}/garage-nl-alone" for kind in ("daemonset", "configmap", "secret")]
        assert all(kube("-n", "parkube", "get", one, "-o", "name").strip() for one in made)
        assert platform.ask("GET", "/api/v1/driver/garages/nl-alone")[1]["bookable"]
        kube("-n", "parkube", "patch", "tariff", "centre", "--type=merge", "-p", '{"spec":{"dayCapCents":1234}}')
        kube.wait_for(lambda: "12.34" in str(platform.ask("GET", "/api/v1/driver/garages/nl-alone")[1]["tariff"]), 30)
        # What was not given is refused, and a Garage that goes takes everything with it.
        for verb, what in (("delete", "daemonsets"), ("list", "secrets"), ("update", "tariffs"), ("get", "nodes")):
            said = kube.run("auth", "can-i", verb, what, "-n", "parkube", "--as=system:serviceaccount:parkube:operator")
            assert said.stdout.strip() == "no", (verb, what)
        kube("-n", "parkube", "delete", "garage", "nl-alone", "--timeout=60s")
        kube.wait_for(lambda: all(kube.run("-n", "parkube", "get", one).returncode for one in made), 20)
        log = (tmp_path / "operator.log").read_text()
        assert "forbidden" not in log.lower(), log
    finally:
        for process in (platform.process, operator):
            if process is not None:
                process.kill()
                process.wait()
        kube.run("delete", "-k", str(ROOT / "deploy/base"), "--wait=false")
