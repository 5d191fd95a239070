"""A PostgreSQL of the tests' own: Debian's binaries, a temporary directory, a Unix socket, a user that is not root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DEBIAN = Path("/usr/lib/postgresql")


def binaries() -> Path | None:
    """The newest server's binaries, if there are any."""
    found = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def server(bin_dir: Path, *, durable: bool = False) -> Iterator[str]:
    """A running server's address, gone with all its data afterwards. Durable: a commit is on disk, as in use."""
    home = Path(tempfile.mkdtemp(prefix="parkube-pg-"))
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    try:
        if user:
            shutil.chown(home, "postgres")
        data = home / "data"
        _run(
            [*user, str(bin_dir / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N", "--locale=C.UTF-8"]
        )
        options = f"-c listen_addresses='' -k {home} -c max_connections=60"
        options += " -c shared_buffers=256MB -c max_wal_size=4GB" if durable else " -c shared_buffers=32MB -c fsync=off"
        start = [*user, str(bin_dir / "pg_ctl"), "-D", str(data), "-w", "-t", "60", "-l", str(home / "log")]
        _run([*start, "-o", options, "start"])
        try:
            yield f"postgresql://postgres@/postgres?host={home}"
        finally:
            _run([*user, str(bin_dir / "pg_ctl"), "-D", str(data), "-w", "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[-1]} of PostgreSQL failed: {done.stdout}{done.stderr}")
