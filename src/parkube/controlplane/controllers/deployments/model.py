"""What the deployment controller needs to know of a Deployment and of its ReplicaSets, and how templates are compared.

Pure. A ReplicaSet is kept as numbers and a digest of its template, never as an object.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, NamedTuple

import orjson

from parkube.kubeapi.compact import Labels, Owner, epoch, owners_of, shared_labels
from parkube.kubeapi.errors import Obj

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
ROLLBACK_TO = "deprecated.deployment.rollback.to"
OWN_ANNOTATIONS = frozenset(
    {REVISION, REVISION_HISTORY, DESIRED, MAX, ROLLBACK_TO, "kubectl.kubernetes.io/last-applied-configuration"}
)
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, so that no words come out
_NO_DEADLINE = 2**31 - 1


def _clean(value: Any) -> Any:
    """Without nulls and empty maps, which say the same as absence."""
    if isinstance(value, dict):
        out = {k: _clean(v) for k, v in value.items() if v is not None}
        return {k: v for k, v in out.items() if v != {} or k == "emptyDir"}
    return [_clean(v) for v in value] if isinstance(value, list) else value


def template_digest(template: Obj) -> bytes:
    """What two pod templates share when they make the same pods; the hash label does not count."""
    metadata = dict(template.get("metadata") or {})
    metadata.pop("creationTimestamp", None)
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    plain = _clean({**template, "metadata": {**metadata, "labels": labels}})
    return hashlib.sha1(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS), usedforsecurity=False).digest()


def safe_hash(data: bytes, collisions: int = 0) -> str:
    """A short name part made from `data`: FNV-1a, in letters and digits that spell no words."""
    value = 0x811C9DC5
    for byte in data + (str(collisions).encode() if collisions else b""):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return "".join(_ALPHABET[ord(c) % len(_ALPHABET)] for c in str(value))


class ReplicaSetInfo(NamedTuple):
    """A ReplicaSet, for its Deployment."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    labels: Labels
    owners: tuple[Owner, ...]
    created: float
    deleting: bool
    generation: int
    observed: int  # status.observedGeneration
    replicas: int  # spec
    pods: int  # status.replicas
    ready: int
    available: int
    revision: int  # 0: none
    revision_history: str
    desired: int  # its Deployment's replicas when it was last scaled; -1: unknown
    most: int
    annotations: bytes  # digest of those that are copied from the Deployment
    min_ready: int
    template: bytes  # digest
    failure: tuple[str, str, str]  # status, reason, message of ReplicaFailure
    selector: bytes  # as JSON

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def controller(self) -> str:
        """The uid of the owner that manages it."""
        return next((o.uid for o in self.owners if o.controller), "")


def _int(value: Any, default: int = 0) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


def copied_annotations(annotations: Obj | None) -> Obj:
    """The annotations that a Deployment hands on to its newest ReplicaSet."""
    return {k: v for k, v in (annotations or {}).items() if k not in OWN_ANNOTATIONS}


def annotations_digest(annotations: Obj | None) -> bytes:
    """Tells whether the copied annotations differ."""
    plain = orjson.dumps(copied_annotations(annotations), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha1(plain, usedforsecurity=False).digest()


def replicaset_info(obj: Obj) -> ReplicaSetInfo:
    """The projection of a ReplicaSet."""
    m, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    notes = m.get("annotations") or {}
    failure = ("", "", "")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "ReplicaFailure":
            failure = (condition.get("status", ""), condition.get("reason", ""), condition.get("message", ""))
    return ReplicaSetInfo(
        m.get("namespace", ""),
        m["name"],
        m.get("uid", ""),
        m.get("resourceVersion", ""),
        shared_labels(m.get("labels")),
        owners_of(m),
        epoch(m.get("creationTimestamp")),
        bool(m.get("deletionTimestamp")),
        _int(m.get("generation")),
        _int(status.get("observedGeneration")),
        _int(spec.get("replicas"), 1),
        _int(status.get("replicas")),
        _int(status.get("readyReplicas")),
        _int(status.get("availableReplicas")),
        _int(notes.get(REVISION)),
        notes.get(REVISION_HISTORY, ""),
        _int(notes.get(DESIRED), -1),
        _int(notes.get(MAX), -1),
        annotations_digest(notes),
        _int(spec.get("minReadySeconds")),
        template_digest(spec.get("template") or {}),
        failure,
        orjson.dumps(spec.get("selector")),
    )


def _share(value: Any, total: int, round_up: bool) -> int:
    """An IntOrString: a number, or a percentage of `total`."""
    if isinstance(value, str) and value.endswith("%"):
        exact = _int(value[:-1]) * total / 100
        return ceil(exact) if round_up else floor(exact)
    return _int(value)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A Deployment's spec with its arithmetic done."""

    replicas: int
    recreate: bool
    surge: int
    unavailable: int
    paused: bool
    history: int
    deadline: int | None  # seconds; None: no deadline
    min_ready: int
    template: bytes
    annotations: bytes
    hash: str

    @property
    def least(self) -> int:
        """How many pods must stay available during an update."""
        return 0 if self.recreate else self.replicas - self.unavailable

    @property
    def most(self) -> int:
        """How many pods there may be at once."""
        return self.replicas + (0 if self.recreate else self.surge)


def wanted(deployment: Obj) -> Wanted:
    """Read a Deployment."""
    spec = deployment.get("spec") or {}
    strategy = spec.get("strategy") or {}
    recreate = strategy.get("type") == "Recreate"
    rolling = strategy.get("rollingUpdate") or {}
    replicas = _int(spec.get("replicas"), 1)
    surge = 0 if recreate else _share(rolling.get("maxSurge", "25%"), replicas, True)
    gone = 0 if recreate else _share(rolling.get("maxUnavailable", "25%"), replicas, False)
    if not recreate and surge == 0 and gone == 0:
        gone = 1  # else nothing could ever move
    deadline = spec.get("progressDeadlineSeconds", 600)
    digest = template_digest(spec.get("template") or {})
    return Wanted(
        replicas=replicas,
        recreate=recreate,
        surge=surge,
        unavailable=min(gone, replicas),
        paused=bool(spec.get("paused")),
        history=_int(spec.get("revisionHistoryLimit"), 10),
        deadline=None if deadline is None or deadline >= _NO_DEADLINE else _int(deadline),
        min_ready=_int(spec.get("minReadySeconds")),
        template=digest,
        annotations=annotations_digest(deployment["metadata"].get("annotations")),
        hash=safe_hash(digest, _int((deployment.get("status") or {}).get("collisionCount"))),
    )
