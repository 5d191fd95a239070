"""What pods refer to is watched for as long as one of them is there, however they come and go."""

from __future__ import annotations

import asyncio
from pathlib import Path

from parkube.kubeapi.client import CONFIGMAPS
from parkube.kubeapi.errors import Obj
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.sync.references import References
from tests.fakes.client import FakeClient
from tests.fakes.virtual_time import run


def pod(uid: str, config: str) -> Obj:
    volume = {"name": "v", "configMap": {"name": config}}
    return {"metadata": {"uid": uid, "namespace": "n"}, "spec": {"volumes": [volume], "containers": []}}


def test_pods_that_go_at_once_are_each_let_go_and_one_that_comes_meanwhile_hears_of_changes(tmp_path: Path) -> None:
    async def story() -> None:
        client, heard = FakeClient(), list[str]()
        references = References(client, Checkpoint(tmp_path), heard.append)
        for name in ("one", "two"):
            client.put(CONFIGMAPS, {"metadata": {"namespace": "n", "name": name}, "data": {"k": "old"}})
        await references.hold(pod("a", "one"))
        await references.hold(pod("b", "two"))
        await asyncio.gather(references.release("a"), references.release("b"), references.hold(pod("c", "two")))
        assert references.get("ConfigMap", "n", "one") is None
        heard.clear()
        client.put(CONFIGMAPS, {"metadata": {"namespace": "n", "name": "two"}, "data": {"k": "new"}})
        await asyncio.sleep(1)
        assert heard == ["c"]
        assert references.get("ConfigMap", "n", "two") == {"data": {"k": "new"}}
        await references.close()

    run(story())
