"""Jobs: pods counted once, indexes, limits, policies, suspension, the end and what is kept of it; CronJobs' starts."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from parkube.controlplane.controllers.jobs import indexes, policy
from parkube.controlplane.controllers.jobs.cron import due
from parkube.controlplane.controllers.jobs.plan import FINALIZER
from parkube.kubeapi.client import CRONJOBS, JOBS, PODS
from parkube.kubeapi.compact import epoch
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import rfc3339
from tests.fakes.virtual_time import clock, run
from tests.fakes.workloads import FakeCluster


def job_spec(**spec: Any) -> Obj:
    """A job's spec as the API would have defaulted it."""
    template = {"metadata": {"labels": {"job": "j"}}, "spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}],
    }}  # fmt: skip
    return {
        "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False,
        "selector": {"matchLabels": {"job": "j"}}, "template": template, **spec,
    }  # fmt: skip


def job(**spec: Any) -> Obj:
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "default"},
        "spec": job_spec(**spec),
    }  # fmt: skip


async def end(c: FakeCluster, phase: str, pod: Obj, code: int = 0) -> None:
    """A pod's container ends."""
    status = {"phase": phase, "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": code}}}]}
    await c.client.patch(PODS, pod["metadata"]["name"], {"status": status}, "default")


def alive(c: FakeCluster) -> list[Obj]:
    return [p for p in c.pods() if (p.get("status") or {}).get("phase") == "Running"]


async def read(c: FakeCluster) -> Obj:
    return await c.client.get(JOBS, "j", "default")


def ended(c: FakeCluster) -> str:
    """`Complete` or `Failed` and the reason, of the one job."""
    conditions = (c.client.all(JOBS)[0].get("status") or {}).get("conditions") or ()
    found = [x for x in conditions if x["type"] in ("Complete", "Failed")]
    return f"{found[0]['type']} {found[0]['reason']}" if found else ""


def test_it_runs_so_many_to_their_end_and_counts_each_once() -> None:
    async def story() -> None:
        async with FakeCluster("job") as c:
            await c.client.create(JOBS, job(completions=3, parallelism=2), "default")
            for left in (2, 2, 1):
                await c.until(lambda left=left: len(alive(c)) == left)  # type: ignore[misc]
                await end(c, "Succeeded", alive(c)[0])
            await c.until(lambda: ended(c) == "Complete CompletionsReached")
            status = (await read(c))["status"]
            assert (status["succeeded"], status.get("active"), status["uncountedTerminatedPods"]) == (3, None, {})
            assert status["completionTime"]
            assert all(FINALIZER not in (p["metadata"].get("finalizers") or ()) for p in c.client.all(PODS))
            assert "Completed: Job completed" in c.events()

    run(story())


def test_each_index_ends_once_and_its_pods_know_it() -> None:
    async def story() -> None:
        async with FakeCluster("job") as c:
            await c.client.create(JOBS, job(completions=3, parallelism=3, completionMode="Indexed"), "default")
            await c.until(lambda: len(alive(c)) == 3)
            pods = {p["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]: p for p in alive(c)}
            assert sorted(pods) == ["0", "1", "2"]
            assert pods["1"]["spec"]["hostname"] == "j-1"
            assert pods["1"]["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
            await end(c, "Succeeded", pods["0"])
            await end(c, "Failed", pods["1"])
            await end(c, "Succeeded", pods["2"])
            await c.until(lambda: len(alive(c)) == 1)
            assert (await read(c))["status"]["completedIndexes"] == "0,2"
            await end(c, "Succeeded", alive(c)[0])
            await c.until(lambda: ended(c).startswith("Complete"))
            assert (await read(c))["status"]["completedIndexes"] == "0-2"

    run(story())


def test_too_many_failures_end_it_after_pauses_that_grow() -> None:
    async def story() -> None:
        async with FakeCluster("job") as c:
            await c.client.create(JOBS, job(backoffLimit=1), "default")
            await c.until(lambda: len(alive(c)) == 1)
            await end(c, "Failed", alive(c)[0])
            began = clock()
            await c.until(lambda: len(alive(c)) == 1)
            assert clock() - began >= 9
            await end(c, "Failed", alive(c)[0])
            await c.until(lambda: ended(c) == "Failed BackoffLimitExceeded")
            kinds = [x["type"] for x in (await read(c))["status"]["conditions"]]
            assert kinds == ["FailureTarget", "Failed"]

    run(story())


def test_a_deadline_takes_running_pods_away() -> None:
    async def story() -> None:
        async with FakeCluster("job") as c:
            await c.client.create(JOBS, job(activeDeadlineSeconds=30), "default")
            await c.until(lambda: len(alive(c)) == 1)
            await c.until(lambda: ended(c) == "Failed DeadlineExceeded")
            assert c.pods() == []

    run(story())


def test_a_policy_ends_it_at_once_or_does_not_count() -> None:
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}},
    ]
    lost = {"type": "DisruptionTarget", "status": "True"}
    meta = {"name": "p", "namespace": "default"}
    assert policy.failure({"rules": rules}, {"metadata": meta, "status": {"conditions": [lost]}}).action == "Ignore"

    async def story() -> None:
        async with FakeCluster("job") as c:
            await c.client.create(JOBS, job(podFailurePolicy={"rules": rules}), "default")
            await c.until(lambda: len(alive(c)) == 1)
            await end(c, "Failed", alive(c)[0], code=3)
            await c.until(lambda: ended(c) == "Failed PodFailurePolicy")

    run(story())


