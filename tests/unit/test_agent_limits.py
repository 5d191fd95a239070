"""An emptyDir keeps within its sizeLimit, or its pod goes."""

from __future__ import annotations

from pathlib import Path

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.sync.limits import VolumeLimits


async def test_a_pod_whose_volume_outgrew_its_limit_is_evicted(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    sources = {"free": {}, "small": {"sizeLimit": "64Ki"}, "memory": {"sizeLimit": "1", "medium": "Memory"}}
    body = {"metadata": {"uid": "u"}, "spec": {"volumes": [{"name": n, "emptyDir": s} for n, s in sources.items()]}}
    for name in sources:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * 32768)

    class Tenants:
        def running(self) -> list[Obj]:
            return [body]

        def evict(self, uid: str, message: str) -> None:
            told.append((uid, message))

    limits = VolumeLimits(Tenants(), lambda _, volume: tmp_path / str(volume["name"]))
    await limits.look()
    (tmp_path / "small" / "link").hardlink_to(tmp_path / "small" / "file")
    await limits.look()
    assert told == []
    (tmp_path / "small" / "more").write_bytes(b"x" * 65536)
    await limits.look()
    assert told == [("u", 'Usage of EmptyDir volume "small" exceeds the limit "64Ki". ')]
