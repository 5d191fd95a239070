"""What the fleet page reads from a Kubernetes API: nodes and Garage resources, listed, watched, listed again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from lightkube import AsyncClient
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User

from parkube.parking.adapters import kubernetes
from parkube.parking.services.live import FLEET, NODE, Live

NODE_OBJECT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "pi-1",
        "resourceVersion": "5",
        "creationTimestamp": "2026-05-04T07:00:00Z",
        "labels": {"node-role.kubernetes.io/master": "true", "kubernetes.io/role": "node"},
    },
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "nodeInfo": {"kubeletVersion": "v1.36.0+parkube1"},
        "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
    },
}
GARAGE_OBJECT: dict[str, Any] = {
    "apiVersion": "parkube.io/v1",
    "kind": "Garage",
    "metadata": {"name": "nl-test", "namespace": "parkube", "resourceVersion": "6"},
    "status": {
        "phase": "Degraded",
        "nodeName": "pi-1",
        "appVersion": "0.1.0",
        "verification": {"at": "2026-05-04T08:00:00Z", "durationMs": 12},
        "conditions": [{"type": "Verified", "status": "False", "message": "step relay failed: no answer"}],
    },
}


class Api:
    """A Kubernetes API of two resources, by hand."""

    def __init__(self) -> None:
        self.watches: dict[str, asyncio.Queue[dict[str, Any] | None]] = {}
        self.lists = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        plural = request.url.path.rsplit("/", 1)[1]
        if request.url.params.get("watch") == "true":
            events = self.watches[plural] = asyncio.Queue()
            return httpx2.Response(200, stream=_Stream(events))
        self.lists += 1
        items = [NODE_OBJECT] if plural == "nodes" else [GARAGE_OBJECT]
        return httpx2.Response(200, json={"metadata": {"resourceVersion": "7"}, "items": items})


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, events: asyncio.Queue[dict[str, Any] | None]) -> None:
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (event := await self._events.get()) is not None:
            yield json.dumps(event).encode() + b"\n"


async def test_nodes_and_garages_are_read_and_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "_BACK_OFF_S", (0.0, 0.0))
    api, live = Api(), Live()
    client = AsyncClient(
        config=KubeConfig.from_one(cluster=Cluster(server="http://kubernetes"), user=User(token="t")),
        transport=httpx2.MockTransport(api),
    )
    cluster = kubernetes.KubernetesCluster(live, client)
    news = live.subscribe(NODE, FLEET)
    task = asyncio.create_task(cluster.run())
    try:
        async with asyncio.timeout(10):
            heard = {(one.topic, one.subject) for one in [await news.next(), await news.next()] if one}
            assert heard == {(NODE, "pi-1"), (FLEET, "nl-test")}
            node, garage = cluster.nodes()[0], cluster.garages()[0]
            assert (node.roles, node.ready, node.version, node.addresses) == (
                ("master", "node"),
                True,
                "v1.36.0+parkube1",
                ("10.0.0.2",),
            )
            assert (garage.verified, garage.reason, garage.duration_ms, garage.node) == (
                "False",
                "step relay failed: no answer",
                12,
                "pi-1",
            )
            while len(api.watches) < 2:
                await asyncio.sleep(0)
            down = json.loads(json.dumps(NODE_OBJECT))
            down["status"]["conditions"][0]["status"] = "Unknown"
            api.watches["nodes"].put_nowait({"type": "MODIFIED", "object": down})
            assert await news.next() is not None
            assert cluster.nodes()[0].ready is False
            api.watches["garages"].put_nowait({"type": "DELETED", "object": GARAGE_OBJECT})
            assert await news.next() is not None
            assert cluster.garages() == []
            # A revision that is gone: listed again, and there it is.
            gone = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}
            api.watches["garages"].put_nowait({"type": "ERROR", "object": gone})
            assert await news.next() is not None
            assert cluster.garages()[0].id == "nl-test"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
