"""Reads nodes and Garage resources from a Kubernetes API, any one, with a public client library. Never writes.

Each resource is listed, then watched; whatever goes wrong, it is listed again after a while. Until the first list,
and where there is no cluster, both are empty.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from lightkube import AsyncClient
from lightkube.config.kubeconfig import KubeConfig
from lightkube.generic_resource import create_global_resource, create_namespaced_resource

from parkube.parking.services.live import FLEET, NODE, Live
from parkube.parking.services.ports import GarageSeen, NodeSeen

_log = logging.getLogger(__name__)
_ROLE: Final = "node-role.kubernetes.io/"
_BACK_OFF_S: Final = (1.0, 30.0)
LIST_AGAIN_S: Final = 600.0
Node = create_global_resource("", "v1", "Node", "nodes")
Garage = create_namespaced_resource("parkube.io", "v1", "Garage", "garages")


class KubernetesCluster:
    """services.ports.Cluster. `run` keeps it up to date until it is cancelled."""

    def __init__(self, live: Live, client: AsyncClient | None = None) -> None:
        self._live, self._client = live, client
        self._nodes: dict[str, NodeSeen] = {}
        self._garages: dict[str, GarageSeen] = {}

    def nodes(self) -> Sequence[NodeSeen]:
        return sorted(self._nodes.values(), key=lambda node: node.name)

    def garages(self) -> Sequence[GarageSeen]:
        return list(self._garages.values())

    async def run(self) -> None:
        """Lists and watches."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_keep("nodes", lambda: self._follow(Node, self._nodes, _node, NODE)))
            tasks.create_task(_keep("garages", lambda: self._follow(Garage, self._garages, _garage, FLEET)))

    async def _follow(self, resource: Any, known: dict[str, Any], read: Callable[[Any], Any], topic: str) -> None:
        if self._client is None:
            self._client = AsyncClient(config=KubeConfig.from_env())
        client: Any = self._client
        # "*" is every namespace; a cluster-wide resource has none.
        where = {"namespace": "*"} if resource is Garage else {}
        listed = client.list(resource, **where)
        fresh = {one.metadata.name: read(one) async for one in listed}
        changed = {name for name in fresh.keys() | known.keys() if fresh.get(name) != known.get(name)}
        known.clear()
        known.update(fresh)
        for name in changed:
            self._live.publish(topic, name)
        async for kind, one in client.watch(resource, resource_version=listed.resourceVersion, **where):
            name = one.metadata.name
            seen = None if kind == "DELETED" else read(one)
            if seen == known.get(name):
                continue
            if seen is None:
                known.pop(name, None)
            else:
                known[name] = seen
            self._live.publish(topic, name)


async def _keep(what: str, follow: Callable[[], Awaitable[None]]) -> None:
    wait, said = _BACK_OFF_S[0], ""
    while True:
        began = asyncio.get_running_loop().time()
        try:
            # A connection that died without a word is noticed by this at the latest.
            async with asyncio.timeout(LIST_AGAIN_S):
                await follow()
        except TimeoutError:
            said = ""
        except Exception as error:
            if str(error) != said:
                said = str(error)
                _log.warning("the cluster's %s cannot be read: %s", what, said)
        if asyncio.get_running_loop().time() - began > _BACK_OFF_S[1]:
            wait = _BACK_OFF_S[0]
        await asyncio.sleep(wait)
        wait = min(wait * 2, _BACK_OFF_S[1])


def _node(one: Mapping[str, Any]) -> NodeSeen:
    metadata, status = _metadata(one), one.get("status") or {}
    labels = metadata.get("labels") or {}
    roles = sorted({key[len(_ROLE) :] for key in labels if key.startswith(_ROLE)} | _old_role(labels))
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
    return NodeSeen(
        name=metadata["name"],
        roles=tuple(roles),
        ready=ready,
        version=(status.get("nodeInfo") or {}).get("kubeletVersion", ""),
        created_at=_moment(metadata.get("creationTimestamp")),
        addresses=tuple(address["address"] for address in status.get("addresses") or ()),
    )


def _old_role(labels: Mapping[str, str]) -> set[str]:
    role = labels.get("kubernetes.io/role")
    return {role} if role else set()


def _garage(one: Mapping[str, Any]) -> GarageSeen:
    metadata, status = _metadata(one), one.get("status") or {}
    conditions: list[Mapping[str, Any]] = status.get("conditions") or []
    condition: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "Verified"), {})
    cycle = status.get("verification") or {}
    verified = condition.get("status", "Unknown")
    return GarageSeen(
        id=metadata["name"],
        node=status.get("nodeName"),
        phase=status.get("phase") or "Pending",
        verified=verified,
        reason=None
        if verified == "True"
        else condition.get("message") or condition.get("reason") or "not verified yet",
        verified_at=_moment(cycle.get("at")),
        duration_ms=cycle.get("durationMs"),
        app_version=status.get("appVersion"),
    )


def _metadata(one: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = one["metadata"]
    return metadata if isinstance(metadata, Mapping) else metadata.to_dict()


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str) and value:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
