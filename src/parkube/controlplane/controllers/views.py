"""The informers that controllers and the scheduler share, so that each resource is watched and kept once.

Holds compact projections and indexes over them; decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from parkube.controlplane.controllers.deployments.model import ReplicaSetInfo, replicaset_info
from parkube.kubeapi.claims import ClaimInfo, ClassInfo, VolumeInfo, claim_info, class_info, volume_info
from parkube.kubeapi.client import (
    CRONJOBS,
    CSRS,
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    GVR,
    JOBS,
    LEASES,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    SERVICES,
    STATEFULSETS,
    STORAGECLASSES,
    Client,
)
from parkube.kubeapi.compact import (
    Labels,
    NodeInfo,
    Owner,
    PodInfo,
    epoch,
    node_info,
    owners_of,
    pod_info,
    shared_labels,
)
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.informer import Informer
from parkube.kubeapi.selectors import LabelSelector

log = logging.getLogger(__name__)
CONTROLLERREVISIONS = GVR("apps", "v1", "controllerrevisions")
BUDGETS = GVR("policy", "v1", "poddisruptionbudgets")
LEASE_NAMESPACE = "kube-node-lease"


class Trace(NamedTuple):
    """That an object is there, and whether what its controller reads of it changed; the rest is read when needed."""

    uid: str
    generation: int
    deleting: bool
    notes: int  # hash over labels and annotations
    owners: tuple[Owner, ...]
    selector: bytes  # of what selects pods, as JSON


def trace(obj: Obj) -> Trace:
    """The projection of a Deployment, DaemonSet, ReplicaSet or the like."""
    m = obj["metadata"]
    notes = hash(orjson.dumps([m.get("labels"), m.get("annotations")]))
    given = (obj.get("spec") or {}).get("selector")
    if given and not {"matchLabels", "matchExpressions"} & given.keys():
        given = {"matchLabels": given}  # a ReplicationController's
    selector = orjson.dumps(given)
    return Trace(
        m.get("uid", ""), m.get("generation", 0), bool(m.get("deletionTimestamp")), notes, owners_of(m), selector
    )


def counted(obj: Obj) -> Trace:
    """The projection of what a controller counts for: it looks again when somebody else writes other counts."""
    found = trace(obj)
    return found._replace(notes=hash((found.notes, orjson.dumps(obj.get("status"), option=orjson.OPT_SORT_KEYS))))


class JobInfo(NamedTuple):
    """A Job, for its own controller and for its CronJob."""

    uid: str
    generation: int
    deleting: bool
    owners: tuple[Owner, ...]
    finished: float  # when it completed or failed, s since 1970; 0: it has not
    keep_s: int  # ttlSecondsAfterFinished; -1: for ever
    selector: bytes


def job_info(obj: Obj) -> JobInfo:
    """The projection of a Job."""
    m, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    ends = [c for c in status.get("conditions") or () if c.get("type") in ("Complete", "Failed")]
    at = next((epoch(c.get("lastTransitionTime")) or 1.0 for c in ends if c.get("status") == "True"), 0.0)
    keep = spec.get("ttlSecondsAfterFinished")
    return JobInfo(
        m.get("uid", ""), m.get("generation", 0), bool(m.get("deletionTimestamp")), owners_of(m), at,
        -1 if keep is None else int(keep), orjson.dumps(spec.get("selector")),
    )  # fmt: skip


class ServiceInfo(NamedTuple):
    """A Service, for its endpoints."""

    uid: str
    selector: tuple[tuple[str, str], ...]
    digest: int  # over the spec, labels and annotations
    ips: tuple[str, ...] = ()


def service_info(obj: Obj) -> ServiceInfo:
    """The projection of a Service."""
    m, spec = obj["metadata"], obj.get("spec") or {}
    return ServiceInfo(
        m.get("uid", ""),
        tuple(sorted((spec.get("selector") or {}).items())),
        hash(orjson.dumps([spec, m.get("labels"), m.get("annotations")])),
        tuple(ip for ip in spec.get("clusterIPs") or () if ip != "None") if spec.get("type") != "ExternalName" else (),
    )


class SliceInfo(NamedTuple):
    """An EndpointSlice, for whoever wrote it."""

    service: str
    manager: str


def slice_info(obj: Obj) -> SliceInfo:
    """The projection of an EndpointSlice."""
    labels = obj["metadata"].get("labels") or {}
    return SliceInfo(
        labels.get("kubernetes.io/service-name", ""), labels.get("endpointslice.kubernetes.io/managed-by", "")
    )


class EndpointsInfo(NamedTuple):
    """Endpoints, for their mirror."""

    generated: bool  # by the endpoints controller, which writes slices itself
    digest: int


def endpoints_info(obj: Obj) -> EndpointsInfo:
    """The projection of Endpoints."""
    m = obj["metadata"]
    labels = m.get("labels") or {}
    said = orjson.dumps([obj.get("subsets"), labels, m.get("annotations")])
    return EndpointsInfo("endpoints.kubernetes.io/managed-by" in labels, hash(said))


class NamespaceInfo(NamedTuple):
    """A Namespace, for those that fill and empty it."""

    uid: str
    deleting: bool
    finalizers: tuple[str, ...]  # spec.finalizers
    labels: Labels


def namespace_info(obj: Obj) -> NamespaceInfo:
    """The projection of a Namespace."""
    m = obj["metadata"]
    finalizers = tuple((obj.get("spec") or {}).get("finalizers") or ())
    return NamespaceInfo(m.get("uid", ""), bool(m.get("deletionTimestamp")), finalizers, shared_labels(m.get("labels")))


class BudgetInfo(NamedTuple):
    """A PodDisruptionBudget, for finding whom a pod concerns."""

    namespace: str
    generation: int
    selector: LabelSelector | None
    disrupted: tuple[str, ...]  # pods on their way out by eviction
    allowed: int  # how many pods may be evicted now

    def matches(self, pod: PodInfo) -> bool:
        """Whether the budget protects this pod."""
        return pod.namespace == self.namespace and self.selector is not None and self.selector.matches(pod.labels)


def budget_info(obj: Obj) -> BudgetInfo:
    """The projection of a PodDisruptionBudget."""
    m, selector = obj["metadata"], (obj.get("spec") or {}).get("selector")
    return BudgetInfo(
        m.get("namespace", ""),
        m.get("generation", 0),
        None if selector is None else LabelSelector.from_object(selector),
        tuple(sorted((obj.get("status") or {}).get("disruptedPods") or ())),
        int((obj.get("status") or {}).get("disruptionsAllowed") or 0),
    )


def renewed(lease: Obj) -> str:
    """The projection of a node's Lease: when it was last renewed, as text."""
    return (lease.get("spec") or {}).get("renewTime") or ""


