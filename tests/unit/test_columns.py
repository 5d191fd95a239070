"""The cells of `kubectl get`, on objects in the states that people look for."""

from __future__ import annotations

from typing import Any

import pytest

from parkube.controlplane.registry.columns import cells
from parkube.controlplane.registry.columns.pods import summary
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.kubeapi.client import CSRS, DEPLOYMENTS, ENDPOINTS, EVENTS, GVR, NODES, PODS, ROLEBINDINGS, SERVICES
from parkube.kubeapi.errors import Obj

CATALOGUE = builtin_catalogue()
NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z
BEFORE = "2026-01-01T11:54:30Z"


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "clock", lambda: NOON)


def cells_of(gvr: GVR, obj: Obj) -> dict[str, Any]:
    row = CATALOGUE.get(gvr)
    assert row is not None
    return {column.name: column.cell(obj) for column in row.columns}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (143, "2m23s"), (600, "10m"), (10_799, "179m"),
     (10_800, "3h"), (18_600, "5h10m"), (172_799, "47h"), (172_800, "2d"), (273_600, "3d4h"), (86400 * 500, "500d"),
     (86400 * 365 * 2 + 86400 * 3, "2y3d"), (86400 * 365 * 9, "9y")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert cells.human_duration(seconds) == text


def container(ready: bool = False, restarts: int = 0, **state: Any) -> Obj:
    return {"name": "c", "ready": ready, "restartCount": restarts, "state": state}


@pytest.mark.parametrize(
    ("phase", "statuses", "status"),
    [
        ("Pending", [], "Pending"),
        ("Pending", [container(waiting={"reason": "ContainerCreating"})], "ContainerCreating"),
        ("Running", [container(True, running={})], "Running"),
        ("Running", [container(waiting={"reason": "CrashLoopBackOff"})], "CrashLoopBackOff"),
        ("Pending", [container(waiting={"reason": "ImagePullBackOff"})], "ImagePullBackOff"),
        ("Failed", [container(terminated={"exitCode": 3})], "ExitCode:3"),
        ("Failed", [container(terminated={"signal": 9})], "Signal:9"),
        ("Failed", [container(terminated={"reason": "OOMKilled", "exitCode": 137})], "OOMKilled"),
        ("Succeeded", [container(terminated={"reason": "Completed", "exitCode": 0})], "Completed"),
        ("Running", [container(terminated={"reason": "Completed"}), container(True, running={})], "NotReady"),
    ],
)
def test_status_of_a_pod(phase: str, statuses: list[Obj], status: str) -> None:
    pod = {
        "spec": {"containers": [{}] * max(1, len(statuses))},
        "status": {"phase": phase, "containerStatuses": statuses},
    }
    assert summary(pod).status == status


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ({"terminated": {"exitCode": 0}}, "Running"),
        ({"terminated": {"exitCode": 1, "reason": "Error"}}, "Init:Error"),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, "Init:CrashLoopBackOff"),
        ({"running": {}}, "Init:0/1"),
    ],
)
def test_status_of_a_pod_with_init_containers(state: Obj, status: str) -> None:
    pod = {
        "spec": {"containers": [{}], "initContainers": [{"name": "c"}]},
        "status": {"phase": "Running", "initContainerStatuses": [container(**state)], "containerStatuses": []},
    }
    assert summary(pod).status == status


def test_rows_of_a_pod() -> None:
    last = {"terminated": {"finishedAt": BEFORE}}
    pod: Obj = {
        "metadata": {"name": "p", "creationTimestamp": BEFORE},
        "spec": {"containers": [{}, {}], "nodeName": "n"},
        "status": {"phase": "Running", "podIP": "10.42.0.5", "reason": "",
                   "containerStatuses": [container(True, 2, running={}) | {"lastState": last}]},
    }  # fmt: skip
    assert cells_of(PODS, pod) == {
        "Name": "p", "Ready": "1/2", "Status": "Running", "Restarts": "2 (5m30s ago)", "Age": "5m30s",
        "IP": "10.42.0.5", "Node": "n", "Nominated Node": "<none>", "Readiness Gates": "<none>",
    }  # fmt: skip
    pod["metadata"]["deletionTimestamp"] = BEFORE
    assert cells_of(PODS, pod)["Status"] == "Terminating"
    pod["status"]["reason"] = "Evicted"
    del pod["metadata"]["deletionTimestamp"]
    assert cells_of(PODS, {**pod, "status": {"phase": "Failed", "reason": "Evicted"}})["Status"] == "Evicted"


def test_nodes() -> None:
    node: Obj = {
        "metadata": {"name": "n", "labels": {
            "node-role.kubernetes.io/master": "", "node-role.kubernetes.io/control-plane": "true",
            "kubernetes.io/role": "master"}},
        "spec": {"unschedulable": True},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.0"},
                   "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
    }  # fmt: skip
    shown = cells_of(NODES, node)
    assert shown["Status"] == "Ready,SchedulingDisabled"
    assert shown["Roles"] == "control-plane,master"
    assert (shown["Version"], shown["Internal-IP"], shown["External-IP"]) == ("v1.36.0", "10.0.0.1", "<none>")
    assert cells_of(NODES, {"metadata": {"name": "n"}})["Roles"] == "<none>"
    lost = {"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    assert cells_of(NODES, lost)["Status"] == "NotReady"


def test_others() -> None:
    ports = [{"port": 80, "nodePort": 30123, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    service = cells_of(SERVICES, {"spec": {"type": "NodePort", "clusterIP": "10.43.0.9", "ports": ports}})
    assert (service["Port(s)"], service["External-IP"]) == ("80:30123/TCP,53/UDP", "<none>")
    addresses = [{"ip": f"10.42.0.{n}"} for n in range(1, 6)]
    endpoints = cells_of(ENDPOINTS, {"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]})
    assert endpoints["Endpoints"] == "10.42.0.1:80,10.42.0.2:80,10.42.0.3:80 + 2 more..."
    web: Obj = {"spec": {"replicas": 3, "selector": {"matchLabels": {"b": "2", "a": "1"}}, "template": {"spec": {
        "containers": [{"name": "x", "image": "i"}, {"name": "y", "image": "j"}]}}},
        "status": {"readyReplicas": 1}}  # fmt: skip
    shown = cells_of(DEPLOYMENTS, web)
    assert (shown["Ready"], shown["Available"], shown["Containers"], shown["Images"]) == ("1/3", 0, "x,y", "i,j")
    assert shown["Selector"] == "a=1,b=2"
    csr = {"status": {"conditions": [{"type": "Approved"}], "certificate": "AA=="}, "spec": {}}
    assert cells_of(CSRS, csr)["Condition"] == "Approved,Issued"
    event = {"involvedObject": {"kind": "Pod", "name": "p"}, "lastTimestamp": BEFORE, "message": " m\n", "count": 3}
    seen = cells_of(EVENTS, event)
    assert (seen["Last Seen"], seen["Object"], seen["Message"], seen["Count"]) == ("5m30s", "pod/p", "m", 3)
    binding = {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "jane"}]}
    assert cells_of(ROLEBINDINGS, binding)["Role"] == "Role/r"


@pytest.mark.parametrize("row", list(CATALOGUE), ids=lambda row: f"{row.gvr.group}/{row.gvr.resource}")
def test_no_cell_breaks_on_an_empty_object(row: Any) -> None:
    for column in row.columns:
        assert column.cell({"metadata": {"name": "x"}, "kind": row.kind}) is not None
