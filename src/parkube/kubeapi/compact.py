"""What informers keep of pods and nodes: small, interned projections in place of object trees.

10,000 pods as dicts are 234 MiB; the controllers and the scheduler need twenty fields of them, and what pods of one
template have in common (`PodShape`, labels) is held once for all. Not for the API's own cache, and not a mirror of
the API's types: whoever needs the rest of an object reads it from the API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import orjson

from parkube.kubeapi.errors import Obj
from parkube.kubeapi.placement import Taint, Toleration, taints_of, tolerations_of
from parkube.kubeapi.quantities import bytes_of, cpu_millis

DEFAULT_CPU_MILLIS, DEFAULT_MEMORY_BYTES = 100, 200 * 1024 * 1024  # what scoring assumes where nothing is requested


class Labels(dict[str, str]):
    """A label map shared by every object that carries the same labels: never change one."""

    __slots__ = ("__weakref__",)


_LabelKey = tuple[tuple[str, str], ...]
_labels: WeakValueDictionary[_LabelKey, Labels] = WeakValueDictionary()


def shared_labels(labels: Mapping[str, str] | None) -> Labels:
    """The one `Labels` with this content."""
    key = tuple(sorted((labels or {}).items()))
    found = _labels.get(key)
    if found is None:
        found = _labels[key] = Labels(key)
    return found


def epoch(timestamp: str | None) -> float:
    """Seconds since 1970 of an RFC 3339 time; 0 where there is none or it cannot be read."""
    if not timestamp:
        return 0.0
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return 0.0


class Owner(NamedTuple):
    """One owner reference."""

    uid: str
    kind: str
    name: str
    api_version: str
    controller: bool = False
    blocks: bool = False  # blockOwnerDeletion


def owners_of(metadata: Obj) -> tuple[Owner, ...]:
    """The owner references in an object's metadata."""
    references = metadata.get("ownerReferences")
    if not references:
        return ()
    return tuple(
        Owner(
            r.get("uid", ""),
            r.get("kind", ""),
            r.get("name", ""),
            r.get("apiVersion", ""),
            bool(r.get("controller")),
            bool(r.get("blockOwnerDeletion")),
        )
        for r in references
    )


@dataclass(slots=True, weakref_slot=True, eq=False)
class PodShape:
    """What pods of one template ask of a node; one object for all of them, compared by identity."""

    node_selector: dict[str, str]
    node_affinity: Obj | None  # without the pin that DaemonSet pods carry
    tolerations: tuple[Toleration, ...]
    requests: dict[str, int]  # cpu in millicores, memory and storage in bytes, the rest in units
    weight: tuple[int, int]  # cpu and memory that scoring counts
    host_ports: tuple[tuple[str, str, int], ...]  # protocol, address, port
    ports: dict[str, tuple[int, str]]  # named container ports -> number, protocol
    scheduler: str
    gated: bool
    host_network: bool
    pod_terms: Obj | None  # podAffinity and podAntiAffinity, when there are any
    spread: tuple[Obj, ...]  # topologySpreadConstraints
    priority: int
    preempts: bool  # whether it may take the place of pods of lower priority


_shapes: WeakValueDictionary[bytes, PodShape] = WeakValueDictionary()


def amount(resource: str, quantity: Any) -> int:
    """A quantity in the unit that requests are counted in; 0 for what is none, which the API should have refused."""
    try:
        return cpu_millis(str(quantity)) if resource == "cpu" else bytes_of(str(quantity))
    except ValueError:
        return 0


