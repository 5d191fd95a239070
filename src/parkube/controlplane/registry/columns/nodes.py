"""`kubectl get nodes`: STATUS, ROLES, AGE, VERSION, and with -o wide the addresses and what runs there."""

from __future__ import annotations

from collections.abc import Callable

from parkube.controlplane.registry.columns.cells import AGE, NAME, at, column
from parkube.controlplane.registry.resource import Column
from parkube.kubeapi.errors import Obj

_ROLE_PREFIX, _ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"


def _status(node: Obj) -> str:
    states = {c.get("type"): c.get("status") for c in (node.get("status") or {}).get("conditions") or ()}
    ready = {"True": "Ready", None: "Unknown"}.get(states.get("Ready"), "NotReady")
    return ready + (",SchedulingDisabled" if (node.get("spec") or {}).get("unschedulable") else "")


def roles(node: Obj) -> str:
    """`control-plane,master`: from labels `node-role.kubernetes.io/<role>` and `kubernetes.io/role=<role>`."""
    found = set()
    for key, value in ((node.get("metadata") or {}).get("labels") or {}).items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            found.add(key[len(_ROLE_PREFIX) :])
        elif key == _ROLE and value:
            found.add(value)
    return ",".join(sorted(found)) or "<none>"


def _address(kind: str) -> Callable[[Obj], str]:
    def cell(node: Obj) -> str:
        for address in (node.get("status") or {}).get("addresses") or ():
            if address.get("type") == kind:
                return str(address.get("address"))
        return "<none>"

    return cell


def _info(field: str, default: str = "<unknown>") -> Callable[[Obj], str]:
    return at("status", "nodeInfo", field, default=default)


NODE_COLUMNS: tuple[Column, ...] = (
    NAME,
    column("Status", _status),
    column("Roles", roles),
    AGE,
    column("Version", _info("kubeletVersion", "")),
    column("Internal-IP", _address("InternalIP"), wide=True),
    column("External-IP", _address("ExternalIP"), wide=True),
    column("OS-Image", _info("osImage"), wide=True),
    column("Kernel-Version", _info("kernelVersion"), wide=True),
    column("Container-Runtime", _info("containerRuntimeVersion"), wide=True),
)