def csr_info(obj: Obj) -> str:
    """The projection of a CertificateSigningRequest: empty while there is something to do."""
    status = obj.get("status") or {}
    kinds = {c.get("type") for c in status.get("conditions") or ()}
    if status.get("certificate") or "Denied" in kinds or "Failed" in kinds:
        return "done"
    return "approved" if "Approved" in kinds else "pending"


class PodIndex:
    """Pods by owner, by node and by namespace; sets of keys into the pod informer."""

    def __init__(self, pods: Informer[PodInfo]) -> None:
        self._pods = pods
        self._by_owner: dict[str, set[str]] = {}
        self._by_node: dict[str, set[str]] = {}
        self._by_namespace: dict[str, set[str]] = {}
        pods.subscribe(self._changed)

    def _changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        if old is not None and new is not None and old.node == new.node and old.owners == new.owners:
            return
        for pod, add in ((old, False), (new, True)):
            if pod is None:
                continue
            owner = pod.controller
            for index, at in (
                (self._by_owner, owner.uid if owner else ""),
                (self._by_node, pod.node),
                (self._by_namespace, pod.namespace),
            ):
                if add:
                    index.setdefault(at, set()).add(key)
                elif at in index:
                    index[at].discard(key)
                    if not index[at]:
                        del index[at]

    def _all(self, keys: Iterable[str]) -> Iterator[PodInfo]:
        for key in keys:
            pod = self._pods.get(key)
            if pod is not None:
                yield pod

    def of_owner(self, uid: str) -> list[PodInfo]:
        """The pods that this controller owns."""
        return list(self._all(self._by_owner.get(uid, ())))

    def of_owner_keys(self, uid: str) -> set[str]:
        """Their keys; read only."""
        return self._by_owner.get(uid, set())

    def on_node(self, name: str) -> list[PodInfo]:
        """The pods bound to this node."""
        return list(self._all(self._by_node.get(name, ())))

    def in_namespace(self, namespace: str) -> list[PodInfo]:
        """All pods of a namespace."""
        return list(self._all(self._by_namespace.get(namespace, ())))

    def nodes(self) -> list[str]:
        """The names of nodes that pods are bound to."""
        return [name for name in self._by_node if name]


