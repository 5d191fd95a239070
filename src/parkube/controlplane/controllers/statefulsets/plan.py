"""What to do next for a StatefulSet, from what is wanted and the pods there are. Pure; knows no claims.

    slots   start … start+replicas-1, made in order
    beyond  every other number, taken away from the highest down
    update  a pod of another revision goes, from the highest slot down to the partition, once all above are available

With `OrderedReady` one step waits for the one before; with `Parallel` making and taking away do not wait.
Source: Kubernetes documentation, "StatefulSets"; API reference, StatefulSetSpec.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from parkube.controlplane.controllers.history import HASH_LABEL
from parkube.kubeapi.compact import PodInfo, available
from parkube.kubeapi.errors import Obj


@dataclass(frozen=True, slots=True)
class Wanted:
    """A StatefulSet's spec, as far as its pods are concerned. Revisions are names of ControllerRevisions."""

    name: str
    replicas: int
    start: int
    ordered: bool
    on_delete: bool
    partition: int
    at_once: int  # how many pods an update may take away at a time
    min_ready_s: int
    current: str
    update: str

    @property
    def end(self) -> int:
        """The number after the last slot."""
        return self.start + self.replicas


def wanted(obj: Obj, current: str, update: str) -> Wanted:
    """Read it from the object."""
    spec = obj["spec"]
    replicas = int(spec.get("replicas", 1))
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    return Wanted(
        obj["metadata"]["name"], replicas, int((spec.get("ordinals") or {}).get("start", 0)),
        spec.get("podManagementPolicy", "OrderedReady") != "Parallel", strategy.get("type") == "OnDelete",
        int(rolling.get("partition") or 0), _share(rolling.get("maxUnavailable"), replicas),
        int(spec.get("minReadySeconds") or 0), current, update,
    )  # fmt: skip


def _share(value: Any, total: int) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return max(1, ceil(total * int(value[:-1]) / 100))
    return max(1, int(value or 1))


@dataclass(slots=True)
class Step:
    """What to make, as (number, revision), and whom to delete."""

    create: list[tuple[int, str]] = field(default_factory=list)
    delete: list[PodInfo] = field(default_factory=list)


def ordinal_of(name: str, pod: str) -> int:
    """The number of a pod of the set `name`; -1 where it is none of its names."""
    parent, _, number = pod.rpartition("-")
    return int(number) if parent == name and number.isdigit() and str(int(number)) == number else -1


def revision_of(pod: PodInfo) -> str:
    """The revision that the pod was made of."""
    return pod.labels.get(HASH_LABEL, "")


def healthy(pod: PodInfo, want: Wanted, now: float) -> bool:
    """Running, ready for long enough and not on its way out."""
    return pod.phase == "Running" and not pod.deleting and available(pod, want.min_ready_s, now)


def plan(want: Wanted, pods: Iterable[PodInfo], now: float) -> Step:
    """The next step; empty where there is nothing to do but wait."""
    by_number = {ordinal_of(want.name, pod.name): pod for pod in pods}
    by_number.pop(-1, None)
    step = Step()
    if not _fill(want, by_number, step, now):
        return step
    if not _trim(want, by_number, step, now):
        return step
    if not want.on_delete:
        _renew(want, by_number, step, now)
    return step


def _revision_for(want: Wanted, number: int) -> str:
    if not want.on_delete and number < want.start + want.partition:
        return want.current
    return want.update


def _fill(want: Wanted, pods: dict[int, PodInfo], step: Step, now: float) -> bool:
    """Slots in order; False where an ordered set has to wait."""
    for number in range(want.start, want.end):
        pod = pods.get(number)
        if pod is None:
            step.create.append((number, _revision_for(want, number)))
        elif pod.finished and not pod.deleting:
            step.delete.append(pod)  # it is made anew once it is gone
        elif healthy(pod, want, now):
            continue
        if want.ordered:
            return False
    return True


def _trim(want: Wanted, pods: dict[int, PodInfo], step: Step, now: float) -> bool:
    """Numbers beyond the slots, from the highest; False where an ordered set has to wait."""
    beyond = sorted((n for n in pods if not want.start <= n < want.end), reverse=True)
    unwell = [n for n in sorted(pods) if not healthy(pods[n], want, now)]
    for number in beyond:
        pod = pods[number]
        if not pod.deleting:
            if want.ordered and not healthy(pod, want, now) and unwell[0] != number:
                return False
            step.delete.append(pod)
        if want.ordered:
            return False
    return True


def _renew(want: Wanted, pods: dict[int, PodInfo], step: Step, now: float) -> None:
    """Pods of an old revision, from the highest slot down to the partition."""
    away = 0
    for number in range(want.end - 1, want.start - 1, -1):
        pod = pods.get(number)
        if pod is None or not healthy(pod, want, now):
            away += 1
    for number in range(want.end - 1, want.start + want.partition - 1, -1):
        pod = pods.get(number)
        if pod is None or pod.deleting:
            continue
        if revision_of(pod) != want.update:
            if healthy(pod, want, now):
                if away >= want.at_once:
                    return
                away += 1
            step.delete.append(pod)
        elif not healthy(pod, want, now) and away >= want.at_once:
            return


def counts(want: Wanted, pods: Iterable[PodInfo], now: float) -> Obj:
    """The numbers of the status; where an update is through, its revision is the current one."""
    owned = [pod for pod in pods if ordinal_of(want.name, pod.name) >= 0]
    living = [pod for pod in owned if not pod.deleting and not pod.finished]
    ready = [pod for pod in owned if pod.phase == "Running" and pod.ready and not pod.finished]
    new: Obj = {
        "replicas": len(owned),
        "readyReplicas": len(ready),
        "availableReplicas": sum(available(pod, want.min_ready_s, now) for pod in ready),
        "currentReplicas": sum(revision_of(pod) == want.current for pod in living),
        "updatedReplicas": sum(revision_of(pod) == want.update for pod in living),
        "currentRevision": want.current,
        "updateRevision": want.update,
    }
    through = new["updatedReplicas"] == new["replicas"] == new["readyReplicas"] == want.replicas
    if through and not want.on_delete and want.current != want.update:
        new["currentReplicas"], new["currentRevision"] = new["updatedReplicas"], want.update
    return {k: v for k, v in new.items() if v or k in ("replicas", "availableReplicas")}
