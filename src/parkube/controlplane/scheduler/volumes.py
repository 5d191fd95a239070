"""A pod's claims: whether it may be placed yet, on which nodes, and what must be bound first. The verdicts are pure.

    bound                 its volume says which nodes
    unbound, Immediate    the pod waits until it is bound
    unbound, late         (WaitForFirstConsumer) a volume that is there and reaches the node, else the class makes one

`Claims.settle` then writes the choice down, on the volume or on the claim, and waits until everything is bound: only
then may the pod be. Source: Kubernetes documentation, "Storage Classes: Volume binding mode".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from parkube.kubeapi.claims import (
    BOUND_BY_CONTROLLER,
    NO_PROVISIONER,
    SELECTED_NODE,
    ClaimInfo,
    ClassInfo,
    VolumeInfo,
    allowed,
    best,
    reaches,
    volume_info,
)
from parkube.kubeapi.client import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, Client
from parkube.kubeapi.compact import NodeInfo, PodInfo
from parkube.kubeapi.errors import Conflict, Obj
from parkube.kubeapi.informer import Informer
from parkube.kubeapi.objects import annotations_of

ELSEWHERE = "node(s) didn't match PersistentVolume's node affinity"
NOTHING_THERE = "node(s) didn't find available persistent volumes to bind"
IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"
ALONE = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
_PATIENCE_S = 600.0


class Shared(Protocol):
    """The informers that this is decided on."""

    @property
    def claims(self) -> Informer[ClaimInfo]: ...

    @property
    def volumes(self) -> Informer[VolumeInfo]: ...

    @property
    def classes(self) -> Informer[ClassInfo]: ...


class Choice(NamedTuple):
    """What a late claim gets on a node: a volume that is there, or (None) one that is to be made."""

    claim: ClaimInfo
    volume: VolumeInfo | None


class Verdict:
    """One pod's claims, looked at once. `unready` tells why no node will do; `others` are pods that stand somewhere."""

    def __init__(self, pod: PodInfo, shared: Shared, others: Iterable[PodInfo] = ()) -> None:
        self._shared = shared
        self._bound: list[VolumeInfo] = []
        self._late: list[tuple[ClaimInfo, ClassInfo]] = []
        self.unready = next((why for name in pod.claims if (why := self._add(pod, name))), "")
        alone = [name for name in pod.claims if "ReadWriteOncePod" in self._access(pod, name)]
        if not self.unready and alone:
            rivals = (p for p in others if p.namespace == pod.namespace and p.key != pod.key and not p.finished)
            if any(not set(alone).isdisjoint(p.claims) for p in rivals):
                self.unready = ALONE

    def _access(self, pod: PodInfo, name: str) -> tuple[str, ...]:
        claim = self._shared.claims.get(f"{pod.namespace}/{name}")
        return claim.access if claim is not None else ()

    def _add(self, pod: PodInfo, name: str) -> str:
        claim = self._shared.claims.get(f"{pod.namespace}/{name}")
        if claim is None:
            if name in pod.ephemeral:
                return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
            return f'persistentvolumeclaim "{name}" not found'
        if claim.phase == "Lost":
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.volume}"'
        if claim.deleting:
            return f'persistentvolumeclaim "{name}" is being deleted'
        if name in pod.ephemeral and all(owner.uid != pod.uid for owner in claim.owners):
            return f"PVC {claim.key} was not created for pod {pod.key} (pod is not owner)"
        if claim.bound:
            volume = self._shared.volumes.get(claim.volume)
            if volume is None:
                return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.volume}"'
            self._bound.append(volume)
            return ""
        klass = self._shared.classes.get(claim.storage_class) if claim.storage_class else None
        if klass is None or not klass.late or claim.volume:
            return IMMEDIATE
        self._late.append((claim, klass))
        return ""

    def reason(self, node: NodeInfo) -> str:
        """Why the pod may not stand there; "" when it may."""
        if any(not reaches(volume, node) for volume in self._bound):
            return ELSEWHERE
        return "" if self.choices(node) is not None else NOTHING_THERE

    def choices(self, node: NodeInfo) -> list[Choice] | None:
        """What each late claim would get on that node, the smallest claims first; None where one gets nothing."""
        taken: set[str] = set()
        found = []
        for claim, klass in sorted(self._late, key=lambda pair: pair[0].size):
            if claim.node and claim.node != node.name:
                return None  # its volume is being made for another
            volume = best(claim, (v for _, v in self._shared.volumes.items() if v.name not in taken), node)
            if volume is None and (klass.provisioner == NO_PROVISIONER or not allowed(klass, node)):
                return None
            if volume is not None:
                taken.add(volume.name)
            found.append(Choice(claim, volume))
        return found