def test_success_may_come_before_all_indexes_are_done() -> None:
    async def story() -> None:
        async with FakeCluster("job") as c:
            rules = [{"succeededIndexes": "0", "succeededCount": 1}]
            spec = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "successPolicy": {"rules": rules}}
            await c.client.create(JOBS, job(**spec), "default")
            await c.until(lambda: len(alive(c)) == 3)
            first = next(p for p in alive(c) if p["spec"]["hostname"] == "j-0")
            await end(c, "Succeeded", first)
            await c.until(lambda: ended(c) == "Complete SuccessPolicy")
            assert (await read(c))["status"]["succeeded"] == 1
            assert alive(c) == []

    run(story())


def test_it_is_suspended_and_goes_on() -> None:
    async def story() -> None:
        async with FakeCluster("job") as c:
            await c.client.create(JOBS, job(suspend=True), "default")
            await asyncio.sleep(5)
            assert c.pods() == []
            await c.client.patch(JOBS, "j", {"spec": {"suspend": False}}, "default")
            await c.until(lambda: len(alive(c)) == 1)
            await c.client.patch(JOBS, "j", {"spec": {"suspend": True}}, "default")
            await c.until(lambda: c.pods() == [])
            status = (await read(c))["status"]
            assert "startTime" not in status
            assert status.get("failed") is None

    run(story())


def test_it_goes_when_its_time_is_over() -> None:
    async def story() -> None:
        async with FakeCluster("job") as c:
            await c.client.create(JOBS, job(ttlSecondsAfterFinished=60), "default")
            await c.until(lambda: len(alive(c)) == 1)
            await end(c, "Succeeded", alive(c)[0])
            await c.until(lambda: ended(c).startswith("Complete"))
            await c.until(lambda: not c.client.all(JOBS) or "deletionTimestamp" in c.client.all(JOBS)[0]["metadata"])

    run(story())


def cronjob(**spec: Any) -> Obj:
    return {
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": "cron", "namespace": "default", "creationTimestamp": rfc3339(clock())},
        "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {"spec": job_spec()}, **spec},
    }  # fmt: skip


def test_a_cron_job_starts_forbids_and_replaces() -> None:
    async def story(concurrency: str) -> tuple[int, int, list[str]]:
        async with FakeCluster("cronjob") as c:
            await c.client.create(CRONJOBS, cronjob(concurrencyPolicy=concurrency), "default")
            await asyncio.sleep(150)
            status = c.client.all(CRONJOBS)[0]["status"]
            assert epoch(status["lastScheduleTime"]) % 60 == 0
            return len(c.client.all(JOBS)), len(status["active"]), c.events()

    assert run(story("Allow"))[:2] == (2, 2)
    jobs, active, events = run(story("Forbid"))
    assert (jobs, active) == (1, 1)
    assert any(said.startswith("JobAlreadyActive") for said in events)
    assert run(story("Replace"))[:2] == (1, 1)


def test_starts_that_were_missed_are_not_all_caught_up() -> None:
    made = {"creationTimestamp": "2026-11-26T00:00:30Z", "name": "cron"}
    now = epoch("2026-11-26T00:05:10Z")
    look = due({"metadata": made, "spec": {"schedule": "* * * * *"}}, now)
    assert (rfc3339(look.start), rfc3339(look.next), look.missed) == (
        "2026-11-26T00:05:00Z", "2026-11-26T00:06:00Z", 5,
    )  # fmt: skip
    late = due({"metadata": made, "spec": {"schedule": "0 * * * *", "startingDeadlineSeconds": 60}}, now)
    assert (late.start, late.missed) == (0.0, 0)
    years = due(
        {"metadata": {**made, "creationTimestamp": "2020-01-01T00:00:00Z"}, "spec": {"schedule": "@hourly"}}, now
    )
    assert rfc3339(years.start) == "2026-11-26T00:00:00Z"


@given(st.sets(st.integers(0, 40)))
def test_indexes_are_written_and_read_back(numbers: set[int]) -> None:
    assert indexes.parse(indexes.written(numbers), 41) == numbers
    assert indexes.parse(indexes.written(numbers), 10) == {n for n in numbers if n < 10}


def test_a_pod_that_matches_is_taken_in_and_one_that_no_longer_does_is_let_go() -> None:
    async def story() -> None:
        async with FakeCluster("job") as c:
            await c.client.create(JOBS, job(completions=2, parallelism=2), "default")
            await c.until(lambda: len(alive(c)) == 2)

            def named(name: str) -> Obj:
                return next(pod["metadata"] for pod in c.client.all(PODS) if pod["metadata"]["name"] == name)

            one, other = (pod["metadata"]["name"] for pod in alive(c))
            orphan = await c.client.get(PODS, one, "default")
            orphan["metadata"]["ownerReferences"] = []
            c.client.put(PODS, orphan)
            await c.until(lambda: bool(named(one)["ownerReferences"]))
            strange = await c.client.get(PODS, other, "default")
            strange["metadata"]["labels"] = {}
            c.client.put(PODS, strange)
            await c.until(lambda: not named(other).get("ownerReferences"))
            assert FINALIZER not in (named(other).get("finalizers") or ())

    run(story())
