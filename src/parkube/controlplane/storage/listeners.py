"""Who is to be told of which changes: listeners by key prefix. Shared by the stores; holds no changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from parkube.controlplane.storage.port import Change, Listener

log = logging.getLogger(__name__)


class Listeners:
    """Tells each listener of the changes under its prefix, one call for a batch."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, Listener]] = []

    def add(self, prefix: str, listener: Listener) -> Callable[[], None]:
        """Tell `listener` from now on; returns the cancel."""
        entry = (prefix, listener)
        self._entries.append(entry)

        def cancel() -> None:
            if entry in self._entries:
                self._entries.remove(entry)

        return cancel

    def tell(self, changes: Sequence[Change]) -> None:
        """Pass a batch on, in order. A listener's failure is logged and does not stop the others."""
        for prefix, listener in tuple(self._entries):
            wanted = changes if prefix in ("", "/") else [c for c in changes if c.key.startswith(prefix)]
            if wanted:
                try:
                    listener(wanted)
                except Exception:
                    log.exception("a listener under %r failed", prefix)
