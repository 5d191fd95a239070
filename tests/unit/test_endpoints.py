"""Services to endpoints: named ports, readiness, ending pods, many pods, and the API server's own."""

from __future__ import annotations

import asyncio

import pytest

from parkube.controlplane.controllers.endpoints.addresses import IPADDRESSES, address
from parkube.controlplane.controllers.options import Options
from parkube.controlplane.registry.kinds.networking import IPAddressStrategy
from parkube.controlplane.registry.metadata import name_faults
from parkube.kubeapi.client import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICECIDRS, SERVICES
from parkube.kubeapi.errors import Obj
from tests.fakes.virtual_time import run
from tests.fakes.workloads import FakeCluster


def service(**spec: object) -> Obj:
    ports = [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "labels": {"a": "b"}},
        "spec": {"selector": {"app": "web"}, "ports": ports, "type": "NodePort", **spec},
    }  # fmt: skip


def pod(name: str, ip: str, *, port: int = 8080, ready: bool = True, **meta: object) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}, **meta},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]},
        "status": {
            "phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }  # fmt: skip


def slices(c: FakeCluster) -> list[tuple[list[int], list[tuple[str, bool, bool, bool]]]]:
    """Ports, and (address, ready, serving, terminating) of each slice."""
    out = []
    for s in c.client.all(ENDPOINTSLICES):
        assert s["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
        ends = [(e["addresses"][0], *e["conditions"].values()) for e in s["endpoints"]]
        out.append(([p["port"] for p in s["ports"]], ends))
    return sorted(out)


def test_pods_come_change_end_and_go() -> None:
    async def story() -> None:
        async with FakeCluster("endpoints", agents=False) as c:
            c.node("n1", labels={"topology.kubernetes.io/zone": "z"})
            c.client.put(PODS, pod("a", "10.0.0.1"))
            c.client.put(PODS, pod("b", "10.0.0.2", ready=False))
            c.client.put(PODS, pod("other", "10.0.0.9", labels={"app": "db"}))
            await c.client.create(SERVICES, service(), "default")
            await asyncio.sleep(1)
            fine, waiting, ending = (True, True, False), (False, False, False), (False, True, True)
            assert slices(c) == [([8080], [("10.0.0.1", *fine), ("10.0.0.2", *waiting)])]
            [s] = c.client.all(ENDPOINTSLICES)
            assert s["endpoints"][0]["zone"] == "z"
            assert s["endpoints"][0]["nodeName"] == "n1"
            [e] = c.client.all(ENDPOINTS)
            assert [a["ip"] for a in e["subsets"][0]["addresses"]] == ["10.0.0.1"]
            assert [a["ip"] for a in e["subsets"][0]["notReadyAddresses"]] == ["10.0.0.2"]
            assert e["subsets"][0]["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]

            c.client.put(PODS, pod("c", "10.0.0.3", port=9090))  # the same name, another number
            c.client.put(PODS, pod("a", "10.0.0.1", deletionTimestamp="2026-01-01T00:00:00Z"))
            await asyncio.sleep(1)
            assert slices(c) == [
                ([8080], [("10.0.0.1", *ending), ("10.0.0.2", *waiting)]), ([9090], [("10.0.0.3", *fine)]),
            ]  # fmt: skip
            quiet = len(c.client.actions)
            noisy = pod("b", "10.0.0.2", ready=False)
            noisy["status"]["containerStatuses"] = [{"restartCount": 5}]
            c.client.put(PODS, noisy)
            await asyncio.sleep(1)
            assert len(c.client.actions) == quiet

            for name in "abc":
                c.client.drop(PODS, name, "default")
            await asyncio.sleep(1)
            assert slices(c) == [([], [])]
            c.client.drop(SERVICES, "web", "default")
            await asyncio.sleep(1)
            assert c.client.all(ENDPOINTSLICES) == c.client.all(ENDPOINTS) == []

    run(story())


def test_a_hundred_endpoints_a_slice_and_a_service_without_selector_is_left_alone() -> None:
    async def story() -> None:
        async with FakeCluster("endpoints", agents=False) as c:
            for n in range(250):
                c.client.put(PODS, pod(f"p{n:03}", f"10.0.1.{n}"))
            await c.client.create(SERVICES, service(), "default")
            bare = service(selector=None)
            bare["metadata"]["name"] = "bare"
            await c.client.create(SERVICES, bare, "default")
            await asyncio.sleep(1)
            assert sorted(len(ends) for _, ends in slices(c)) == [50, 100, 100]
            assert len(c.client.all(ENDPOINTS)) == 1

    run(story())


def test_the_api_server_publishes_itself_and_corrects_what_was_changed() -> None:
    async def story() -> None:
        options = Options(api_addresses=["192.0.2.7"], api_port=6443)
        async with FakeCluster("apiserver-endpoints", options=options) as c:
            await asyncio.sleep(1)
            [s] = c.client.all(SERVICES)
            assert (s["metadata"]["name"], s["spec"]["clusterIP"]) == ("kubernetes", "10.43.0.1")
            [e] = c.client.all(ENDPOINTS)
            assert e["subsets"] == [
                {"addresses": [{"ip": "192.0.2.7"}], "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}
            ]
            [r] = c.client.all(SERVICECIDRS)
            assert (r["metadata"]["name"], r["spec"]["cidrs"]) == ("kubernetes", ["10.43.0.0/16"])
            assert r["status"]["conditions"][0]["type"] == "Ready"
            e["subsets"] = []
            c.client.put(ENDPOINTS, e)
            await asyncio.sleep(40)
            assert c.client.all(ENDPOINTS)[0]["subsets"]
            assert c.client.all(ENDPOINTSLICES)[0]["endpoints"][0]["addresses"] == ["192.0.2.7"]

    run(story())


def test_what_somebody_deletes_is_written_again() -> None:
    async def story() -> None:
        async with FakeCluster("endpoints", agents=False) as c:
            c.client.put(PODS, pod("a", "10.0.0.1"))
            await c.client.create(SERVICES, service(), "default")
            await asyncio.sleep(1)
            before = slices(c)
            [s] = c.client.all(ENDPOINTSLICES)
            await c.client.delete(ENDPOINTSLICES, s["metadata"]["name"], "default")
            await c.client.delete(ENDPOINTS, "web", "default")
            await asyncio.sleep(1)
            assert slices(c) == before
            assert len(c.client.all(ENDPOINTS)) == 1
            quiet = len(c.client.actions)
            await asyncio.sleep(5)
            assert len(c.client.actions) == quiet

    run(story())


def test_endpoints_written_by_hand_are_mirrored() -> None:
    async def story() -> None:
        async with FakeCluster("endpoints", "endpointslice-mirroring", agents=False) as c:

            def mirrors() -> list[tuple[str, bool, int]]:
                return sorted(
                    (e["addresses"][0], e["conditions"]["ready"], s["ports"][0]["port"])
                    for s in c.client.all(ENDPOINTSLICES)
                    for e in s["endpoints"]
                )

            hand: Obj = {
                "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "default"},
                "subsets": [{
                    "addresses": [{"ip": "10.1.2.3"}], "notReadyAddresses": [{"ip": "10.1.2.4"}],
                    "ports": [{"port": 80, "protocol": "TCP"}],
                }],
            }  # fmt: skip
            made = await c.client.create(ENDPOINTS, hand, "default")
            await asyncio.sleep(1)
            assert mirrors() == [], "without their Service they mean nothing"
            await c.client.create(SERVICES, service(selector=None), "default")
            await asyncio.sleep(1)
            assert mirrors() == [("10.1.2.3", True, 80), ("10.1.2.4", False, 80)]
            [s] = c.client.all(ENDPOINTSLICES)
            assert s["metadata"]["labels"] == {
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
            }
            assert s["metadata"]["ownerReferences"][0]["kind"] == "Endpoints"

            changed = {**made, "subsets": [{"addresses": [{"ip": "10.2.3.4"}], "ports": [{"port": 80}]}]}
            await c.client.update(ENDPOINTS, changed)
            await asyncio.sleep(1)
            assert mirrors() == [("10.2.3.4", True, 80)]
            await c.client.delete(ENDPOINTSLICES, c.client.all(ENDPOINTSLICES)[0]["metadata"]["name"], "default")
            await asyncio.sleep(1)
            assert mirrors() == [("10.2.3.4", True, 80)]
            await c.client.delete(ENDPOINTS, "web", "default")
            await asyncio.sleep(1)
            assert c.client.all(ENDPOINTSLICES) == []

            hand["metadata"]["labels"] = {"endpointslice.kubernetes.io/skip-mirror": "true"}
            await c.client.create(ENDPOINTS, hand, "default")
            await asyncio.sleep(1)
            assert c.client.all(ENDPOINTSLICES) == []

    run(story())


def test_the_dns_service_is_there_for_those_who_look_for_it() -> None:
    async def story() -> None:
        async with FakeCluster("apiserver-endpoints", options=Options(dns_ip="10.43.0.10"), agents=False) as c:
            await asyncio.sleep(1)
            found = await c.client.get(SERVICES, "kube-dns", "kube-system")
            assert found["spec"]["clusterIP"] == "10.43.0.10"
            assert [(p["name"], p["protocol"]) for p in found["spec"]["ports"]] == [("dns", "UDP"), ("dns-tcp", "TCP")]

    run(story())


def test_addresses_of_services_are_objects() -> None:
    async def story() -> None:
        async with FakeCluster("service-addresses", agents=False) as c:

            def taken() -> dict[str, str]:
                return {o["metadata"]["name"]: o["spec"]["parentRef"]["name"] for o in c.client.all(IPADDRESSES)}

            stale = address("10.43.0.99", "default/gone")
            await c.client.create(IPADDRESSES, stale)
            await c.client.create(SERVICES, service(clusterIP="10.43.0.7", clusterIPs=["10.43.0.7"]), "default")
            await asyncio.sleep(1)
            assert taken() == {"10.43.0.7": "web"}, "what nobody has is given back"
            c.client.drop(SERVICES, "web", "default")
            await asyncio.sleep(1)
            assert taken() == {}

    run(story())


@pytest.mark.parametrize(("name", "fine"), [("192.0.2.1", True), ("fe80::1", True), ("web", False), ("a/b", False)])
def test_an_address_object_is_called_by_its_address(name: str, fine: bool) -> None:
    strategy = IPAddressStrategy()
    faults = strategy.validate(address(name, "default/web"), None, "")
    faults += name_faults({"name": name}, strategy.name_rule)
    assert (not faults) is fine
