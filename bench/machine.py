"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
import sqlite3
import ssl
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def described() -> dict[str, str]:
    """What to write beside the figures."""
    return {
        "processor": _processor(),
        "memory": _memory(),
        "system": f"{_release()}, Linux {platform.release()}",
        "Python": f"{platform.python_version()}, uvloop {_package('uvloop')}, SQLite {sqlite3.sqlite_version}, "
        f"{ssl.OPENSSL_VERSION.rsplit(' ', 3)[0]}",
        "containerd": _said("containerd", "--version").split(" ")[2] if _said("containerd", "--version") else "none",
        "Parkube": _package("parkube"),
    }


def commit() -> str:
    """Which state of the repository is measured."""
    return _said("git", "rev-parse", "--short", "HEAD") or "no repository"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} × {models[0] if models else platform.machine()}"


def _memory() -> str:
    kib = int(Path("/proc/meminfo").read_text().split(maxsplit=2)[1])
    return f"{kib / 2**20:.1f} GiB"


def _release() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
