"""How an object goes: preconditions, grace, finalizers, propagation policy. It only decides; the
registry carries it out.

    living --delete, grace--> terminating --grace over (delete with grace 0)--> finalizing? --> gone
       \\--delete, finalizers--> finalizing --last finalizer removed--> gone
       \\--delete--> gone

terminating and finalizing carry `deletionTimestamp`; finalizing has grace 0 (or none) and finalizers left, or lingers
by its strategy. Source: Kubernetes documentation, "Garbage Collection", "Finalizers", "Termination of Pods".
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import BadRequest, Obj, conflict
from parkube.kubeapi.objects import parse_rfc3339, rfc3339

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_POLICIES = ("Foreground", "Background", "Orphan")


class Verdict(Enum):
    """What is to be done with the object after `mark`."""

    GONE = "remove it"
    CHANGED = "write it as it is now"
    SAME = "nothing; it is on its way already"


def check_options(options: Obj) -> None:
    """Raises BadRequest for options that contradict themselves."""
    policy, orphan = options.get("propagationPolicy"), options.get("orphanDependents")
    if policy is not None and orphan is not None:
        raise BadRequest("orphanDependents and deletionPropagation cannot be both set")
    if policy is not None and policy not in _POLICIES:
        raise BadRequest(f'invalid propagationPolicy "{policy}": must be Foreground, Background or Orphan')
    grace = options.get("gracePeriodSeconds")
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise BadRequest("gracePeriodSeconds must be an integer")


def check_preconditions(obj: Obj, options: Obj, row: Resource) -> None:
    """Raises Conflict when the object is not the one that was meant."""
    wanted = options.get("preconditions") or {}
    metadata, name = obj["metadata"], obj["metadata"]["name"]
    for field, words in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(field) is not None and wanted[field] != metadata.get(field):
            why = (
                f"Precondition failed: {words} in precondition: {wanted[field]}, {words} in object meta: "
                f"{metadata.get(field)}"
            )
            raise conflict(row.gvr.resource, row.gvr.group, name, why)


def mark(obj: Obj, options: Obj, row: Resource, now: float) -> Verdict:
    """Change `obj` as its deletion demands, and say what is to be done with it."""
    metadata: Obj = obj["metadata"]
    grace = row.strategy.graceful_delete(obj, options)
    before: tuple[Any, ...] = _state(metadata)
    deleting = metadata.get("deletionTimestamp")
    if grace is not None and grace > 0 and not (deleting and not metadata.get("deletionGracePeriodSeconds")):
        _shorten_grace(metadata, grace, now)
        _apply_policy(metadata, options)
        return Verdict.CHANGED if _state(metadata) != before else Verdict.SAME
    _apply_policy(metadata, options)
    lingers = row.strategy.linger(obj)
    if not metadata.get("finalizers") and not lingers:
        return Verdict.GONE
    if not deleting:
        metadata["deletionTimestamp"] = rfc3339(now)
        _bump(metadata)
    metadata["deletionGracePeriodSeconds"] = 0
    return Verdict.CHANGED if _state(metadata) != before else Verdict.SAME


def gone_by_update(obj: Obj, row: Resource) -> bool:
    """Whether an update let go of the last thing that kept a deleted object."""
    metadata = obj["metadata"]
    return bool(
        metadata.get("deletionTimestamp")
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not row.strategy.linger(obj)
    )


def _state(metadata: Obj) -> tuple[Any, ...]:
    return (
        metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds"),
        tuple(metadata.get("finalizers") or ()),
    )  # fmt: skip


def _shorten_grace(metadata: Obj, grace: int, now: float) -> None:
    """Begin termination, or make what is left of it shorter; it is never made longer."""
    current = metadata.get("deletionGracePeriodSeconds")
    if not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = rfc3339(now + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        _bump(metadata)
    elif current is not None and grace < current:
        end = parse_rfc3339(metadata["deletionTimestamp"]) - current + grace
        metadata["deletionTimestamp"] = rfc3339(max(end, now))
        metadata["deletionGracePeriodSeconds"] = grace


def _bump(metadata: Obj) -> None:
    if metadata.get("generation"):
        metadata["generation"] += 1


def _apply_policy(metadata: Obj, options: Obj) -> None:
    """The garbage collector's finalizers, by propagation policy; without one they stay as they are."""
    policy = options.get("propagationPolicy")
    if policy is None and options.get("orphanDependents") is not None:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    if policy is None:
        return
    kept = [item for item in metadata.get("finalizers") or () if item not in (FOREGROUND, ORPHAN)]
    if policy != "Background":
        kept.append(FOREGROUND if policy == "Foreground" else ORPHAN)
    if kept:
        metadata["finalizers"] = kept
    else:
        metadata.pop("finalizers", None)
