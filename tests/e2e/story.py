"""What the story's tests do to one garage in its town: as a driver over HTTP, at its gate, and with its cable.

Everything goes through what a person could use too; only what the platform has stored is read from its database.
"""

from __future__ import annotations

import base64
import json
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scripts.demo.cluster import Cluster
from scripts.demo.processes import descendants, mentioning
from scripts.demo.town import BOARD_PORT, Town

from parkube.parking.adapters.signing import Ed25519Signer
from parkube.parking.domain import grants

SITE, NUMBER = "garage1", 11
ENTRY, EXIT, TEST = 0, 1, 7  # coils
INTERVAL_S = 5
SLACK_S = 5  # a cycle's own time, and that of two cores that do everything else too
AWAY_S = 10  # how long a cycle waits for a garage that does not answer

Obj = dict[str, Any]


def until(what: Callable[[], Any], seconds: float, why: str) -> Any:
    """Ask until the answer is true; the answer."""
    end = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {seconds:g} s: {why}"
        time.sleep(0.2)


class Refused(AssertionError):
    """The platform said no; `status` and its problem as JSON."""

    def __init__(self, status: int, problem: Obj) -> None:
        super().__init__(f"{status}: {problem}")
        self.status, self.problem = status, problem


@dataclass
class Story:
    """One garage, Verified, and all that is needed to live through a stay in it."""

    cluster: Cluster
    town: Town
    garage: Obj

    @property
    def id(self) -> str:
        """The garage's."""
        return str(self.garage["id"])

    # -- the platform ------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Obj | None = None, token: str = "", **headers: str) -> Any:
        """The platform's JSON answer. Raises Refused."""
        request = urllib.request.Request(
            self.town.url + path, None if body is None else json.dumps(body).encode(), method=method,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}", **headers},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise Refused(error.code, json.loads(error.read() or b"{}")) from error

    def book(self, minutes: int = 60, plate: str | None = None) -> Booking:
        """A quote for a stay from now on, taken up."""
        now = datetime.now(UTC).replace(microsecond=0)
        window = {"from": now.isoformat(), "to": (now + timedelta(minutes=minutes)).isoformat()}
        quote = self.ask("POST", "/api/v1/driver/quotes", {"garage_id": self.id, **window})
        made = self.ask("POST", "/api/v1/driver/bookings", {"quote_id": quote["id"], "plate": plate})
        return Booking(self, made["id"], made["secret"], made["grant"], quote)

    def fleet(self) -> Obj:
        """What the operator's page shows of this garage."""
        found = self.ask("GET", "/api/v1/operator/fleet", token=self.town.operator_token)
        row: Obj = next(row for row in found["garages"] if row["id"] == self.id)
        return row

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the platform has stored."""
        place = f"file:{self.town.platform_data}/platform.sqlite?mode=ro"
        with closing(sqlite3.connect(place, uri=True, timeout=10)) as database:
            return database.execute(query, values).fetchall()

    def events(self, booking: str) -> list[tuple[str, str]]:
        """(kind, gate) of every journal line of a booking that the platform has, in the garage's order."""
        query = "SELECT kind, gate FROM gate_events WHERE garage_id = ? AND booking_id = ? ORDER BY journal, seq"
        return [(kind, gate) for kind, gate in self.rows(query, self.id, booking)]

    def check_journal(self) -> None:
        """Every journal line of the garage is at the platform exactly once, none is missing."""
        for _journal, count, distinct, last in self.rows(
            "SELECT journal, count(*), count(DISTINCT seq), max(seq) FROM gate_events WHERE garage_id = ? "
            "GROUP BY journal", self.id,
        ):  # fmt: skip
            assert count == distinct == last

    def check_ledger(self) -> None:
        """The books balance, as the platform itself finds."""
        said = self.cluster.kubectl(
            "-n", "parkube", "exec", "deploy/platform", "--", "python3", "-m", "parkube.cli", "parking", "check-ledger"
        )
        assert "balanced" in said

    # -- the gate ----------------------------------------------------------------------------------------------------

    def inside(self, *words: str | Path) -> list[str]:
        """A command line in the garage's network."""
        return ["nsenter", f"--net=/run/netns/{self.cluster.network.netns(SITE)}", *map(str, words)]

    def board(self, path: str, body: Obj | None = None) -> Any:
        """The relay board's answer, asked from within the garage's network: its cable may be cut."""
        data = [] if body is None else ["-H", "content-type: application/json", "-d", json.dumps(body)]
        url = f"http://127.0.0.1:{BOARD_PORT}{path}"
        done = subprocess.run(
            self.inside("curl", "-s", "--max-time", "10", "--noproxy", "*", *data, url), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return json.loads(done.stdout or "null")

    def scan(self, code: str, gate: str = "entry") -> str:
        """A driver holds a code before a scanner; `OK` or `NO reason`."""
        until(lambda: self.board("/coils") is not None, 10, "the relay board answers")
        found = self.board("/scan", {"gate": gate, "code": code}) or {}
        return str(found.get("answer") or found.get("detail"))

    def pulses(self, coil: int) -> list[bool]:
        """Every change of a coil since the board started, the first first."""
        return [line["on"] for line in (self.board("/coils") or {"log": []})["log"] if line["coil"] == coil]

    @contextmanager
    def pulsing(self, coil: int) -> Iterator[None]:
        """The coil closes once and opens again, and no more."""
        before = len(self.pulses(coil))
        yield
        until(lambda: len(self.pulses(coil)) >= before + 2, 5, f"coil {coil} pulses")
        assert self.pulses(coil)[before:] == [True, False]

    @contextmanager
    def uplink_cut(self) -> Iterator[None]:
        """The garage's cable is out."""
        self.cluster.network.cut(NUMBER)
        try:
            yield
        finally:
            self.plug()

    def plug(self) -> None:
        """The cable is in."""
        self.cluster.network.cut(NUMBER, cut=False)

    # -- the cluster -------------------------------------------------------------------------------------------------

    def verified(self) -> Obj:
        """The condition Verified."""
        found = self.cluster.get("-n", "parkube", "garage", self.id) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == "Verified"), {"status": "", "reason": "", "message": ""})

    def until_verified(self, status: str = "True", reason: str = "", seconds: float = INTERVAL_S + SLACK_S) -> Obj:
        """Wait for a status, and its reason where one is named; the condition."""

        def there() -> Obj | None:
            found = self.verified()
            return found if found["status"] == status and reason in ("", found["reason"]) else None

        found: Obj = until(there, seconds, f"Verified={status} {reason}; it is {self.verified()}")
        return found

    def pod(self, label: str = "app=garage") -> Obj:
        """The pod of the garage's app that is not being deleted."""
        items = (self.cluster.get("-n", "parkube", "pods", "-l", label) or {"items": []})["items"]
        found: Obj = next((p for p in items if "deletionTimestamp" not in p["metadata"]), {})
        return found

    @property
    def journal(self) -> Path:
        """The garage's journal, on its node."""
        return self.cluster.folder / "journals" / self.id / "journal.sqlite"

    def grant(self, **changes: Any) -> str:
        """A grant that the platform's own key has signed, for an hour from now unless changed."""
        [(seed,)] = self.rows("SELECT value FROM settings WHERE name = 'signing_key'")
        signer, now = Ed25519Signer(base64.b64decode(seed)), int(time.time())
        fields: Obj = {
            "jti": uuid.uuid4().hex, "kid": signer.kid, "garage": self.id, "gates": ("entry", "exit"), "nbf": now - 60,
            "exp": now + 3600, **changes,
        }  # fmt: skip
        return grants.encode(grants.Grant(**fields), signer.sign)

    def app_pid(self) -> int:
        """The garage app's process, seen from here; 0 when it does not run."""
        return pid_of("parking gate --config /etc/parkube/garage/garage.yaml", self.cluster.folder)

    def platform_pid(self) -> int:
        """The platform's process, seen from here; 0 when it does not run."""
        return pid_of("parking platform --listen", self.cluster.folder)

    def start_agent(self) -> None:
        """Start the garage's node again."""
        self.cluster.start_agent(SITE, f"parkube.io/garage={self.id}")

    def kill(self, process: str) -> None:
        """kill -9 of one of the town's own processes, and of nothing below it."""
        self.cluster.processes.stop(process, signal_=signal.SIGKILL)


@dataclass
class Booking:
    """A driver's booking."""

    story: Story
    id: str
    secret: str
    grant: str
    quote: Obj

    def ask(self, method: str, path: str = "", body: Obj | None = None) -> Any:
        """One of the booking's calls."""
        return self.story.ask(method, f"/api/v1/driver/bookings/{self.id}{path}", body, self.secret)

    @property
    def now(self) -> Obj:
        """The booking as it is."""
        found: Obj = self.ask("GET")
        return found

    def open(self, gate: str) -> Obj:
        """What became of a command to open."""
        found: Obj = self.ask("POST", "/open", {"gate": gate})
        return found

    def until(self, state: str, seconds: float = 10) -> Obj:
        """Wait until the booking is so."""
        found: Obj = until(lambda: self.now if self.now["state"] == state else None, seconds, f"{self.id} is {state}")
        return found


def pid_of(words: str, folder: Path) -> int:
    """A container's process by its command line, below one of the shims of this folder; 0 when there is none."""
    for shim in mentioning(folder):
        for pid in descendants(shim):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            except OSError:
                continue
            if words in line:
                return pid
    return 0
