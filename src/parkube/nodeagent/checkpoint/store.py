"""A folder of small JSON files by kind and key, written only when their content changes, whole or not at all.

It keeps what a node needs to start its pods again with no network. It does not know what it keeps.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from urllib.parse import quote, unquote

log = logging.getLogger(__name__)


class Checkpoint:
    """`<root>/<kind>/<key, quoted>.json`, readable by root only: secrets may be among them."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, kind: str, key: str) -> Path:
        return self._root / kind / (quote(key, safe="") + ".json")

    def put(self, kind: str, key: str, content: bytes) -> bool:
        """Keep `content`, durably; True when it was not the same already. A full disk is logged, not raised."""
        path = self._path(kind, key)
        try:
            if path.exists() and path.read_bytes() == content:
                return False
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = path.with_suffix(".new")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            fresh.rename(path)
        except OSError as error:
            log.error("the desired state cannot be kept on disk: %s", error)
            return False
        return True

    def delete(self, kind: str, key: str) -> None:
        """Forget; absent is fine."""
        with contextlib.suppress(OSError):
            self._path(kind, key).unlink()

    def get(self, kind: str, key: str) -> bytes | None:
        """What was kept."""
        try:
            return self._path(kind, key).read_bytes()
        except OSError:
            return None

    def load(self, kind: str) -> dict[str, bytes]:
        """Everything of one kind by key; what was cut short was never renamed and is not among it."""
        folder = self._root / kind
        if not folder.is_dir():
            return {}
        return {unquote(path.name.removesuffix(".json")): path.read_bytes() for path in sorted(folder.glob("*.json"))}
