"""docs/tutorial.md, word by word, on a machine of its own: a network and mount namespace in which nothing is set up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from scripts.demo.cleaning import end_containers, unmount_below
from scripts.demo.network import run

from parkube.cli import newest_kubectl
from tests.e2e.tutorial import agrees, steps

ROOT = Path(__file__).resolve().parents[2]
# What the page writes to, each a folder of the test's own inside the mount namespace.
PRIVATE = ("/var/lib/parkube", "/var/lib/parkube-raspberrypi", "/etc/parkube", "/var/log", "/run/netns")
OLD = ROOT / ".tools/kubectl-1.20/usr/bin/kubectl"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]


def script(folder: Path, blocks: list[str]) -> str:
    """A bash script that makes the machine private, then runs each block with its output in a file."""
    lines = ["set -euo pipefail", "ip link set lo up", "mount --make-rprivate /"]
    for place in PRIVATE:
        own = folder / "machine" / place.strip("/").replace("/", "-")
        own.mkdir(parents=True)
        lines += [f"mkdir -p {place}", f"mount --bind {own} {place}"]
    lines += ["mount --make-shared /run/netns"]
    for number, block in enumerate(blocks):
        lines += ["{", block.rstrip(), f"}} > {folder}/{number}.out 2>&1", f"touch {folder}/{number}.done"]
    return "\n".join(lines) + "\n"


def clean(folder: Path, leader: subprocess.Popen[str]) -> None:
    """End what the page started: it says itself how, but a failed run stops half way."""
    machine = folder / "machine"
    for pid in [int(p.name) for p in Path("/proc").glob("[0-9]*") if _in_namespace_of(p, leader.pid)]:
        if pid not in (os.getpid(), leader.pid):
            subprocess.run(["kill", "-KILL", str(pid)], check=False, capture_output=True)
    leader.kill()
    leader.wait()
    end_containers(machine)
    unmount_below(machine)


def _in_namespace_of(process: Path, leader: int) -> bool:
    try:
        return os.readlink(process / "ns/mnt") == os.readlink(f"/proc/{leader}/ns/mnt")
    except OSError:
        return False


@pytest.mark.parametrize("kubectl", ["1.20", "newest"])
def test_the_tutorial_does_what_it_says(tmp_path: Path, kubectl: str) -> None:
    if os.geteuid() != 0:
        pytest.fail("the tutorial needs root")
    page = steps((ROOT / "docs/tutorial.md").read_text())
    assert len(page) > 8
    text = script(tmp_path, [step.commands for step in page])
    program = OLD if kubectl == "1.20" else newest_kubectl()
    assert program, "there is no kubectl on this machine: run make setup"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/kubectl").symlink_to(program)
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "HOME": str(tmp_path)}
    environment.pop("KUBECONFIG", None)
    leader = subprocess.Popen(
        ["unshare", "--mount", "--net", "bash"], stdin=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        stdout=subprocess.DEVNULL, stderr=(tmp_path / "stderr").open("w"),
    )  # fmt: skip
    try:
        assert leader.stdin is not None
        # The last line keeps the namespace's first process until everything in it was ended.
        leader.stdin.write(text + f"touch {tmp_path}/all.done\nsleep 600\n")
        leader.stdin.flush()
        _wait_for_end(leader, tmp_path)
        for number, step in enumerate(page):
            output = tmp_path / f"{number}.out"
            said = output.read_text() if output.exists() else "(not reached)"
            logs = _logs(tmp_path)
            assert (tmp_path / f"{number}.done").exists(), f"$ {step.commands}\n{said}\n{logs}"
            if step.answer:
                assert agrees(step.answer, said), f"$ {step.commands}\nsaid:\n{said}\npromised:\n{step.answer}\n{logs}"
    finally:
        clean(tmp_path, leader)
    assert "raspberrypi" not in run("ip", "netns", "list")


def _wait_for_end(leader: subprocess.Popen[str], folder: Path) -> None:
    for _ in range(360 * 5):
        if leader.poll() is not None or (folder / "all.done").exists():
            return
        try:
            leader.wait(0.2)
        except subprocess.TimeoutExpired:
            continue


def _logs(folder: Path) -> str:
    found = sorted((folder / "machine/var-log").glob("*.log"))
    return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in found)
