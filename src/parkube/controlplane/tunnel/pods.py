"""From a pod and a client's query to the node and the path at its agent. Pure; words as kubectl's users know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlencode

from parkube.kubeapi.errors import BadRequest, Obj

_LOG_KEYS = ("follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream")
_EXEC_KEYS = ("command", "stdin", "stdout", "stderr", "tty")


class Target(NamedTuple):
    """Which node to ask, and for what: path and query, percent-encoded."""

    node: str
    path: str


def log_target(pod: Obj, query: Sequence[tuple[str, str]]) -> Target:
    """Where a pod's log is read. Raises `BadRequest` for a wrong container, option, or a container not started."""
    asked = dict(query)
    container = _container(pod, asked.get("container", ""))
    for key in ("tailLines", "sinceSeconds", "limitBytes"):
        if asked.get(key) and not asked[key].isdigit():
            raise BadRequest(f'invalid value for {key}: "{asked[key]}" is no whole number')
    if asked.get("sinceSeconds") and asked.get("sinceTime"):
        raise BadRequest("at most one of `sinceTime` or `sinceSeconds` may be specified")
    if asked.get("previous") not in ("true", "1"):
        _started(pod, container)
    return Target(_node(pod), _path("containerLogs", pod, container, [p for p in query if p[0] in _LOG_KEYS]))


def exec_target(pod: Obj, query: Sequence[tuple[str, str]]) -> Target:
    """Where a command is run in a container. Raises `BadRequest`."""
    _running(pod)
    container = _container(pod, dict(query).get("container", ""))
    if not any(key == "command" and value for key, value in query):
        raise BadRequest("you must specify at least one command for the container")
    return Target(_node(pod), _path("exec", pod, container, [p for p in query if p[0] in _EXEC_KEYS]))


def attach_target(pod: Obj, query: Sequence[tuple[str, str]]) -> Target:
    """Where a running container is attached to. Raises `BadRequest`."""
    _running(pod)
    container = _container(pod, dict(query).get("container", ""))
    return Target(_node(pod), _path("attach", pod, container, [p for p in query if p[0] in _EXEC_KEYS[1:]]))


def forward_target(pod: Obj, query: Sequence[tuple[str, str]]) -> Target:
    """Where a pod's ports are forwarded from. Raises `BadRequest`."""
    phase = pod.get("status", {}).get("phase", "")
    if phase in ("Succeeded", "Failed"):
        raise BadRequest(f"cannot forward ports of a completed pod; current phase is {phase}")
    meta, asked = pod["metadata"], [p for p in query if p[0] == "ports"]
    path = f"/portForward/{meta['namespace']}/{meta['name']}"
    return Target(_node(pod), f"{path}?{urlencode(asked)}" if asked else path)


def _path(verb: str, pod: Obj, container: str, query: Sequence[tuple[str, str]]) -> str:
    meta = pod["metadata"]
    path = f"/{verb}/{meta['namespace']}/{meta['name']}/{quote(container)}"
    return f"{path}?{urlencode(query)}" if query else path


def _node(pod: Obj) -> str:
    node = pod.get("spec", {}).get("nodeName", "")
    if not node:
        raise BadRequest(f"pod {pod['metadata']['name']} does not have a host assigned")
    return str(node)


def _names(pod: Obj, key: str) -> list[str]:
    return [str(c.get("name", "")) for c in pod.get("spec", {}).get(key) or ()]


def _container(pod: Obj, name: str) -> str:
    main, init = _names(pod, "containers"), _names(pod, "initContainers")
    pod_name = pod["metadata"]["name"]
    if name:
        if name not in main and name not in init and name not in _names(pod, "ephemeralContainers"):
            raise BadRequest(f"container {name} is not valid for pod {pod_name}")
        return name
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
    if default in main:
        return str(default)
    if len(main) == 1:
        return main[0]
    listed = " ".join(main)
    text = f"a container name must be specified for pod {pod_name}, choose one of: [{listed}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    raise BadRequest(text)


def _running(pod: Obj) -> None:
    phase = pod.get("status", {}).get("phase", "")
    if phase in ("Succeeded", "Failed"):
        raise BadRequest(f"cannot exec into a container in a completed pod; current phase is {phase}")


def _started(pod: Obj, container: str) -> None:
    """A container that waits for its first start has no log yet."""
    status: Mapping[str, Obj] = pod.get("status", {})
    rows = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    row = next((r for r in rows if r.get("name") == container), None)
    waiting = (row or {}).get("state", {}).get("waiting")
    if waiting is not None and not (row or {}).get("lastState", {}).get("terminated"):
        why = waiting.get("reason", "ContainerCreating")
        name = pod["metadata"]["name"]
        raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {why}')