def _cost(metadata: Obj) -> int:
    try:
        return int((metadata.get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost") or 0)
    except ValueError:
        return 0


def _requests(spec: Obj) -> dict[str, int]:
    total: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}

    def wants(container: Obj) -> dict[str, int]:
        resources = container.get("resources") or {}
        asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        return {name: amount(name, quantity) for name, quantity in asked.items()}

    for container in spec.get("containers") or ():
        for name, value in wants(container).items():
            total[name] = total.get(name, 0) + value
    for container in spec.get("initContainers") or ():
        asked = wants(container)
        if container.get("restartPolicy") == "Always":
            for name, value in asked.items():
                sidecars[name] = sidecars.get(name, 0) + value
            asked = {}
        for name in {*asked, *sidecars}:
            peak[name] = max(peak.get(name, 0), asked.get(name, 0) + sidecars.get(name, 0))
    for name, value in sidecars.items():
        total[name] = total.get(name, 0) + value
    for name, value in peak.items():
        total[name] = max(total.get(name, 0), value)
    for name, quantity in (spec.get("overhead") or {}).items():
        total[name] = total.get(name, 0) + amount(name, quantity)
    return {name: value for name, value in total.items() if value}


def _unpin(affinity: Obj | None) -> tuple[Obj | None, str]:
    """Node affinity without the `metadata.name` field that all its terms share, and that name."""
    required: Obj = (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms: list[Obj] = required.get("nodeSelectorTerms") or []
    name, rest = "", []
    for term in terms:
        fields: list[Obj] = term.get("matchFields") or []
        if len(fields) != 1 or fields[0].get("key") != "metadata.name" or fields[0].get("operator") != "In":
            return affinity, ""
        values: list[str] = fields[0].get("values") or []
        if len(values) != 1 or (name and name != values[0]):
            return affinity, ""
        name = values[0]
        if term.get("matchExpressions"):
            rest.append({"matchExpressions": term["matchExpressions"]})
    if not name or affinity is None:
        return affinity, ""
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    left = {k: v for k, v in affinity.items() if k != key}
    if rest and len(rest) == len(terms):
        left[key] = {"nodeSelectorTerms": rest}
    return left or None, name


def shape_of(spec: Obj) -> tuple[PodShape, str]:
    """The shared shape of a PodSpec, and the node to which its affinity pins it ("" for none)."""
    affinity = spec.get("affinity") or {}
    node_affinity, pin = _unpin(affinity.get("nodeAffinity"))
    pod_terms = {k: v for k, v in affinity.items() if k in ("podAffinity", "podAntiAffinity") and v}
    containers = [
        (c.get("resources"), c.get("ports"), c.get("restartPolicy"))
        for c in (*(spec.get("containers") or ()), None, *(spec.get("initContainers") or ()))
        if c is not None
    ]
    key = orjson.dumps(
        [
            spec.get("nodeSelector"),
            node_affinity,
            pod_terms,
            spec.get("tolerations"),
            containers,
            len(spec.get("containers") or ()),
            spec.get("overhead"),
            spec.get("schedulerName"),
            bool(spec.get("schedulingGates")),
            spec.get("hostNetwork"),
            spec.get("topologySpreadConstraints"),
            spec.get("priority"),
            spec.get("preemptionPolicy"),
        ]
    )
    shape = _shapes.get(key)
    if shape is None:
        shape = _shapes[key] = _new_shape(spec, node_affinity, pod_terms)
    return shape, pin


def _new_shape(spec: Obj, node_affinity: Obj | None, pod_terms: Obj) -> PodShape:
    requests = _requests(spec)
    ports = [p for c in spec.get("containers") or () for p in c.get("ports") or ()]
    return PodShape(
        node_selector=dict(spec.get("nodeSelector") or {}),
        node_affinity=node_affinity,
        tolerations=tolerations_of(spec),
        requests=requests,
        weight=(requests.get("cpu") or DEFAULT_CPU_MILLIS, requests.get("memory") or DEFAULT_MEMORY_BYTES),
        host_ports=tuple(
            (p.get("protocol") or "TCP", p.get("hostIP") or "0.0.0.0", int(p["hostPort"]))
            for p in ports
            if p.get("hostPort")
        ),
        ports={p["name"]: (int(p["containerPort"]), p.get("protocol") or "TCP") for p in ports if p.get("name")},
        scheduler=spec.get("schedulerName") or "default-scheduler",
        gated=bool(spec.get("schedulingGates")),
        host_network=bool(spec.get("hostNetwork")),
        pod_terms=pod_terms or None,
        spread=tuple(spec.get("topologySpreadConstraints") or ()),
        priority=int(spec.get("priority") or 0),
        preempts=spec.get("preemptionPolicy") != "Never",
    )


def _as_resized(spec: Obj, status: Obj) -> Obj:
    """A PodSpec whose containers ask for the most of what is asked for and what the node still gives them.

    Source: KEP-1287, in-place resize: until the node has made it smaller, a container counts as it was.
    """
    given = {
        s.get("name"): (s.get("resources") or {}).get("requests") or s.get("allocatedResources")
        for key in ("containerStatuses", "initContainerStatuses") for s in status.get(key) or ()
    }  # fmt: skip
    changed: Obj = {}
    for key in ("containers", "initContainers"):
        whole = []
        for container in spec.get(key) or ():
            resources = container.get("resources") or {}
            asked, actual = resources.get("requests") or {}, given.get(container.get("name")) or {}
            larger = {n: q for n, q in actual.items() if n in asked and amount(n, q) > amount(n, asked[n])}
            whole.append({**container, "resources": {**resources, "requests": {**asked, **larger}}} if larger else None)
        if any(whole):
            changed[key] = [new or old for new, old in zip(whole, spec[key], strict=True)]
    return {**spec, **changed} if changed else spec


class PodInfo(NamedTuple):
    """A pod, for everyone who does not run it."""

    namespace: str
    name: str
    uid: str
    labels: Labels
    owners: tuple[Owner, ...]
    node: str
    pin: str  # the one node its affinity allows (DaemonSet pods)
    phase: str
    ready: bool
    ready_at: float  # when Ready last changed, s since 1970
    created: float
    deleting: float  # deletionTimestamp, s since 1970; 0: not deleting
    finalizers: tuple[str, ...]
    ips: tuple[str, ...]
    restarts: int
    subdomain: str
    hostname: str
    deletion_cost: int
    shape: PodShape
    claims: tuple[str, ...] = ()  # of its namespace, those of its ephemeral volumes included
    ephemeral: tuple[str, ...] = ()  # the claims that are made for it
    nominated: str = ""  # the node that is being cleared for it
    started: float = 0.0  # status.startTime, s since 1970

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def controller(self) -> Owner | None:
        """The owner that manages it."""
        for owner in self.owners:
            if owner.controller:
                return owner
        return None

    @property
    def finished(self) -> bool:
        """Whether it will never run again."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def active(self) -> bool:
        """Whether it counts as a replica."""
        return not self.deleting and self.phase not in ("Succeeded", "Failed")


def _claims(pod: str, volumes: Sequence[Obj]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The claims that a pod's volumes name, and those that are made for it (API reference, EphemeralVolumeSource)."""
    named = tuple(v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim"))
    made = tuple(f"{pod}-{v['name']}" for v in volumes if v.get("ephemeral"))
    return named + made, made


def pod_info(obj: Obj) -> PodInfo:
    """The projection of a Pod."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    shape, pin = shape_of(_as_resized(spec, status))
    ready, ready_at = False, 0.0
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready":
            ready, ready_at = condition.get("status") == "True", epoch(condition.get("lastTransitionTime"))
    ips = tuple(ip["ip"] for ip in status.get("podIPs") or () if ip.get("ip")) or tuple(
        ip for ip in (status.get("podIP"),) if ip
    )
    deleted = metadata.get("deletionTimestamp")
    named, made = _claims(metadata["name"], spec.get("volumes") or ())
    return PodInfo(
        metadata.get("namespace", ""),
        metadata["name"],
        metadata.get("uid", ""),
        shared_labels(metadata.get("labels")),
        owners_of(metadata),
        spec.get("nodeName") or "",
        pin,
        status.get("phase") or "Pending",
        ready,
        ready_at,
        epoch(metadata.get("creationTimestamp")),
        (epoch(deleted) or 1.0) if deleted else 0.0,
        tuple(metadata.get("finalizers") or ()),
        ips,
        sum(c.get("restartCount", 0) for c in status.get("containerStatuses") or ()),
        spec.get("subdomain") or "",
        spec.get("hostname") or "",
        _cost(metadata),
        shape,
        claims=named,
        ephemeral=made,
        nominated=status.get("nominatedNodeName") or "",
        started=epoch(status.get("startTime")),
    )


class NodeInfo(NamedTuple):
    """A node, for placement and for its lifecycle. Heartbeat times are left out on purpose: they change nothing."""

    name: str
    uid: str
    labels: dict[str, str]
    taints: tuple[Taint, ...]
    unschedulable: bool
    allocatable: dict[str, int]
    ready: str  # True, False, Unknown, or "" when never reported
    ready_reason: str
    conditions: tuple[tuple[str, str], ...]  # (type, status) of the others
    created: float
    deleting: bool
    pod_cidr: str


def node_info(obj: Obj) -> NodeInfo:
    """The projection of a Node."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    ready, reason, others = "", "", []
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready":
            ready, reason = condition.get("status", ""), condition.get("reason", "")
        else:
            others.append((condition.get("type", ""), condition.get("status", "")))
    return NodeInfo(
        metadata["name"],
        metadata.get("uid", ""),
        metadata.get("labels") or {},
        taints_of(obj),
        bool(spec.get("unschedulable")),
        {name: amount(name, quantity) for name, quantity in (status.get("allocatable") or {}).items()},
        ready,
        reason,
        tuple(others),
        epoch(metadata.get("creationTimestamp")),
        bool(metadata.get("deletionTimestamp")),
        spec.get("podCIDR") or "",
    )


def available(pod: PodInfo, min_ready_seconds: int, now: float) -> bool:
    """Whether the pod has been ready long enough."""
    return pod.ready and (min_ready_seconds <= 0 or pod.ready_at + min_ready_seconds <= now)


def ready_first(pods: Sequence[PodInfo]) -> list[PodInfo]:
    """Pods in the order in which they should be kept: the last of the list goes first when replicas go down.

    Source: the ReplicaSet controller's published order: unassigned, then not running, not ready, lower deletion cost,
    more pods of this set on the node, ready for less time, more restarts, younger.
    """
    crowd: dict[str, int] = {}
    for pod in pods:
        crowd[pod.node] = crowd.get(pod.node, 0) + 1
    phases = {"Running": 0, "Unknown": 1}
    return sorted(
        pods,
        key=lambda p: (
            not p.node,
            phases.get(p.phase, 2),
            not p.ready,
            -p.deletion_cost,
            crowd[p.node] if p.node else 0,
            p.ready_at,
            p.restarts,
            p.created,
            p.name,
        ),
    )
