"""A Job's pod: the tracking finalizer, and where pods have an index, its name, label and variable. Pure."""

from __future__ import annotations

from parkube.controlplane.controllers.jobs.plan import FINALIZER, INDEX, INDEX_FAILURES
from parkube.controlplane.controllers.pods import pod_from
from parkube.kubeapi.errors import Obj

_LONGEST_NAME = 63


def pod_of(job: Obj, index: int, failures: int) -> Obj:
    """A pod of the job's template; `index` -1: none. `failures`: how often its index has failed."""
    pod = pod_from(job, job["spec"]["template"])
    m, spec = pod["metadata"], pod["spec"]
    m["finalizers"] = [*(m.get("finalizers") or ()), FINALIZER]
    if index < 0:
        return pod
    name = job["metadata"]["name"]
    m["generateName"] = f"{name}-{index}-"
    m["labels"] = {**(m.get("labels") or {}), INDEX: str(index)}
    m["annotations"] = {**(m.get("annotations") or {}), INDEX: str(index)}
    if job["spec"].get("backoffLimitPerIndex") is not None:
        m["annotations"][INDEX_FAILURES] = str(failures)
    spec.setdefault("hostname", f"{name[: _LONGEST_NAME - len(str(index)) - 1]}-{index}")
    variable = {
        "name": "JOB_COMPLETION_INDEX",
        "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}},
    }
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        given = container.get("env") or []
        if all(entry.get("name") != variable["name"] for entry in given):
            container["env"] = [*given, variable]
    return pod
