"""The plan holds its rules whatever is seen: states that hypothesis makes up, and a simulated runtime under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.kubeapi import quantities
from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan import actions as act
from parkube.nodeagent.plan import resources
from parkube.nodeagent.plan.backoff import LIMIT_S, Backoff
from parkube.nodeagent.plan.build import NodeFacts, sandbox_spec
from parkube.nodeagent.plan.decide import decide
from parkube.nodeagent.plan.environment import environment, expand, resource, service_variables
from parkube.nodeagent.plan.memory import Memory, ProbeView, Pull, PullState
from parkube.nodeagent.plan.model import Container, ContainerPhase, PodObserved, Sandbox
from parkube.nodeagent.plan.pods import pull_policy, spec_hash
from parkube.nodeagent.plan.resize import accept, in_progress, pending
from parkube.nodeagent.plan.status import pod_status

NOW = 1_800_000_000.0


def make_pod(inits: int, mains: int, policy: str, deleting: bool, sidecar: bool) -> Obj:
    init = [{"name": f"i{n}", "image": "app:1"} for n in range(inits)]
    if sidecar and init:
        init[0]["restartPolicy"] = "Always"
    meta: Obj = {"name": "p", "namespace": "default", "uid": "u"}
    if deleting:
        meta |= {"deletionTimestamp": "2027-01-15T08:00:00Z", "deletionGracePeriodSeconds": 5}
    containers = [{"name": f"c{n}", "image": "app:1"} for n in range(mains)]
    return {
        "metadata": meta, "status": {},
        "spec": {"initContainers": init, "containers": containers, "restartPolicy": policy},
    }  # fmt: skip


pods = st.builds(
    make_pod, st.integers(0, 3), st.integers(1, 3), st.sampled_from(["Always", "OnFailure", "Never"]), st.booleans(),
    st.booleans(),
)  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Obj, PodObserved | None, Memory]:
    pod = draw(pods)
    memory = Memory(NOW - 100, volumes_ready=draw(st.booleans()))
    seen = PodObserved("u", "default", "p")
    for attempt in range(draw(st.integers(0, 2))):
        seen.sandboxes.append(Sandbox(f"s{attempt}", attempt, draw(st.booleans()), NOW - 50, ("10.42.0.9",)))
    names = [c["name"] for c in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]]
    number = 0
    for name in names:
        for attempt in range(draw(st.integers(0, 2)) if seen.sandboxes else 0):
            number += 1
            phase = draw(st.sampled_from(list(ContainerPhase)))
            ended = phase is ContainerPhase.EXITED
            seen.containers.append(Container(
                f"x{number}", name, attempt, phase, draw(st.sampled_from(seen.sandboxes)).id, "app:1", "sha256:1",
                spec_hash({"name": name, "image": "app:1"}), "", NOW - 40, NOW - 30,
                NOW - draw(st.integers(0, 20)) if ended else 0, draw(st.sampled_from([0, 1, 137])) if ended else 0,
            ))  # fmt: skip
        if draw(st.booleans()):
            memory.pulls[name] = Pull(draw(st.sampled_from(list(PullState))), "sha256:1", retry_at=NOW + 5)
    if draw(st.booleans()):
        memory.probes = {
            c.id: ProbeView(draw(st.booleans()), draw(st.booleans()), draw(st.booleans())) for c in seen.containers
        }
    return pod, seen if seen.sandboxes else None, memory


@given(worlds())
@settings(max_examples=400)
def test_no_state_of_the_world_makes_it_break_its_rules(world: tuple[Obj, PodObserved | None, Memory]) -> None:
    pod, seen, memory = world
    decision = decide(pod, seen, memory, NOW)
    starts = [a for a in decision.actions if isinstance(a, act.StartContainer)]
    kills = [a for a in decision.actions if isinstance(a, act.KillContainer)]
    running = {c.name for c in seen.containers if c.phase is ContainerPhase.RUNNING} if seen else set()
    current = seen.sandbox if seen else None
    mine = [c for c in seen.containers if current and c.sandbox_id == current.id] if seen else []
    here = {c.name for c in mine}
    for start in starts:
        newest = max((c for c in mine if c.name == start.container), key=lambda c: c.attempt, default=None)
        assert newest is None or newest.phase is ContainerPhase.EXITED
        assert not any(c.name == start.container and c.phase is ContainerPhase.RUNNING for c in mine)
        assert newest is None or start.attempt > newest.attempt
    if pod["metadata"].get("deletionTimestamp"):
        assert not starts
        assert not [a for a in decision.actions if isinstance(a, act.RunSandbox | act.EnsureImage)]
        assert any(isinstance(a, act.Finish) for a in decision.actions) or kills
        assert all(k.grace_s == 5 for k in kills)
    if starts:
        assert current is not None
        assert current.ready
    if any(not a.init for a in starts):
        plain = [c["name"] for c in pod["spec"]["initContainers"] if c.get("restartPolicy") != "Always"]
        begun = any(c["name"] in here for c in pod["spec"]["containers"])
        assert seen is not None
        assert begun or all(seen.latest(name) is not None for name in plain)
    if not decision.actions and not decision.wake_at:
        pulling = any(p.state is PullState.PULLING for p in memory.pulls.values())
        assert running or pulling, "nothing runs, nothing is done, and nothing will wake us"
    assert not decision.wake_at or decision.wake_at > NOW
    assert decide(pod, seen, memory, NOW).actions == decision.actions


@given(worlds())
@settings(max_examples=200)
def test_every_status_is_whole_and_keeps_its_times(
    world: tuple[Obj, PodObserved | None, Memory],
) -> None:
    pod, seen, memory = world
    status = pod_status(pod, seen, memory, NOW, ("192.0.2.1",))
    assert status["phase"] in ("Pending", "Running", "Succeeded", "Failed")
    assert len(status["containerStatuses"]) == len(pod["spec"]["containers"])
    for entry in status["containerStatuses"]:
        assert len(entry["state"]) == 1
        assert not entry["ready"] or "running" in entry["state"]
    ready = {c["type"]: c["status"] for c in status["conditions"]}
    assert (ready["Ready"] == "True") <= (ready["ContainersReady"] == "True")
    memory.status = status
    again = pod_status(pod, seen, memory, NOW + 60, ("192.0.2.1",))
    assert [c["lastTransitionTime"] for c in again["conditions"] if c["status"] == ready[c["type"]]] == [
        c["lastTransitionTime"] for c, a in zip(status["conditions"], again["conditions"], strict=True)
        if a["status"] == c["status"]
    ]  # fmt: skip


@given(st.lists(st.floats(0, 400), min_size=1, max_size=30))
def test_back_off_grows_is_bounded_and_is_forgotten(gaps: list[float]) -> None:
    backoff, now = Backoff(), NOW
    for gap in gaps:
        before = backoff.delay
        now += gap
        assert now <= backoff.until(now, now) <= now + LIMIT_S
        backoff.next(now)
        assert before <= backoff.delay <= LIMIT_S
    assert backoff.until(now + 700, now + 700) == now + 700


def test_references_in_the_environment_are_expanded_as_the_api_says() -> None:
    known = {"A": "1", "B": "$(A)"}
    assert expand("$(A) $(B) $$(A) $(NO) $ $(", known) == "1 $(A) $(A) $(NO) $ $("
    pod: Obj = {
        "metadata": {"name": "p", "namespace": "n", "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"memory": "64Mi"}}}]},
    }
    container: Obj = {
        "name": "c",
        "env": [
            {"name": "PORT", "value": "80"},
            {"name": "URL", "value": "http://$(HOST):$(PORT)"},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}},
            {"name": "ALL", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
    }
    found = dict(environment(pod, container, lambda *_: None, {"HOST": "web"}, {}, {"cpu": "1500m"}))
    assert found["URL"] == "http://web:80"
    assert (found["APP"], found["MEM"], found["ALL"]) == ("x", "64", "2")


def test_service_variables_are_those_of_kubernetes() -> None:
    found = service_variables([("kube-dns", "10.43.0.10", [("dns", 53, "UDP"), ("", 53, "TCP")])])
    assert found["KUBE_DNS_SERVICE_HOST"] == "10.43.0.10"
    assert found["KUBE_DNS_SERVICE_PORT_DNS"] == "53"
    assert found["KUBE_DNS_PORT"] == "udp://10.43.0.10:53"
    assert found["KUBE_DNS_PORT_53_TCP_ADDR"] == "10.43.0.10"


@pytest.mark.parametrize("suffix", ["n", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
def test_quantities_mean_what_the_api_means_by_them(suffix: str) -> None:
    assert resources.amount("1" + suffix) == quantities.parse("1" + suffix)
    assert resources.amount("3e3") == 3000


def test_limits_that_are_not_set_are_the_nodes() -> None:
    pod: Obj = {"spec": {"containers": [{"name": "c"}]}}
    ref = {"resource": "limits.memory", "divisor": "1Mi"}
    assert resource(pod, ref, "c", {"memory": "24581696Ki"}) == "24006"


def test_resources_become_cgroup_figures() -> None:
    limits: dict[str, Any] = {"cpu": "250m", "memory": "64Mi"}
    guaranteed: Obj = {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}}
    assert resources.qos_class(guaranteed) == "Guaranteed"
    container = guaranteed["spec"]["containers"][0]
    assert resources.cpu_shares(resources.cpu_millis(container, "requests")) == 256
    assert resources.cpu_quota(resources.cpu_millis(container, "limits")) == 25_000
    assert resources.memory_bytes(container, "limits") == 64 * 1024 * 1024
    burst: Obj = {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {"requests": {"memory": "1Gi"}}}]}}
    assert resources.qos_class(burst) == "Burstable"
    assert resources.oom_score_adj(burst, burst["spec"]["containers"][0], 4 << 30) == 750
    whole: Obj = {"metadata": {}, "spec": {**burst["spec"], "resources": {"limits": limits, "requests": limits}}}
    assert resources.qos_class(whole) == "Guaranteed"
    assert pull_policy({"name": "c", "image": "host:5000/app"}) == "Always"
    assert pull_policy({"name": "c", "image": "host:5000/app:1"}) == "IfNotPresent"
    assert pull_policy({"name": "c", "image": "app@sha256:0"}) == "IfNotPresent"


@pytest.mark.parametrize(
    ("spec", "servers", "searches"),
    [
        ({}, ("10.43.0.10",), ("ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "city.test")),
        ({"hostNetwork": True}, ("192.0.2.53",), ("city.test",)),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, ("10.43.0.10",), None),
        ({"dnsPolicy": "Default"}, ("192.0.2.53",), ("city.test",)),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["x"]}}, ("1.1.1.1",), ("x",)),
        ({"dnsConfig": {"nameservers": ["1.1.1.1"]}}, ("10.43.0.10", "1.1.1.1"), None),
    ],
)  # fmt: skip
def test_whom_a_pod_asks_for_names(spec: Obj, servers: tuple[str, ...], searches: tuple[str, ...] | None) -> None:
    facts = NodeFacts("n", Path("/logs"), 1, ("192.0.2.53",), ("city.test",), (), ("10.43.0.10",))
    pod = {"metadata": {"namespace": "ns", "name": "p", "uid": "u"}, "spec": {"containers": [], **spec}}
    made = sandbox_spec(pod, 0, facts)
    assert made.dns_servers == servers
    assert searches is None or made.dns_searches == searches
    assert made.dns_options == (("ndots:5",) if "10.43.0.10" in servers else ())


def running_pod(**extra: Any) -> tuple[Obj, PodObserved, Memory]:
    pod = make_pod(0, 1, "Always", False, False)
    pod["spec"] |= extra
    container = Container(
        "one", "c0", 0, ContainerPhase.RUNNING, sandbox_id="s", spec_hash=spec_hash(pod["spec"]["containers"][0]),
        started_at=NOW - 10,
    )  # fmt: skip
    seen = PodObserved("u", "default", "p", [Sandbox("s", 0, True, ips=("10.42.0.2",))], [container])
    return pod, seen, Memory(NOW - 20, volumes_ready=True)


def test_a_container_whose_start_is_not_known_of_is_removed_before_another_is_started() -> None:
    """The agent that made it was killed before it knew; the runtime may yet start it."""
    pod, seen, memory = running_pod()
    memory.pulls["c0"] = Pull(PullState.PRESENT, "sha256:app")
    seen.containers[0].phase = ContainerPhase.CREATED
    assert decide(pod, seen, memory, NOW).actions == [act.RemoveContainer("one")]
    seen.containers.clear()
    assert decide(pod, seen, memory, NOW).actions == [act.StartContainer("c0", 0, "sha256:app")]


@pytest.mark.parametrize("phase", [ContainerPhase.RUNNING, ContainerPhase.EXITED])
def test_of_two_containers_of_a_name_the_older_is_stopped(phase: ContainerPhase) -> None:
    pod, seen, memory = running_pod()
    memory.pulls["c0"] = Pull(PullState.PRESENT, "sha256:app")
    seen.containers.append(Container(
        "two", "c0", 1, phase, sandbox_id="s", spec_hash=seen.containers[0].spec_hash, finished_at=NOW - 400,
    ))  # fmt: skip
    (kill,) = decide(pod, seen, memory, NOW).actions
    assert isinstance(kill, act.KillContainer)
    assert kill.container_id == "one"


def test_a_config_map_gives_all_its_keys_whatever_a_shell_thinks_of_them() -> None:
    pod, _, _ = running_pod()
    container = {"name": "c0", "envFrom": [{"prefix": "1-", "configMapRef": {"name": "m"}}]}
    found = environment(pod, container, lambda kind, name: {"data": {"data-1": "one"}}, {}, {}, {})
    assert found == [("1-data-1", "one")]


def test_an_ephemeral_container_runs_once_beside_the_others() -> None:
    debugger = {"name": "debugger", "image": "app:1", "targetContainerName": "c0"}
    pod, seen, memory = running_pod(ephemeralContainers=[debugger])
    memory.pulls["debugger"] = Pull(PullState.PRESENT, "sha256:app")
    assert decide(pod, seen, memory, NOW).actions == [act.StartContainer("debugger", 0, "sha256:app")]
    ended = Container("two", "debugger", 0, ContainerPhase.EXITED, sandbox_id="s", exit_code=1, finished_at=NOW - 100)
    seen.containers.append(ended)
    assert decide(pod, seen, memory, NOW).actions == []
    status = pod_status(pod, seen, memory, NOW, ("192.0.2.1",))
    assert status["ephemeralContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 1
    assert status["phase"] == "Running"
    assert [one["status"] for one in status["conditions"] if one["type"] == "Ready"] == ["True"]


@pytest.mark.parametrize("policy", ["NotRequired", "RestartContainer"])
def test_a_running_container_gets_what_its_pod_asks_for_now(policy: str) -> None:
    pod, seen, memory = running_pod()
    pod["metadata"]["generation"] = 2
    container = pod["spec"]["containers"][0]
    memory.applied["one"] = memory.allocated["c0"] = {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}
    container["resources"] = {"requests": {"cpu": "0.1"}, "limits": {"cpu": "1000m"}}
    assert decide(pod, seen, memory, NOW).actions == []  # other words for the same
    container |= {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": policy}]}
    container["resources"] = {"requests": {"cpu": "200m"}, "limits": {"cpu": "1"}}
    assert pending(pod, memory)
    accept(pod, memory)
    assert in_progress(pod, seen, memory)
    asked = decide(pod, seen, memory, NOW).actions
    if policy == "NotRequired":
        assert asked == [act.ResizeContainer("c0", "one")]
    else:
        assert [type(action) for action in asked] == [act.KillContainer]
    status = pod_status(pod, seen, memory, NOW, ("192.0.2.1",))
    assert status["containerStatuses"][0]["allocatedResources"] == {"cpu": "200m"}
    assert "PodResizeInProgress" in [one["type"] for one in status["conditions"]]
    pod["status"], memory.applied["one"] = status, container["resources"]
    assert not in_progress(pod, seen, memory)
    memory.resize_generation = 0
    status = pod_status(pod, seen, memory, NOW, ("192.0.2.1",))
    assert "PodResizeInProgress" not in [one["type"] for one in status["conditions"]]
    assert status["containerStatuses"][0]["resources"]["requests"] == {"cpu": "200m"}
    assert {one["observedGeneration"] for one in status["conditions"]} == {status["observedGeneration"]} == {2}


def test_a_pod_with_gates_is_ready_when_they_are_open() -> None:
    pod, seen, memory = running_pod()
    pod["spec"]["readinessGates"] = [{"conditionType": "city.test/paid"}, {"conditionType": "city.test/open"}]
    pod["status"] = {"conditions": [{"type": "city.test/open", "status": "False"}]}

    def ready() -> Obj:
        conditions = pod_status(pod, seen, memory, NOW, ())["conditions"]
        return next(dict(c) for c in conditions if c["type"] == "Ready")

    assert ready()["reason"] == "ReadinessGatesNotReady"
    assert ready()["message"] == (
        'corresponding condition of pod readiness gate "city.test/paid" does not exist., '
        'the status of pod readiness gate "city.test/open" is not "True", but False'
    )
    pod["status"]["conditions"] = [{"type": f"city.test/{name}", "status": "True"} for name in ("paid", "open")]
    assert ready()["status"] == "True"
