"""Priority and fairness: whose a request is, who gets the seats, and that no noise keeps a node's heartbeat waiting."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.controlplane.access.flowcontrol.control import FlowControl
from parkube.controlplane.access.flowcontrol.defaults import FLOWSCHEMAS, MANDATORY, PRIORITYLEVELS, SUGGESTED
from parkube.controlplane.access.flowcontrol.levels import Full, Levels, Limit, Ticket, limit_of
from parkube.controlplane.access.flowcontrol.schemas import Asked
from parkube.controlplane.apiserver.http import Request
from parkube.controlplane.apiserver.router import Target
from parkube.controlplane.apiserver.turns import LONGEST_S, Turns
from parkube.controlplane.pki import Pki, ensure
from parkube.controlplane.pki.ensure import default_sans
from parkube.controlplane.registry.resource import User
from parkube.kubeapi.client import GVR, LEASES, NODES, PODS
from parkube.kubeapi.errors import Obj, TooManyRequests
from tests.fakes.apiserver import Line, serving
from tests.fakes.cluster import Cluster
from tests.fakes.virtual_time import run
from tests.fakes.workloads import FakeCluster

ALL = ("system:authenticated",)
ADMIN = User("admin", ("system:masters", *ALL))
NODE = User("system:node:n1", ("system:nodes", *ALL))
NOISY, QUIET = User("noisy", ALL), User("quiet", ALL)
ACCOUNT = User("system:serviceaccount:shop:web", ("system:serviceaccounts", "system:serviceaccounts:shop", *ALL))
SYSTEM_ACCOUNT = User("system:serviceaccount:kube-system:dns", ("system:serviceaccounts", *ALL))


def control(*more: tuple[GVR, Obj], total: int = 240) -> FlowControl:
    made = FlowControl(total)
    for gvr, obj in (*MANDATORY, *SUGGESTED, *more):
        (made.put_schema if gvr == FLOWSCHEMAS else made.put_level)(obj)
    return made


def asked(verb: str, resource: str = "pods", group: str = "", namespace: str = "default") -> Asked:
    return Asked(verb, group, resource, namespace)


@pytest.mark.parametrize(("user", "what", "schema", "level"), [
    (ADMIN, asked("list"), "exempt", "exempt"),
    (NODE, asked("update", "leases", "coordination.k8s.io", "kube-node-lease"), "system-node-high", "node-high"),
    (NODE, asked("patch", "nodes/status", namespace=""), "system-node-high", "node-high"),
    (NODE, asked("list"), "system-nodes", "system"),
    (User("system:kube-scheduler", ALL), asked("update", "leases", "coordination.k8s.io", "kube-system"),
     "system-leader-election", "leader-election"),
    (User("system:kube-scheduler", ALL), asked("list"), "kube-scheduler", "workload-high"),
    (SYSTEM_ACCOUNT, asked("list"), "kube-system-service-accounts", "workload-high"),
    (ACCOUNT, asked("list"), "service-accounts", "workload-low"),
    (NOISY, asked("list", namespace=""), "global-default", "global-default"),
    (NOISY, Asked("get", path="/healthz"), "probes", "exempt"),
    (NOISY, Asked("get", path="/version"), "global-default", "global-default"),
    (User("nobody"), asked("list"), "catch-all", "catch-all"),
])  # fmt: skip
def test_the_default_schemas_sort_requests(user: User, what: Asked, schema: str, level: str) -> None:
    flows = control()
    for _ in range(2):  # the second time from memory
        lane = flows.lane(user, what)
        assert (lane.schema.name, lane.level.limit.name) == (schema, level)


def own_schema(name: str, level: str, precedence: int, **rule: Any) -> tuple[GVR, Obj]:
    said = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["pods"], "namespaces": ["*"], **rule}
    subjects = [{"kind": "User", "user": {"name": "noisy"}}]
    spec = {
        "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence,
        "rules": [{"subjects": subjects, "resourceRules": [said]}],
    }  # fmt: skip
    return FLOWSCHEMAS, {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec}


def test_a_schema_of_ones_own_counts_by_its_precedence_its_namespaces_and_only_with_its_level() -> None:
    flows = control(
        own_schema("first", "no-such-level", 10), own_schema("second", "system", 20, namespaces=["shop"]),
        own_schema("third", "node-high", 30, clusterScope=True, namespaces=[]),
    )  # fmt: skip
    assert flows.lane(NOISY, asked("get", namespace="shop")).schema.name == "second"
    assert flows.lane(NOISY, asked("get", namespace="default")).schema.name == "global-default"
    assert flows.lane(NOISY, asked("get", namespace="")).schema.name == "third"
    assert flows.lane(QUIET, asked("get", namespace="shop")).schema.name == "global-default"
    flows.put_level({"metadata": {"name": "no-such-level"}, "spec": {"type": "Limited", "limited": {}}})
    assert flows.lane(NOISY, asked("get", namespace="shop")).schema.name == "first"
    flows.drop_schema({"metadata": {"name": "first"}})
    assert flows.lane(NOISY, asked("get", namespace="shop")).schema.name == "second"


def test_nothing_is_without_a_lane_even_when_all_is_deleted() -> None:
    empty = FlowControl()
    assert empty.lane(ADMIN, asked("get")).level.limit.exempt
    lane = empty.lane(NOISY, asked("get"))
    assert (lane.schema.name, lane.level.nominal) == ("catch-all", 240)


def level(name: str = "one", **more: Any) -> Limit:
    return Limit(name, shares=more.pop("shares", 10), queued_most=20, flow_most=15, **more)


def test_a_level_serves_as_many_as_it_has_seats_and_the_others_wait_or_are_sent_away() -> None:
    levels = Levels(2, [level()])
    one = levels["one"]
    first, second = levels.arrive(one, "a"), levels.arrive(one, "a")
    assert first.seated
    assert second.seated
    waiting = [levels.arrive(one, "a") for _ in range(15)]
    with pytest.raises(Full):
        levels.arrive(one, "a")  # one flow may not fill all the room
    other = [levels.arrive(one, "b") for _ in range(5)]
    with pytest.raises(Full):
        levels.arrive(one, "c")
    assert levels.call() == []
    levels.leave(waiting[0])  # gave up
    levels.leave(first)
    levels.leave(second)
    assert levels.call() == [waiting[1], other[0]]  # flows take turns, each in its order


def test_what_a_level_lends_may_be_used_and_its_own_never() -> None:
    levels = Levels(20, [level("busy"), level("calm", lend_percent=40)])
    busy, calm = levels["busy"], levels["calm"]
    taken = list(itertools.takewhile(lambda t: t.seated, (levels.arrive(busy, "a") for _ in range(30))))
    assert len(taken) == 14
    assert sum(levels.arrive(calm, "b").seated for _ in range(10)) == 6
    for ticket in taken[:2]:
        levels.leave(ticket)
    assert len(levels.call()) == 2  # back in the pool: whoever waits


def test_a_limit_to_borrowing_and_no_shares_at_all() -> None:
    levels = Levels(20, [level("busy", borrow_percent=10), level("calm", lend_percent=40), level("shut", shares=0)])
    assert sum(levels.arrive(levels["busy"], "a").seated for _ in range(20)) == 11
    assert not levels.arrive(levels["shut"], "a").seated


def test_wide_requests_take_more_seats_but_never_more_than_there_are() -> None:
    levels = Levels(4, [level()])
    wide = levels.arrive(levels["one"], "a", 10)
    assert (wide.seated, wide.seats) == (True, 4)
    narrow = levels.arrive(levels["one"], "b")
    assert not narrow.seated
    levels.leave(wide)
    assert levels.call() == [narrow]


MOVES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from("xyz"), st.integers(1, 4), st.booleans()), max_size=120
)


@given(MOVES)
def test_seats_are_never_given_twice_and_nobody_is_forgotten(moves: list[tuple[str, str, int, bool]]) -> None:
    limits = [level("a"), level("b", shares=20, lend_percent=50), level("c", shares=5, lend_percent=100)]
    levels = Levels(12, limits)
    present: list[Ticket] = []
    for name, flow, seats, leaving in moves:
        if leaving and present:
            levels.leave(present.pop(seats % len(present)))
            levels.call()
        else:
            try:
                present.append(levels.arrive(levels[name], flow, seats))
            except Full:
                assert levels[name].waiting
        for limit in limits:
            mine = [t for t in present if t.level is levels[limit.name]]
            assert levels[limit.name].in_use == sum(t.seats for t in mine if t.seated)
            assert levels[limit.name].waiting == sum(not t.seated for t in mine)
            assert any(t.seated for t in mine) or not mine  # one of each level always gets on
    while present:
        present.sort(key=lambda t: not t.seated)
        assert present[0].seated
        levels.leave(present.pop(0))
        levels.call()


def test_new_limits_hold_at_once_and_a_level_that_goes_serves_its_last() -> None:
    levels = Levels(4, [level("old")])
    old = levels["old"]
    tickets = [levels.arrive(old, "a") for _ in range(6)]
    levels.configure([level("new")])
    for ticket in tickets[:4]:
        levels.leave(ticket)
    assert levels.call() == tickets[4:]
    for ticket in tickets[4:]:
        levels.leave(ticket)
    levels.configure([level("new")])
    with pytest.raises(KeyError):
        levels["old"]


def test_the_numbers_of_an_object() -> None:
    [global_default] = [obj for _, obj in SUGGESTED if obj["metadata"]["name"] == "global-default" and "limited" in
                        obj["spec"]]  # fmt: skip
    assert limit_of(global_default)._replace(uid="") == Limit(
        "global-default", shares=20, lend_percent=50, queued_most=6400, flow_most=300
    )


class World:
    """Clients of one server."""

    def __init__(self, total: int = 240) -> None:
        self.control = control(total=total)
        self.turns = Turns(self.control, lambda row: 0)
        self.served: list[str] = []
        self.busy = self.most = 0

    async def ask(self, user: User, gvr: GVR = PODS, verb: str = "list", takes_s: float = 0.0) -> None:
        request = Request("GET", b"/", {}, _Connection())  # type: ignore[arg-type]
        ticket = await self.turns.take(request, user, Target(verb, gvr, None, "default"), verb)
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await asyncio.sleep(takes_s)
            self.served.append(user.name)
        finally:
            self.busy -= 1
            if ticket is not None:
                self.turns.give(ticket)


class _Connection:
    transport = object()


def test_a_node_renews_its_lease_while_a_noisy_client_waits() -> None:
    async def story() -> None:
        world, loop = World(), asyncio.get_running_loop()
        noise = [asyncio.create_task(world.ask(NOISY, takes_s=2.0)) for _ in range(300)]
        await asyncio.sleep(0.1)
        before = loop.time()
        await asyncio.gather(*(world.ask(NODE, LEASES, "update") for _ in range(20)))
        await world.ask(NODE, NODES, "patch")
        assert loop.time() == before  # not a moment
        assert world.most < 200
        await asyncio.gather(*noise)
        assert world.served.count("noisy") == 300

    run(story())


def test_a_quiet_user_takes_turns_with_a_noisy_one_of_the_same_level() -> None:
    async def story() -> None:
        world = World(total=12)  # one seat for those of no level of their own, and what is lent
        noise = [asyncio.create_task(world.ask(NOISY, takes_s=0.01)) for _ in range(200)]
        await asyncio.sleep(0)
        await asyncio.gather(*(world.ask(QUIET, takes_s=0.01) for _ in range(20)))
        assert world.served.count("noisy") < 45
        await asyncio.gather(*noise)

    run(story())


def test_requests_that_never_wait_are_held_back_too() -> None:
    async def story() -> None:
        world = World(total=12)
        crowd = [asyncio.create_task(world.ask(NOISY)) for _ in range(100)]
        for _ in range(2):
            await asyncio.sleep(0)
        assert len(world.served) < 12
        await asyncio.gather(*crowd)

    run(story())


def test_who_finds_no_room_or_waits_too_long_is_told_to_come_again() -> None:
    async def story() -> None:
        world, loop = World(total=12), asyncio.get_running_loop()
        crowd = [asyncio.create_task(world.ask(NOISY, takes_s=LONGEST_S * 2)) for _ in range(400)]
        await asyncio.sleep(1)
        refused = [task.exception() for task in crowd if task.done()]
        assert 80 < len(refused) < 100  # one flow's room is 300
        assert all(isinstance(e, TooManyRequests) and e.details == {"retryAfterSeconds": 1} for e in refused)
        before = loop.time()
        with pytest.raises(TooManyRequests):
            await world.ask(QUIET)
        assert loop.time() - before == LONGEST_S
        await asyncio.gather(*crowd, return_exceptions=True)
        await world.ask(QUIET)  # nothing is left behind by those who gave up

    run(story())


def test_who_goes_away_while_waiting_frees_the_place() -> None:
    async def story() -> None:
        world = World(total=12)
        crowd = [asyncio.create_task(world.ask(NOISY, takes_s=1.0)) for _ in range(50)]
        await asyncio.sleep(0.5)
        for task in crowd[30:]:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        assert world.served.count("noisy") == 30
        await asyncio.sleep(0)
        assert world.control.levels["global-default"].in_use == 0

    run(story())


async def test_a_cluster_has_the_default_objects_and_keeps_what_it_cannot_do_without() -> None:
    async with Cluster() as cluster:
        names = {
            name for gvr, obj in (*MANDATORY, *SUGGESTED) if gvr == FLOWSCHEMAS for name in [obj["metadata"]["name"]]
        }
        assert {obj["metadata"]["name"] for obj in await cluster.access.find(FLOWSCHEMAS, "")} == names
        assert cluster.access.flows.lane(NODE, asked("list")).schema.uid
        await cluster.delete(PRIORITYLEVELS, "catch-all")
        await cluster.delete(FLOWSCHEMAS, "probes")
        await cluster.settle()
        names = {obj["metadata"]["name"] for obj in await cluster.access.find(PRIORITYLEVELS, "")}
        assert "catch-all" in names
        assert cluster.access.flows.lane(NOISY, Asked("get", path="/healthz")).schema.name == "global-default"


def test_a_schema_says_whether_its_level_exists() -> None:
    async def story() -> None:
        async with FakeCluster("flowschema-status", agents=False) as c:
            c.client.put(*own_schema("mine", "later", 10))
            await asyncio.sleep(1)

            def dangling() -> str:
                [found] = c.client.all(FLOWSCHEMAS)[0]["status"]["conditions"]
                return f"{found['type']} {found['status']} {found['reason']}"

            assert dangling() == "Dangling True NotFound"
            c.client.put(PRIORITYLEVELS, {"metadata": {"name": "later"}, "spec": {}})
            await asyncio.sleep(1)
            assert dangling() == "Dangling False Found"
            c.client.drop(PRIORITYLEVELS, "later")
            await asyncio.sleep(1)
            assert dangling() == "Dangling True NotFound"

    run(story())


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return ensure(tmp_path_factory.mktemp("pki"), sans=default_sans("10.43.0.0/16", "cluster.local"))


async def test_an_answer_says_how_its_request_was_sorted_and_429_when_to_come_again(pki: Pki, tmp_path: Path) -> None:
    async with serving(pki, tmp_path) as server:
        line = Line(server, ADMIN)
        code, found = await line.ask("GET", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/exempt")
        assert code == 200
        assert f"X-Kubernetes-PF-FlowSchema-UID: {found['metadata']['uid']}" in line.head
        path = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"
        limited = {"nominalConcurrencyShares": 0, "limitResponse": {"type": "Reject"}}
        body: Obj = {"metadata": {"name": "shut"}, "spec": {"type": "Limited", "limited": limited}}
        assert (await line.ask("POST", path, body))[0] == 201
        _, schema = own_schema("shut", "shut", 5)
        assert (await line.ask("POST", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", schema))[0] == 201
        noisy = Line(server, NOISY)
        code, found = await noisy.ask("GET", "/api/v1/namespaces/default/pods")
        assert (code, found["reason"]) == (429, "TooManyRequests")
        assert "Retry-After: 1" in noisy.head
        assert (await noisy.ask("GET", "/api/v1/namespaces/default/secrets"))[0] == 403
