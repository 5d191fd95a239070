"""containerd after a power cut: it listens before it has taken up what it left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parkube.nodeagent.runtime.cri.channel import UnixChannel
from parkube.nodeagent.runtime.cri.runtime import CriRuntime
from parkube.nodeagent.runtime.port import RuntimeFault


class Containerd:
    """Refuses `busy` calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, busy: int, words: str) -> None:
        self.busy, self.words = busy, words

        async def call(*_: Any, **__: Any) -> dict[str, Any]:
            if self.busy:
                self.busy -= 1
                raise RuntimeFault(self.words)
            return {}

        monkeypatch.setattr(UnixChannel, "call", call)


async def test_an_agent_waits_until_its_containerd_is_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    containerd = Containerd(monkeypatch, 3, "server is not initialized yet")
    runtime = CriRuntime(tmp_path / "containerd.sock")
    await runtime.start()
    assert containerd.busy == 0
    await runtime.close()


async def test_any_other_fault_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Containerd(monkeypatch, 1, "permission denied")
    runtime = CriRuntime(tmp_path / "containerd.sock")
    with pytest.raises(RuntimeFault, match="permission denied"):
        await runtime.start()
