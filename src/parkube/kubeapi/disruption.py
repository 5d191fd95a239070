"""How a pod says that the cluster, not its own program, ends it: the condition DisruptionTarget. Pure.

Source: KEP-3329; Kubernetes documentation, "Disruptions", pod disruption conditions.
"""

from __future__ import annotations

from parkube.kubeapi.errors import Obj

DISRUPTION_TARGET = "DisruptionTarget"

BY_EVICTION, BY_SCHEDULER = "EvictionByEvictionAPI", "PreemptionByScheduler"
BY_TAINT, BY_POD_GC = "DeletionByTaintManager", "DeletionByPodGC"


def disruption_target(reason: str, message: str, now: str) -> Obj:
    """The condition; `now` in RFC 3339."""
    return {
        "type": DISRUPTION_TARGET, "status": "True", "reason": reason, "message": message, "lastProbeTime": None,
        "lastTransitionTime": now,
    }  # fmt: skip