class Claims:
    """Writes down what was chosen for a pod, and waits for the binding."""

    def __init__(self, client: Client, shared: Shared) -> None:
        self._client, self._shared = client, shared

    def verdict(self, pod: PodInfo, others: Iterable[PodInfo] = ()) -> Verdict:
        """What its claims say of its place."""
        return Verdict(pod, self._shared, others)

    async def settle(self, pod: PodInfo, node: NodeInfo) -> None:
        """Raises Conflict where the choice does not hold any more, or is not carried out for ten minutes."""
        if not pod.claims:
            return
        verdict = self.verdict(pod)
        choices = verdict.choices(node)
        if verdict.unready or choices is None or verdict.reason(node):
            raise Conflict(verdict.unready or verdict.reason(node) or NOTHING_THERE)
        for claim, volume in choices:
            if volume is None:
                await self._select(claim, node.name)
            elif volume.claim is None:
                await self._reserve(claim, volume)
        await self._bound(pod, {choice.claim.name for choice in choices if choice.volume is None}, node.name)

    async def _select(self, claim: ClaimInfo, node: str) -> None:
        obj = await self._client.get(PERSISTENTVOLUMECLAIMS, claim.name, claim.namespace)
        notes = annotations_of(obj)
        if notes.get(SELECTED_NODE, node) != node:
            raise Conflict(f"the volume of {claim.key} is being made for node {notes[SELECTED_NODE]}")
        if SELECTED_NODE not in notes:
            metadata = {**obj["metadata"], "annotations": {**notes, SELECTED_NODE: node}}
            await self._client.update(PERSISTENTVOLUMECLAIMS, {**obj, "metadata": metadata})

    async def _reserve(self, claim: ClaimInfo, volume: VolumeInfo) -> None:
        obj = await self._client.get(PERSISTENTVOLUMES, volume.name)
        if volume_info(obj).claim is not None:
            raise Conflict(f"volume {volume.name} was taken meanwhile")
        ref: Obj = {
            "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": claim.namespace, "name": claim.name,
            "uid": claim.uid,
        }  # fmt: skip
        metadata = {**obj["metadata"], "annotations": {**annotations_of(obj), BOUND_BY_CONTROLLER: "yes"}}
        await self._client.update(
            PERSISTENTVOLUMES, {**obj, "metadata": metadata, "spec": {**obj["spec"], "claimRef": ref}}
        )

    async def _bound(self, pod: PodInfo, asked: set[str], node: str) -> None:
        """Wait until every claim is bound; a provisioner that gives up takes the selected node off the claim."""
        moved, seen = asyncio.Event(), set[str]()
        stop = self._shared.claims.subscribe(lambda *_: moved.set())
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    moved.clear()
                    claims = [self._shared.claims.get(f"{pod.namespace}/{name}") for name in pod.claims]
                    if any(claim is None or claim.deleting for claim in claims):
                        raise Conflict("a claim of the pod is gone")
                    waiting = [claim for claim in claims if claim is not None and not claim.bound]
                    if not waiting:
                        return
                    for claim in waiting:
                        if claim.node == node:
                            seen.add(claim.name)
                        elif claim.name in asked & seen:
                            raise Conflict(f"no volume could be made for {claim.key} on node {node}")
                    await moved.wait()
        except TimeoutError:
            raise Conflict(f"the claims of the pod were not bound within {_PATIENCE_S:.0f} s") from None
        finally:
            stop()