class Views:
    """Every informer, once."""

    def __init__(self, client: Client) -> None:
        self.pods: Informer[PodInfo] = Informer(client, PODS, pod_info)
        self.index = PodIndex(self.pods)  # the first to hear, so that whoever hears later finds it current
        self.nodes: Informer[NodeInfo] = Informer(client, NODES, node_info)
        self.leases: Informer[str] = Informer(client, LEASES, renewed, namespace=LEASE_NAMESPACE)
        self.namespaces: Informer[NamespaceInfo] = Informer(client, NAMESPACES, namespace_info)
        self.deployments: Informer[Trace] = Informer(client, DEPLOYMENTS, counted)
        self.replicasets: Informer[ReplicaSetInfo] = Informer(client, REPLICASETS, replicaset_info)
        self.daemonsets: Informer[Trace] = Informer(client, DAEMONSETS, trace)
        self.statefulsets: Informer[Trace] = Informer(client, STATEFULSETS, counted)
        self.replicationcontrollers: Informer[Trace] = Informer(client, REPLICATIONCONTROLLERS, counted)
        self.jobs: Informer[JobInfo] = Informer(client, JOBS, job_info)
        self.cronjobs: Informer[Trace] = Informer(client, CRONJOBS, trace)
        self.services: Informer[ServiceInfo] = Informer(client, SERVICES, service_info)
        self.slices: Informer[SliceInfo] = Informer(client, ENDPOINTSLICES, slice_info)
        self.endpoints: Informer[EndpointsInfo] = Informer(client, ENDPOINTS, endpoints_info)
        self.csrs: Informer[str] = Informer(client, CSRS, csr_info)
        self.budgets: Informer[BudgetInfo] = Informer(client, BUDGETS, budget_info)
        self.claims: Informer[ClaimInfo] = Informer(client, PERSISTENTVOLUMECLAIMS, claim_info)
        self.volumes: Informer[VolumeInfo] = Informer(client, PERSISTENTVOLUMES, volume_info)
        self.classes: Informer[ClassInfo] = Informer(client, STORAGECLASSES, class_info)

    def all(self) -> list[Informer[Any]]:
        """Every informer."""
        return [
            self.pods,
            self.nodes,
            self.leases,
            self.namespaces,
            self.deployments,
            self.replicasets,
            self.daemonsets,
            self.statefulsets,
            self.replicationcontrollers,
            self.jobs,
            self.cronjobs,
            self.services,
            self.slices,
            self.endpoints,
            self.csrs,
            self.budgets,
            self.claims,
            self.volumes,
            self.classes,
        ]

    async def run(self) -> None:
        """Keep them current until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.all():
                group.create_task(_for_ever(informer), name=f"informer {informer.gvr.resource}")

    async def synced(self) -> None:
        """Wait until every first list is in."""
        for informer in self.all():
            await informer.synced()


async def _for_ever(informer: Informer[Any]) -> None:
    """One object that cannot be read must not blind the controllers to everything else."""
    while True:
        try:
            await informer.run()
        except Exception:
            log.exception("the view of %s failed, starting over", informer.gvr.resource)
            await asyncio.sleep(5.0)
