"""The pod network follows the nodes: known peers at once, new ones as they come, and what fails is tried again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from parkube.kubeapi.client import NODES
from parkube.kubeapi.errors import Obj
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.network.apply import NetworkFault
from parkube.nodeagent.network.overlay import Links
from parkube.nodeagent.sync.peers import PodNetwork
from tests.fakes.client import FakeClient
from tests.fakes.virtual_time import run


def node(name: str, cidr: str, ip: str) -> Obj:
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": ip}]
    return {"metadata": {"name": name}, "spec": {"podCIDR": cidr}, "status": {"addresses": addresses}}


def test_peers_come_are_remembered_and_a_fault_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        client, checkpoint = FakeClient(), Checkpoint(tmp_path)
        applied: list[Links] = []
        faults = [NetworkFault("no such device")]

        async def apply(wanted: Links) -> int:
            if len(applied) == 1 and faults:
                raise faults.pop()
            applied.append(wanted)
            return 1450

        client.put(NODES, node("n1", "10.42.0.0/24", "192.0.2.1"))
        client.put(NODES, node("n2", "10.42.1.0/24", "192.0.2.2"))
        network = PodNetwork(client, checkpoint, "vxlan", ("10.43.0.10",), apply)
        assert await network.start("10.42.0.0/24", "192.0.2.1") == 1450
        assert applied[0].routes == ()
        task = asyncio.create_task(network.run())
        await asyncio.sleep(15)
        assert applied[-1].routes == (("10.42.1.0/24", "10.42.1.0"),)
        client.put(NODES, node("n3", "10.42.2.0/24", "192.0.2.3"))
        await asyncio.sleep(1)
        assert len(applied[-1].routes) == 2
        count = len(applied)
        noisy = node("n3", "10.42.2.0/24", "192.0.2.3")
        noisy["metadata"]["labels"] = {"a": "b"}
        client.put(NODES, noisy)
        await asyncio.sleep(1)
        assert len(applied) == count, "what is no peer's matter changes nothing"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        again = PodNetwork(client, Checkpoint(tmp_path), "vxlan", (), apply)
        await again.start("10.42.0.0/24", "192.0.2.1")
        assert len(applied[-1].routes) == 2, "a node that starts alone knows the way it last knew"

    run(story())
