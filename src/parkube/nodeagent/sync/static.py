"""Static pods: manifests in a folder of the node that run whatever the API says, and their mirrors in the API.

    file ──read──> pod (its uid is the file's hash) ──> worker
                     └─> mirror in the API, by which it can be seen: made, made anew when deleted, removed with the file

A mirror is never run; deleting it ends nothing. Its status is that of the pod it stands for.
Source: Kubernetes documentation, "Create static Pods"; annotations `kubernetes.io/config.*`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import yaml

from parkube.kubeapi.client import PODS, Client
from parkube.kubeapi.errors import AlreadyExists, ApiError, NotFound, Obj
from parkube.nodeagent.plan.pods import all_containers
from parkube.nodeagent.plan.status import rfc3339
from parkube.nodeagent.sync.desired import Desired
from parkube.nodeagent.sync.references import referred

log = logging.getLogger(__name__)
_PREFIX = "kubernetes.io/config."
_MIRROR = _PREFIX + "mirror"
_PERIOD_S = 5.0
_ENDINGS = (".yaml", ".yml", ".json")


class ManifestFault(ValueError):
    """A file that is no static pod; the text says why."""


def static_pod(text: str, file: str, node: str, now: float) -> Obj:
    """The pod of a manifest. Raises `ManifestFault`."""
    try:
        pod: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ManifestFault(f"it is no YAML: {error}") from error
    if not isinstance(pod, dict) or pod.get("kind") != "Pod" or pod.get("apiVersion") != "v1":
        raise ManifestFault("it is no v1 Pod")
    meta, spec = dict(pod.get("metadata") or {}), dict(pod.get("spec") or {})
    if not meta.get("name") or not spec.get("containers"):
        raise ManifestFault("metadata.name and spec.containers are needed")
    if any(not c.get("name") or not c.get("image") for c in all_containers({"spec": spec})):
        raise ManifestFault("each container needs a name and an image")
    digest = hashlib.md5(f"{node} {file}\n{text}".encode(), usedforsecurity=False).hexdigest()
    meta |= {"name": f"{meta['name']}-{node}", "namespace": meta.get("namespace") or "default", "uid": digest}
    meta["annotations"] = {
        **(meta.get("annotations") or {}), _PREFIX + "hash": digest, _PREFIX + "seen": rfc3339(now),
        _PREFIX + "source": "file",
    }  # fmt: skip
    everything = {"operator": "Exists", "effect": "NoExecute"}
    spec |= {"nodeName": node, "tolerations": [*(spec.get("tolerations") or ()), everything]}
    found: Obj = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": "Pending"}}
    claims = [volume for volume in spec.get("volumes") or () if "persistentVolumeClaim" in volume]
    if claims or spec.get("serviceAccountName") or any(True for _ in referred(found)):
        raise ManifestFault("a static pod may not refer to other objects of the API")
    return found


def read_folder(folder: Path, node: str, now: float, before: Iterable[Desired], faults: set[str]) -> dict[str, Desired]:
    """The pods of a folder by uid; those that were there before stay what they are. `faults`: said already."""
    known = {desired.uid: desired for desired in before}
    found: dict[str, Desired] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix not in _ENDINGS or path.name.startswith("."):
            continue
        try:
            desired = Desired(static_pod(path.read_text(), path.name, node, now))
        except (ManifestFault, OSError, UnicodeDecodeError) as fault:
            said = f"{path}: {fault}"
            if said not in faults:
                faults.add(said)
                log.error("%s", said)
            continue
        found[desired.uid] = known.get(desired.uid, desired)
    return found


class StaticPods:
    """`keep` and `drop` are told which pods to run; `mirrored` of a mirror that has come, to be given its status."""

    def __init__(
        self, folder: Path, node: str, client: Client, node_uid: Callable[[], str], clock: Callable[[], float]
    ) -> None:
        self._folder, self._node, self._client = folder, node, client
        self._node_uid, self._clock = node_uid, clock
        self._faults: set[str] = set()
        self._mirrors: dict[tuple[str, str], Desired] = {}
        self._wake = asyncio.Event()
        self.pods: dict[str, Desired] = {}
        self.keep: Callable[[Desired], None] = lambda _: None
        self.drop: Callable[[str], None] = lambda _: None
        self.mirrored: Callable[[str], None] = lambda _: None

    def read(self) -> None:
        """Look at the folder, and tell what has changed."""
        found = read_folder(self._folder, self._node, self._clock(), self.pods.values(), self._faults)
        gone, new = set(self.pods) - set(found), set(found) - set(self.pods)
        self.pods = found
        for uid in gone:
            self.drop(uid)
        for uid in new:
            self.keep(found[uid])

    def take_mirror(self, old: Desired | None, new: Desired | None) -> bool:
        """Whether a pod of the API is a mirror, which is then looked after here."""
        one = new or old
        if one is None or _MIRROR.encode() not in one.body or not _hash(one):
            return False
        key = (one.namespace, one.name)
        if new is not None:
            self._mirrors[key] = new
            if _hash(new) in self.pods:
                self.mirrored(_hash(new))
        else:
            self._mirrors.pop(key, None)
        self._wake.set()
        return True

    def mirror_uid(self, desired: Desired) -> str:
        """Under which uid the API knows a pod; empty while a static one has no mirror."""
        if desired.uid not in self.pods:
            return desired.uid
        mirror = self._mirrors.get((desired.namespace, desired.name))
        return mirror.uid if mirror is not None and _hash(mirror) == desired.uid else ""

    async def run(self, synced: Callable[[], bool]) -> None:
        """Follow the folder and keep the mirrors, until cancelled; `synced`: what the API has is known."""
        while True:
            self._wake.clear()
            self.read()
            if synced() and self._node_uid():
                try:
                    await self._reconcile()
                except (ApiError, OSError, EOFError) as error:
                    log.debug("mirrors of static pods: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PERIOD_S):
                    await self._wake.wait()

    async def _reconcile(self) -> None:
        wanted = {(desired.namespace, desired.name): desired for desired in self.pods.values()}
        for (namespace, name), mirror in list(self._mirrors.items()):
            desired = wanted.get((namespace, name))
            if desired is None or _hash(mirror) != desired.uid or _meta(mirror).get("deletionTimestamp"):
                options = {"gracePeriodSeconds": 0, "preconditions": {"uid": mirror.uid}}
                with contextlib.suppress(NotFound):
                    await self._client.delete(PODS, name, namespace, options=options)
        for key, desired in wanted.items():
            if key not in self._mirrors:
                with contextlib.suppress(AlreadyExists):
                    await self._client.create(PODS, self._mirror(desired), desired.namespace)

    def _mirror(self, desired: Desired) -> Obj:
        pod = desired.pod()
        meta = {key: value for key, value in pod["metadata"].items() if key != "uid"}
        meta["annotations"] = {**meta["annotations"], _MIRROR: desired.uid}
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": self._node_uid(), "controller": True}
        meta["ownerReferences"] = [owner]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod["spec"]}


def _meta(desired: Desired) -> Obj:
    meta: Obj = orjson.loads(desired.body)["metadata"]
    return meta


def _hash(mirror: Desired) -> str:
    return str((_meta(mirror).get("annotations") or {}).get(_MIRROR) or "")
