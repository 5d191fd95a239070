"""Reading a pod's spec: small questions with one answer each. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.model import Container, PodObserved

DEFAULT_GRACE_S = 30


def full_name(pod: Obj) -> str:
    """A pod's name, namespace and uid, as messages give them."""
    meta = pod["metadata"]
    return f"{meta['name']}_{meta['namespace']}({meta['uid']})"


def is_terminating(pod: Obj) -> bool:
    """Deletion was asked for."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_terminal(pod: Obj) -> bool:
    """Its phase is final."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def grace_seconds(pod: Obj) -> int:
    """Seconds between TERM and KILL."""
    deletion = pod["metadata"].get("deletionGracePeriodSeconds")
    if deletion is not None:
        return int(deletion)
    return int(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_S))


def restart_policy(pod: Obj) -> str:
    """Always, OnFailure or Never."""
    return str(pod["spec"].get("restartPolicy") or "Always")


def containers(pod: Obj) -> list[Obj]:
    """The main containers."""
    return list(pod["spec"].get("containers") or ())


def init_containers(pod: Obj) -> list[Obj]:
    """The init containers, sidecars among them."""
    return list(pod["spec"].get("initContainers") or ())


def ephemeral_containers(pod: Obj) -> list[Obj]:
    """Those added to a running pod to look into it."""
    return list(pod["spec"].get("ephemeralContainers") or ())


def all_containers(pod: Obj) -> Iterator[Obj]:
    """Init containers first."""
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def container_policy(pod: Obj, container: Obj, *, init: bool) -> str:
    """The restart policy of one container: its own where it has one, an ephemeral container never, an init container
    not once it did its work."""
    if container.get("restartPolicy"):
        return str(container["restartPolicy"])
    if any(one["name"] == container["name"] for one in ephemeral_containers(pod)):
        return "Never"
    policy = restart_policy(pod)
    return "OnFailure" if init and policy == "Always" else policy


def is_sidecar(container: Obj) -> bool:
    """An init container that goes on running beside the main ones."""
    return container.get("restartPolicy") == "Always"


def spec_hash(container: Obj) -> str:
    """What, when it changes, means another container: its name and image."""
    return format(crc32((container["name"] + " " + container.get("image", "")).encode()), "x")


def pull_policy(container: Obj) -> str:
    """Always, IfNotPresent or Never; by the tag where it is not said."""
    policy = container.get("imagePullPolicy")
    if policy:
        return str(policy)
    image = str(container.get("image", ""))
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].rpartition(":")
    return "Always" if not tag[1] or tag[2] == "latest" else "IfNotPresent"


def restarts(pod: Obj, container: Obj, exit_code: int, *, init: bool = False) -> bool:
    """Whether a container that exited so is started again: by the first of its rules that knows the code (KEP-5307),
    else by its policy."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        if (exit_code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
            return bool(rule.get("action") == "Restart")
    policy = container_policy(pod, container, init=init)
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def status_of(pod_status: Obj, name: str, init: bool = False) -> Obj:
    """The last written status of one container, or nothing."""
    for kind in ("initContainerStatuses",) if init else ("containerStatuses", "ephemeralContainerStatuses"):
        for status in pod_status.get(kind) or ():
            if status.get("name") == name:
                return dict(status)
    return {}


def in_sandbox(seen: PodObserved | None, name: str) -> Container | None:
    """The newest container of that name in the current sandbox."""
    if seen is None or seen.sandbox is None:
        return None
    found = [c for c in seen.containers if c.name == name and c.sandbox_id == seen.sandbox.id]
    return max(found, key=lambda c: (c.attempt, c.created_at), default=None)


def next_attempt(seen: PodObserved | None, status: Obj, name: str, init: bool = False) -> int:
    """The number of a container's next start: its restart count."""
    latest = seen.latest(name) if seen else None
    known = status_of(status, name, init)
    before = int(known.get("restartCount") or 0) if known.get("containerID") else -1
    return max(latest.attempt if latest else -1, before) + 1
