"""kill -9 of the server at any moment and a start after it: nothing acknowledged is lost, no revision comes twice."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Server
from tests.e2e.test_bad_input import Raw, context_of

pytestmark = pytest.mark.e2e

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server for this test alone."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


def test_killed_in_the_middle_of_writing(own: Server, tmp_path: Path) -> None:
    asks = Raw(own, context_of(own, tmp_path))
    kept, highest = 0, 0
    for run in range(3):
        written: list[tuple[str, int]] = []
        stop = threading.Event()

        def write(run: int = run, written: list[tuple[str, int]] = written, stop: threading.Event = stop) -> None:
            number = 0
            while not stop.is_set():
                name = f"c{run}-{number}"
                try:
                    status, made = asks("POST", CONFIGMAPS, f'{{"metadata":{{"name":"{name}"}}}}'.encode())
                except OSError:
                    return
                assert status == 201
                written.append((name, int(made["metadata"]["resourceVersion"])))
                number += 1

        writer = threading.Thread(target=write)
        writer.start()
        while len(written) < 20:
            time.sleep(0.01)
        own.stop(signal.SIGKILL)
        stop.set()
        writer.join()
        own.start()
        listed = asks("GET", CONFIGMAPS)[1]
        found = {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"]) for item in listed["items"]}
        for name, revision in written:
            assert found[name] == revision
        assert min(revision for _, revision in written) > highest
        highest = int(listed["metadata"]["resourceVersion"])
        assert highest >= max(found.values())
        kept += len(written)
        assert len([n for n in found if n.startswith("c")]) >= kept


def test_heartbeats_never_move_revisions_back(own: Server, tmp_path: Path) -> None:
    asks = Raw(own, context_of(own, tmp_path))
    asks("POST", LEASES, b'{"metadata":{"name":"n"},"spec":{"renewTime":"2026-01-01T00:00:00.000000Z"}}')
    last = 0
    for second in range(30):
        body = f'{{"metadata":{{"name":"n"}},"spec":{{"renewTime":"2026-01-01T00:00:{second:02}.000000Z"}}}}'
        last = int(asks("PUT", LEASES + "/n", body.encode())[1]["metadata"]["resourceVersion"])
    own.stop(signal.SIGKILL)
    own.start()
    assert asks("GET", LEASES + "/n")[0] == 200
    made = asks("POST", CONFIGMAPS, b'{"metadata":{"name":"after"}}')[1]
    assert int(made["metadata"]["resourceVersion"]) > last


def test_ready_soon_and_gone_soon(own: Server, tmp_path: Path) -> None:
    began = time.monotonic()
    own.stop()
    assert time.monotonic() - began < 5
    assert own.process is not None
    assert own.process.returncode == 0
    began = time.monotonic()
    own.start()
    assert time.monotonic() - began < 2.5
    for name in ("server/token", "server/node-token", "server/tls/server-ca.key", "server/tls/service.key"):
        assert (own.data_dir / name).stat().st_mode & 0o077 == 0
    assert own.kubeconfig.stat().st_mode & 0o077 == 0
