"""Service account tokens in volumes: fresh before they run out, kept while the API is away, apart by audience."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from parkube.kubeapi.client import PODS, SERVICEACCOUNTS
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import rfc3339
from tests.fakes import node
from tests.fakes.virtual_time import clock, run


class Issuer(node.Edge):
    """A node whose API issues numbered tokens; `away`: it does not."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[Obj] = []
        self.away = False
        plain = self.client.create

        async def create(gvr: Any, obj: Obj, namespace: str = "", **more: Any) -> Obj:
            if gvr != SERVICEACCOUNTS or more.get("subresource") != "token":
                return await plain(gvr, obj, namespace, **more)
            if self.away:
                raise ConnectionError("no route")
            self.asked.append(obj["spec"])
            expires = rfc3339(clock() + obj["spec"]["expirationSeconds"])
            return {"status": {"token": f"token {len(self.asked)}", "expirationTimestamp": expires}}

        self.client.create = create  # type: ignore[method-assign]


def test_a_token_is_renewed_before_it_runs_out_and_kept_while_the_api_is_away(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Issuer(tmp_path)
        sources = [{"serviceAccountToken": {"path": "t", "audience": "gate", "expirationSeconds": 1000}}]
        mounted = node.container(volumeMounts=[{"name": "v", "mountPath": "/v"}])
        made = edge.client.put(PODS, node.pod("p", mounted, volumes=[{"name": "v", "projected": {"sources": sources}}]))

        def token() -> str:
            [found] = list(tmp_path.glob("agent/pods/*/volumes/v/t"))
            return found.read_text()

        async with edge.running():
            await asyncio.sleep(5)
            assert token() == "token 1"
            assert edge.asked[0]["audiences"] == ["gate"]
            assert edge.asked[0]["boundObjectRef"]["uid"] == made["metadata"]["uid"]
            await asyncio.sleep(700)
            assert token() == "token 1"
            await asyncio.sleep(150)
            assert token() == "token 2"  # at four fifths of its life at the latest
            edge.away = True
            await asyncio.sleep(900)
            assert token() == "token 2"
            edge.away = False
            await asyncio.sleep(120)
            assert token() == "token 3"
            assert len(edge.asked) == 3

    run(story())
