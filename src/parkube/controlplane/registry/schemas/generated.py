"""Files made from the published definitions once: found, or made by a child process when they are missing or stale.

In a child, because reading the published definitions takes 30 MB that the server would not give back.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import orjson

from parkube.kubeapi.errors import Obj

_REGISTRY = Path(__file__).resolve().parent.parent
DEFINITIONS, NAMES, STAMP = "definitions.json", "names.json", "stamp.json"
V2_PATHS, V2_DEFINITIONS, V2_PROTOBUF = "v2-paths.json", "v2-definitions.json", "v2.pb"
V3_HASHES = "v3.json"


def v3_file(group_version: str) -> str:
    """The file of one group version's OpenAPI v3 document."""
    return f"v3-{group_version.replace('/', '_')}.json"


class GenerationFailed(Exception):
    """The files could not be made; the message is the generator's last line."""


def stamp() -> str:
    """What the files are made from, as a hash: rows, schemas, generator."""
    digest = hashlib.sha256()
    for folder in ("kinds", "schemas", "openapi"):
        for path in sorted((_REGISTRY / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _candidates() -> list[Path]:
    cache_home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [_REGISTRY / "_generated", Path(cache_home) / "parkube" / "generated"]


def writable_folder() -> Path:
    """Where to make the files: beside the code, or, when that is read-only, in the user's cache."""
    for folder in _candidates():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise GenerationFailed("no folder can be written for the generated API definitions")


@cache
def folder() -> Path:
    """The folder with files of this code's stamp; made now if there is none."""
    wanted = stamp()
    for candidate in _candidates():
        if _stamped(candidate) == wanted:
            return candidate
    made = subprocess.run(
        [sys.executable, "-m", "parkube.controlplane.registry.openapi"],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": _path()},
    )  # fmt: skip
    for candidate in _candidates():
        if _stamped(candidate) == wanted:
            return candidate
    last = (made.stderr.strip().splitlines() or ["it said nothing"])[-1]
    raise GenerationFailed(f"the API definitions could not be generated: {last}")


def _path() -> str:
    root = str(_REGISTRY.parents[2])
    rest = os.environ.get("PYTHONPATH")
    return f"{root}{os.pathsep}{rest}" if rest else root


def _stamped(candidate: Path) -> str:
    try:
        return (candidate / STAMP).read_text()
    except OSError:
        return ""


def read(name: str) -> bytes:
    """One generated file."""
    return (folder() / name).read_bytes()


def definitions() -> dict[str, Obj]:
    """The terse definitions, parsed anew: compile what you need and let go of the rest."""
    found: dict[str, Obj] = orjson.loads(read(DEFINITIONS))
    return found


def names() -> dict[tuple[str, str, str], str]:
    """Definition names by (group, version, kind)."""
    return {(group, version, kind): name for group, version, kind, name in orjson.loads(read(NAMES))}
