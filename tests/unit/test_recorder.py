"""Events: counted up, combined, held back, dropped when the API is away; and the questions of placement."""

from __future__ import annotations

import asyncio

import pytest

from parkube.kubeapi.client import EVENTS
from parkube.kubeapi.compact import node_info, pod_info, ready_first
from parkube.kubeapi.errors import Obj, ServiceUnavailable
from parkube.kubeapi.placement import Taint, Toleration, seconds_until_eviction, selects, untolerated
from parkube.kubeapi.recorder import Recorder, Reference
from tests.fakes.client import FakeClient
from tests.fakes.virtual_time import clock, run

POD = Reference("v1", "Pod", "garage", "web", "uid-web")


def test_the_same_again_is_counted_and_many_alike_are_combined() -> None:
    async def story() -> None:
        client = FakeClient(clock=clock)
        recorder = Recorder(client, "kubelet", clock=clock, host="pi")
        for _ in range(3):
            recorder.warning(POD, "BackOff", "Back-off restarting failed container")
            await recorder.flush()
            await asyncio.sleep(10)
        [event] = client.all(EVENTS)
        assert (event["count"], event["type"], event["reason"]) == (3, "Warning", "BackOff")
        assert event["metadata"]["namespace"] == "garage"
        assert event["source"] == {"component": "kubelet", "host": "pi"}
        assert event["involvedObject"]["uid"] == "uid-web"
        assert event["firstTimestamp"] < event["lastTimestamp"]

        owner = Reference("apps/v1", "DaemonSet", "garage", "gate", "uid-gate")
        for n in range(1000):
            recorder.named("daemonset-controller").normal(owner, "SuccessfulCreate", f"Created pod: gate-{n}")
        await recorder.flush()
        told = [e for e in client.all(EVENTS) if e["involvedObject"]["name"] == "gate"]
        assert len(told) == 11
        combined = next(e for e in told if e["message"].startswith("(combined from similar events): "))
        assert combined["count"] == 15  # 25 at once for one object; the rest would only burn the disk
        assert combined["source"]["component"] == "daemonset-controller"

    run(story())


def test_events_are_dropped_rather_than_waited_for() -> None:
    async def story() -> None:
        client = FakeClient(clock=clock)
        recorder = Recorder(client, "test", clock=clock, queue=5)
        for n in range(9):
            recorder.normal(POD._replace(name=f"p{n}", uid=f"u{n}"), "Scheduled", "here")
        assert recorder.dropped == 4
        client.fail("create", "events", ServiceUnavailable("away"))
        await recorder.flush()
        assert len(client.all(EVENTS)) == 4

    run(story())


def test_an_event_that_expired_meanwhile_is_written_anew() -> None:
    async def story() -> None:
        client = FakeClient(clock=clock)
        recorder = Recorder(client, "test", clock=clock)
        for _ in range(2):
            recorder.normal(POD, "Pulled", "image")
            await recorder.flush()
            for event in client.all(EVENTS):
                client.drop(EVENTS, event["metadata"]["name"], "garage")
        recorder.normal(POD, "Pulled", "image")
        await recorder.flush()
        assert [e["count"] for e in client.all(EVENTS)] == [1]

    run(story())


@pytest.mark.parametrize(
    ("toleration", "borne"),
    [
        (("", "Exists", "", "", None), True), (("a", "Exists", "", "", None), True),
        (("a", "Equal", "1", "", None), True), (("a", "Equal", "1", "NoExecute", None), True),
        (("a", "Equal", "2", "", None), False), (("a", "Exists", "", "NoSchedule", None), False),
        (("b", "Exists", "", "", None), False), (("", "Equal", "", "", None), False),
    ],
)  # fmt: skip
def test_tolerations(toleration: tuple[str, str, str, str, int | None], borne: bool) -> None:
    taint = Taint("a", "1", "NoExecute")
    assert (untolerated([taint], [Toleration(*toleration)]) is None) == borne


def test_the_shortest_toleration_counts() -> None:
    taints = [Taint("a", "", "NoExecute"), Taint("b", "", "NoExecute"), Taint("c", "", "NoSchedule")]
    every, a, b = (Toleration(k, "Exists", "", "", s) for k, s in (("", None), ("a", 30), ("b", 5)))
    assert seconds_until_eviction(taints, [a, b]) == 5
    assert seconds_until_eviction(taints, [a]) == 0
    assert seconds_until_eviction(taints, [every]) is None
    assert seconds_until_eviction(taints, [every, a]) == 30
    assert seconds_until_eviction(taints[2:], []) is None


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ({"key": "zone", "operator": "In", "values": ["n", "s"]}, True),
        ({"key": "zone", "operator": "NotIn", "values": ["n"]}, False),
        ({"key": "none", "operator": "NotIn", "values": ["n"]}, True),
        ({"key": "none", "operator": "DoesNotExist"}, True),
        ({"key": "cores", "operator": "Gt", "values": ["3"]}, True),
        ({"key": "cores", "operator": "Lt", "values": ["4"]}, False),
        ({"key": "zone", "operator": "Gt", "values": ["3"]}, False),
    ],
)
def test_node_affinity(expression: Obj, fits: bool) -> None:
    required = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    }
    assert selects(None, required, {"zone": "n", "cores": "4"}, "node") == fits
    assert not selects(
        None, {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}, {}, "node"
    )


def _pod(name: str, node: str, **spec: object) -> Obj:
    pinned = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [pinned]}}
    return {"metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"affinity": {"nodeAffinity": required}, **spec}}


def test_pods_of_one_template_share_what_they_have_in_common() -> None:
    container = {"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "1Gi"}}}
    start = {"name": "i", "resources": {"requests": {"cpu": "2", "memory": "1Mi"}}}
    a, b = (pod_info(_pod(n, n, containers=[container], initContainers=[start])) for n in ("n1", "n2"))
    assert (a.pin, b.pin) == ("n1", "n2")
    assert a.shape is b.shape
    assert a.labels is b.labels
    assert a.shape.node_affinity is None
    assert a.shape.requests == {"cpu": 2000, "memory": 2**30}
    assert pod_info(_pod("x", "n1", containers=[container])).shape is not a.shape
    assert node_info({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "3500m"}}}).allocatable == {
        "cpu": 3500
    }


def test_which_pods_go_first() -> None:
    def pod(name: str, **more: object) -> Obj:
        status: Obj = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        notes = more.pop("notes", {})
        return {
            "metadata": {"name": name, "annotations": notes},
            "spec": {"nodeName": name},
            "status": {**status, **more},
        }

    cheap = {"controller.kubernetes.io/pod-deletion-cost": "-5"}
    pods = [
        pod("pending", phase="Pending"), pod("fine"), pod("restarted", containerStatuses=[{"restartCount": 3}]),
        pod("cheap", notes=cheap), pod("sick", conditions=[]),
    ]  # fmt: skip
    kept = [p.name for p in ready_first([pod_info(p) for p in pods])]
    assert kept == ["fine", "restarted", "cheap", "sick", "pending"]
