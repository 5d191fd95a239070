"""`make up` and `make down`, with the server in a namespace too: up, up again, and away without a trace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from scripts.demo.cluster import Cluster
from scripts.demo.processes import mentioning
from scripts.demo.up import SITES, bring_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def traces(folder: Path, prefix: str) -> dict[str, list[str]]:
    """What is left of a town: namespaces, cables and bridges, mounts, processes, files."""
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
    found = {
        "namespaces": [name for name in os.listdir("/run/netns") if name.startswith(prefix)],
        "links": [line for line in links if line.startswith(prefix)],
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line],
        "processes": [str(pid) for pid in mentioning(folder)],
        "files": [str(folder)] if folder.exists() else [],
    }
    return {what: left for what, left in found.items() if left}


def test_three_garages_are_verified_and_then_everything_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(tmp_path / "run", "pkup", "10.79.0", "server", sites=dict(SITES))
    try:
        bring_up(cluster)
        said = capsys.readouterr().out
        assert said.count(": Verified") == 3
        assert f"drivers     http://{cluster.address}:30080/" in said
        nodes = cluster.kubectl("get", "nodes", "--no-headers").split("\n")
        assert sum(" Ready " in node for node in nodes) == 4
        stood = {name: cluster.processes.pid(name) for name in cluster.processes.names()}
        bring_up(cluster)
        assert {name: cluster.processes.pid(name) for name in cluster.processes.names()} == stood
    finally:
        cluster.down()
    assert traces(tmp_path / "run", "pkup") == {}
