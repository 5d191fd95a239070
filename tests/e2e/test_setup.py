"""scripts/setup where the cluster half cannot run: one sentence that says what is missing, and exit code 3."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest
from scripts.demo import alone, down

from tests.e2e.conftest import free_block, free_port

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def run(tmp_path: Path, pretend: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """A command on a machine where the named programs say something else."""
    for name, body in pretend.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280)


NOT_ROOT = {"id": '[ "$1" = -u ] && echo 1000 || echo driver'}


@pytest.mark.parametrize(
    ("pretend", "sentence"),
    [
        ({"uname": "echo Darwin"}, "setup: the cluster needs Linux, and this is Darwin"),
        (NOT_ROOT, "setup: the cluster needs root, and you are driver"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(tmp_path: Path, pretend: dict[str, str], sentence: str) -> None:
    done = run(tmp_path, pretend, "scripts/setup")
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == sentence


def test_a_machine_without_apt_is_told(tmp_path: Path) -> None:
    for folder in reversed(os.environ["PATH"].split(":")):
        for program in Path(folder).glob("*") if Path(folder).is_dir() else ():
            link = tmp_path / program.name
            link.unlink(missing_ok=True)
            if program.name != "apt-get":
                link.symlink_to(program)
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        ["scripts/setup"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "setup: the cluster's packages come by apt-get, which is not here"


def test_make_test_says_what_cannot_run_and_what_can(tmp_path: Path) -> None:
    done = run(tmp_path, NOT_ROOT, "make", "--no-print-directory", "test")
    assert done.returncode != 0
    assert done.stdout.splitlines()[-2:] == [
        "setup: the cluster needs root, and you are driver",
        "test: the end-to-end tests cannot run here, `make unit` runs the others",
    ]


def test_the_parking_half_alone_comes_up_and_goes_without_a_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    town = alone.Alone(folder, port=free_port(), board_port=free_block(30), register=tmp_path / "none.csv")
    monkeypatch.setattr(down, "FOLDER", folder)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    try:
        alone.bring_up(town)
        said = capsys.readouterr().out
        assert said.count("its gate has opened in a synthetic cycle") == 3
        assert "Left out: Kubernetes, nodes, containers" in said
        assert len([town.processes.pid(name) for name in town.processes.names()]) == 7
        alone.bring_up(town)  # again: what stands is kept
    finally:
        pids = [town.processes.pid(name) for name in town.processes.names()]
        assert down.main() == 0
    assert not folder.exists()
    for pid in pids:  # ended: nothing is left of them but their exit codes
        with contextlib.suppress(ChildProcessError):
            assert os.waitpid(pid, os.WNOHANG)[0] == pid
    assert (down.main(), capsys.readouterr().out.splitlines()[-1]) == (0, "down: nothing is up")


def test_a_machine_that_is_set_up_is_left_alone() -> None:
    done = subprocess.run(["scripts/setup", "test"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
