"""Strategies of the workload, storage, network and admission kinds: what is filled in, and each fault by its path."""

from __future__ import annotations

from typing import Any

import pytest

from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Obj
from tests.unit.test_kinds import changed, made, row

JOBS, CRON_JOBS = GVR("batch", "v1", "jobs"), GVR("batch", "v1", "cronjobs")
SETS, CONTROLLERS = GVR("apps", "v1", "statefulsets"), GVR("", "v1", "replicationcontrollers")
SCALERS, OLD_SCALERS = (GVR("autoscaling", v, "horizontalpodautoscalers") for v in ("v2", "v1"))
CLAIMS, VOLUMES = GVR("", "v1", "persistentvolumeclaims"), GVR("", "v1", "persistentvolumes")
QUOTAS, LIMITS = GVR("", "v1", "resourcequotas"), GVR("", "v1", "limitranges")
HOOKS = GVR("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
PRIORITIES = GVR("scheduling.k8s.io", "v1", "priorityclasses")


def template(restart: str = "Never", **labels: str) -> Obj:
    spec = {"restartPolicy": restart, "containers": [{"name": "c", "image": "i:1"}]}
    return {"metadata": {"labels": labels}, "spec": spec}


def test_a_job_counts_only_its_own_pods() -> None:
    obj, faults = made(JOBS, {"metadata": {"name": "x", "uid": "u1"}, "spec": {"template": template()}})
    assert faults == []
    assert obj["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}}
    assert obj["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "x"
    assert (obj["spec"]["completions"], obj["spec"]["parallelism"], obj["spec"]["backoffLimit"]) == (1, 1, 6)
    _, faults = changed(JOBS, obj, spec={**obj["spec"], "completions": 3})
    assert faults == ["spec.completions: Invalid value: 3: field is immutable"]


@pytest.mark.parametrize(("spec", "fault"), [
    ({"template": template("Always")}, "spec.template.spec.restartPolicy: Unsupported value"),
    ({"completionMode": "Indexed", "parallelism": 1, "template": template()}, "spec.completions: Required value"),
    ({"maxFailedIndexes": 1, "template": template()}, "spec.maxFailedIndexes: Invalid value: 1: requires indexed"),
    ({"template": template("OnFailure"), "podFailurePolicy": {"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]}},
     "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported"),
])  # fmt: skip
def test_a_job_that_cannot_run(spec: Obj, fault: str) -> None:
    _, faults = made(JOBS, {"spec": spec})
    assert any(said.startswith(fault) for said in faults), faults


def test_a_cron_jobs_schedule_and_zone_are_read() -> None:
    spec: Obj = {
        "schedule": "*/5 * * * *",
        "timeZone": "Europe/Paris",
        "jobTemplate": {"spec": {"template": template()}},
    }
    obj, faults = made(CRON_JOBS, {"spec": spec})
    assert faults == []
    assert obj["spec"]["concurrencyPolicy"] == "Allow"
    _, faults = made(CRON_JOBS, {"spec": {**spec, "schedule": "often", "timeZone": "Mars/Base"}})
    assert [fault.split(":")[0] for fault in faults] == ["spec.schedule", "spec.timeZone"]


def test_a_stateful_set_keeps_what_its_pods_are_known_by() -> None:
    spec = {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template("Always", a="b")}
    obj, faults = made(SETS, {"spec": spec})
    assert faults == []
    assert obj["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert changed(SETS, obj, spec={**obj["spec"], "replicas": 3})[1] == []
    _, faults = changed(SETS, obj, spec={**obj["spec"], "serviceName": "other"})
    assert faults[0].startswith("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'")


def test_a_replication_controller_takes_its_selector_from_its_template() -> None:
    obj, faults = made(CONTROLLERS, {"spec": {"template": template("Always", app="a")}})
    assert faults == []
    assert obj["spec"]["selector"] == obj["metadata"]["labels"] == {"app": "a"}
    _, faults = made(CONTROLLERS, {"spec": {"selector": {"app": "b"}, "template": template("Always", app="a")}})
    assert "`selector` does not match template `labels`" in faults[0]


def test_an_autoscaler_reads_the_same_in_both_versions() -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    old, faults = made(
        OLD_SCALERS, {"apiVersion": "autoscaling/v1", "spec": {"scaleTargetRef": target, "maxReplicas": 4}}
    )
    assert faults == []
    to, back = row(OLD_SCALERS).to_storage, row(OLD_SCALERS).from_storage
    assert to is not None
    assert back is not None
    stored = to(old)
    assert stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    assert back(stored)["spec"]["maxReplicas"] == old["spec"]["maxReplicas"]
    _, faults = made(SCALERS, {"spec": {"scaleTargetRef": target, "maxReplicas": 1, "minReplicas": 2}})
    assert faults == ["spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`"]


def test_an_autoscalers_row_tells_what_it_aims_at() -> None:
    (cell,) = [column.cell for column in row(SCALERS).columns if column.name == "Targets"]
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}
    queue = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"averageValue": "30"}}}
    hits = {"type": "Object", "object": {"target": {"value": "5"}}}
    one = {"type": "ContainerResource", "containerResource": {"name": "memory", "target": {"averageValue": "1Gi"}}}
    now = [{"type": "Resource", "resource": {"current": {"averageUtilization": 7}}}]
    v2 = {"apiVersion": "autoscaling/v2"}
    assert cell({**v2, "spec": {"metrics": []}}) == "<none>"
    assert cell({**v2, "spec": {"metrics": [cpu, queue]}, "status": {"currentMetrics": now}}) == (
        "cpu: 7%/80%, <unknown>/30 (avg)"
    )
    assert cell({**v2, "spec": {"metrics": [one, hits, cpu, queue]}}) == (
        "memory: <unknown>/1Gi, <unknown>/5 + 2 more..."
    )
    assert (
        cell({"apiVersion": "autoscaling/v1", "spec": {"targetCPUUtilizationPercentage": 50}}) == "cpu: <unknown>/50%"
    )


def test_a_claim_may_only_be_bound_and_grow() -> None:
    def asks(size: str, **more: Any) -> Obj:
        return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **more}

    obj, faults = made(CLAIMS, {"spec": asks("1Gi", storageClassName="local")})
    assert (faults, obj["status"], obj["spec"]["volumeMode"]) == ([], {"phase": "Pending"}, "Filesystem")
    assert changed(CLAIMS, obj, spec={**obj["spec"], "volumeName": "v"})[1] == []
    bound = {**obj, "status": {"phase": "Bound"}}
    assert changed(CLAIMS, bound, spec={**obj["spec"], **asks("2Gi")})[1] == []
    assert "less than" in changed(CLAIMS, bound, spec={**obj["spec"], **asks("1Mi")})[1][0]
    assert changed(CLAIMS, bound, spec={**obj["spec"], "storageClassName": "b"})[1][0].startswith("spec: Forbidden")


def test_a_volume_is_made_of_one_thing() -> None:
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"}}
    assert made(VOLUMES, {"spec": spec})[1] == []
    _, faults = made(VOLUMES, {"spec": {**spec, "local": {"path": "/b"}}})
    assert faults == ["spec.local: Forbidden: may not specify more than 1 volume type"]


def test_limits_fill_each_other_and_are_in_order() -> None:
    def limits(**item: Any) -> tuple[Obj, list[str]]:
        return made(LIMITS, {"spec": {"limits": [{"type": "Container", **item}]}})

    obj, faults = limits(max={"cpu": "2"}, min={"memory": "1Mi"})
    assert faults == []
    assert obj["spec"]["limits"][0]["defaultRequest"] == {"cpu": "2", "memory": "1Mi"}
    assert "min value 3 is greater than max value 2" in limits(max={"cpu": "2"}, min={"cpu": "3"})[1][0]


def test_a_quota_names_what_is_no_amount() -> None:
    _, faults = made(QUOTAS, {"spec": {"hard": {"pods": "-1"}, "scopes": ["Sometimes"]}})
    assert faults == [
        'spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0',
        'spec.scopes[0]: Invalid value: "Sometimes": unsupported scope',
    ]


def test_a_webhook_is_filled_in_and_judged() -> None:
    hook = {
        "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"namespace": "n", "name": "s"}},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
    }  # fmt: skip
    obj, faults = made(HOOKS, {"webhooks": [hook]})
    assert faults == []
    assert (obj["webhooks"][0]["timeoutSeconds"], obj["webhooks"][0]["failurePolicy"]) == (10, "Fail")
    _, faults = made(HOOKS, {"webhooks": [{**hook, "name": "a", "sideEffects": "Some", "timeoutSeconds": 31}]})
    assert [fault.split(":")[0] for fault in faults] == [
        "webhooks[0].name", "webhooks[0].sideEffects", "webhooks[0].timeoutSeconds",
    ]  # fmt: skip


def test_a_priority_stays_and_the_highest_are_the_systems() -> None:
    obj, faults = made(PRIORITIES, {"value": 5})
    assert (faults, obj["preemptionPolicy"]) == ([], "PreemptLowerPriority")
    assert changed(PRIORITIES, obj, value=6)[1] == ["value: Forbidden: may not be changed in an update."]
    assert "reserved for system use" in made(PRIORITIES, {"metadata": {"name": "system-x"}, "value": 5})[1][0]
