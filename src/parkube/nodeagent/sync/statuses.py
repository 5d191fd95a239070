"""Writes pods' statuses to the API, the newest of each pod only, and confirms deletions. Retried until they arrive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass

from parkube.kubeapi.client import PODS, Client
from parkube.kubeapi.errors import ApiError, Conflict, NotFound, Obj

log = logging.getLogger(__name__)
_RETRY_S, _RETRY_LIMIT_S = 0.5, 30.0
_WRITERS = 4


@dataclass(slots=True)
class _Item:
    namespace: str
    name: str
    status: Obj
    delete: bool = False
    failures: int = 0


class Statuses:
    """A small crew that writes what is newest."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[str, _Item] = {}
        self._busy: set[str] = set()
        self._wake = asyncio.Event()
        self._later: dict[str, asyncio.TimerHandle] = {}

    def put(self, uid: str, namespace: str, name: str, status: Obj, *, delete: bool = False) -> None:
        """The pod's status is now this; `delete`: and it may go."""
        before = self._waiting.get(uid)
        delete = delete or (before is not None and before.delete)
        self._waiting[uid] = _Item(namespace, name, status, delete)
        self._wake.set()

    def forget(self, uid: str) -> None:
        """The pod is gone: nothing is to be written any more."""
        self._waiting.pop(uid, None)

    def hurry(self) -> None:
        """The API is back: try what failed at once."""
        for handle in self._later.values():
            handle.cancel()
        self._later.clear()
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as crew:
            for _ in range(_WRITERS):
                crew.create_task(self._write_all())

    async def _write_all(self) -> None:
        while True:
            uid = next((u for u in self._waiting if u not in self._busy and u not in self._later), None)
            if uid is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            item = self._waiting.pop(uid)
            self._busy.add(uid)
            try:
                await self._write(uid, item)
            except NotFound:
                pass
            except (Conflict, ApiError, OSError, EOFError) as error:
                self._again(uid, item, error)
            finally:
                self._busy.discard(uid)
                if uid in self._waiting:
                    self._wake.set()

    async def _write(self, uid: str, item: _Item) -> None:
        patch = {"metadata": {"uid": uid}, "status": item.status}
        await self._client.patch(PODS, item.name, patch, item.namespace, subresource="status")
        if item.delete:
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
            with contextlib.suppress(Conflict):  # another pod has the name by now
                await self._client.delete(PODS, item.name, item.namespace, options=options)

    def _again(self, uid: str, item: _Item, error: Exception) -> None:
        if isinstance(error, Conflict) and "uid" in str(error).lower():
            return  # the pod of that uid is no more
        item.failures += 1
        log.debug("status of %s/%s: %s", item.namespace, item.name, error)
        self._waiting.setdefault(uid, item).delete |= item.delete
        self._waiting[uid].failures = item.failures
        delay = min(_RETRY_S * 2 ** min(item.failures, 10), _RETRY_LIMIT_S) * (0.5 + random.random())

        def ready() -> None:
            self._later.pop(uid, None)
            self._wake.set()

        self._later[uid] = asyncio.get_running_loop().call_later(delay, ready)
