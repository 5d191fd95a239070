"""What this node's pods refer to, ConfigMaps, Secrets, claims with their volumes and RuntimeClasses: each watched by
name, with the checkpoint behind them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import orjson

from parkube.kubeapi.client import (
    CONFIGMAPS,
    GVR,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    RUNTIMECLASSES,
    SECRETS,
    Client,
)
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.informer import Informer
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.plan.pods import all_containers
from parkube.nodeagent.volumes.claims import claimed

Key = tuple[str, str, str]  # kind, namespace, name
_CLAIM, _VOLUME = "PersistentVolumeClaim", "PersistentVolume"
_GVRS: dict[str, GVR] = {
    "ConfigMap": CONFIGMAPS, "Secret": SECRETS, "RuntimeClass": RUNTIMECLASSES, _CLAIM: PERSISTENTVOLUMECLAIMS,
    _VOLUME: PERSISTENTVOLUMES,
}  # fmt: skip
_FIRST_S = 3.0  # how long a pod's start waits for the API before what the checkpoint holds will do


def referred(pod: Obj) -> Iterator[Key]:
    """Everything a pod's volumes, environment and pull secrets name, and its RuntimeClass."""
    namespace, spec = pod["metadata"]["namespace"], pod["spec"]
    if spec.get("runtimeClassName"):
        yield "RuntimeClass", "", spec["runtimeClassName"]
    for name in claimed(pod):
        yield _CLAIM, namespace, name
    for volume in spec.get("volumes") or ():
        for source in [volume, *((volume.get("projected") or {}).get("sources") or ())]:
            if source.get("configMap"):
                yield "ConfigMap", namespace, source["configMap"].get("name", "")
            if source.get("secret"):
                yield "Secret", namespace, source["secret"].get("secretName") or source["secret"].get("name", "")
    for container in all_containers(pod):
        for source in container.get("envFrom") or ():
            if source.get("configMapRef"):
                yield "ConfigMap", namespace, source["configMapRef"].get("name", "")
            if source.get("secretRef"):
                yield "Secret", namespace, source["secretRef"].get("name", "")
        for variable in container.get("env") or ():
            origin = variable.get("valueFrom") or {}
            if origin.get("configMapKeyRef"):
                yield "ConfigMap", namespace, origin["configMapKeyRef"].get("name", "")
            if origin.get("secretKeyRef"):
                yield "Secret", namespace, origin["secretKeyRef"].get("name", "")
    for secret in spec.get("imagePullSecrets") or ():
        yield "Secret", namespace, secret.get("name", "")


class _Watched:
    """One object and who needs it."""

    __slots__ = ("informer", "task", "users")

    def __init__(self, informer: Informer[bytes], task: asyncio.Task[None]) -> None:
        self.informer, self.task, self.users = informer, task, set[str]()


def _slim_storage(obj: Obj) -> bytes:
    """Of a claim or a volume: who it is, what it is made of, whom it is bound to."""
    m = {key: obj["metadata"][key] for key in ("name", "uid", "annotations") if key in obj["metadata"]}
    phase = (obj.get("status") or {}).get("phase")
    return bytes(orjson.dumps({"metadata": m, "spec": obj.get("spec") or {}, "status": {"phase": phase}}))


def _slim(obj: Obj) -> bytes:
    return bytes(orjson.dumps({key: obj[key] for key in ("data", "binaryData", "type", "handler") if key in obj}))


class References:
    """`changed(pod uid)` is called when something that a pod uses has changed."""

    def __init__(self, client: Client, checkpoint: Checkpoint, changed: Callable[[str], None]) -> None:
        self._client, self._checkpoint, self._changed = client, checkpoint, changed
        self._watched: dict[Key, _Watched] = {}

    async def hold(self, pod: Obj) -> None:
        """Watch all that the pod refers to, and wait a little for its first reading; then the volumes of its claims."""
        uid, namespace = pod["metadata"]["uid"], pod["metadata"]["namespace"]
        await self._hold(uid, set(referred(pod)))
        claims = [found for name in claimed(pod) if (found := self.get(_CLAIM, namespace, name))]
        await self._hold(uid, {(_VOLUME, "", name) for c in claims if (name := c["spec"].get("volumeName"))})

    async def _hold(self, uid: str, wanted: set[Key]) -> None:
        for key in wanted:
            if key not in self._watched:
                self._watch(key)
            self._watched[key].users.add(uid)
        waiting = [w.informer.synced() for key in wanted if not (w := self._watched[key]).informer.has_synced]
        if waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_S):
                    await asyncio.gather(*waiting)

    def _watch(self, key: Key) -> None:
        kind, namespace, name = key
        keep = _slim_storage if kind in (_CLAIM, _VOLUME) else _slim
        informer: Informer[bytes] = Informer(
            self._client, _GVRS[kind], keep, namespace=namespace, field_selector=f"metadata.name={name}"
        )
        watched = self._watched[key] = _Watched(informer, asyncio.create_task(informer.run()))

        def changed(change: str, _key: str, _old: bytes | None, new: bytes | None) -> None:
            if new is not None:
                self._checkpoint.put(kind, f"{namespace}/{name}", new)
            else:
                self._checkpoint.delete(kind, f"{namespace}/{name}")
            for uid in tuple(watched.users):
                self._changed(uid)

        informer.subscribe(changed)

    def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object as last known."""
        watched = self._watched.get((kind, namespace, name))
        found = watched.informer.get(f"{namespace}/{name}" if namespace else name) if watched else None
        if found is None and (watched is None or not watched.informer.has_synced):
            found = self._checkpoint.get(kind, f"{namespace}/{name}")
        if found is None:
            return None
        result: Obj = orjson.loads(found)
        return result

    async def release(self, uid: str) -> None:
        """The pod is gone: stop watching what nobody else needs. Decided at once: pods come and go while it ends."""
        ending = []
        for key, watched in list(self._watched.items()):
            watched.users.discard(uid)
            if not watched.users:
                del self._watched[key]
                self._checkpoint.delete(key[0], f"{key[1]}/{key[2]}")
                watched.task.cancel()
                ending.append(watched.task)
        await asyncio.gather(*ending, return_exceptions=True)

    async def close(self) -> None:
        """Stop all watching."""
        for watched in self._watched.values():
            watched.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watched.task
        self._watched.clear()
