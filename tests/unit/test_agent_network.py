"""The node's network: which backends a Service has, the rules' text and its changes, and the links to other nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.network.apply import Nftables
from parkube.nodeagent.network.backends import entries, host_ports, keep_service, keep_slice, local_pods
from parkube.nodeagent.network.cni import conflist
from parkube.nodeagent.network.flows import Flow, concerns
from parkube.nodeagent.network.overlay import Peer, links, mac_of
from parkube.nodeagent.network.rules import (
    Backend,
    Entry,
    HostPort,
    Rules,
    Stale,
    Table,
    change,
    stale_udp,
    table,
    whole,
)

TWO = (Backend("10.42.1.2", 80), Backend("10.42.2.3", 80))


def rules(*entries: Entry, host: tuple[HostPort, ...] = ()) -> Table:
    return table(Rules("10.42.1.0/24", "cni0", "10.43.0.0/16", "10.42.0.0/16", entries, host))


def entry(name: str = "default/web:80", **more: Any) -> Entry:
    return Entry(
        **{"name": name, "protocol": "tcp", "port": 80, "cluster_ips": ("10.43.0.5",), "backends": TWO, **more}
    )


# -- rules


def test_every_door_leads_to_the_backends() -> None:
    web = entry(cluster_ips=("10.43.0.5", "fd00::5"), external_ips=("192.0.2.7",), node_port=30080)
    none = entry("default/none:80", cluster_ips=("10.43.0.6",), node_port=30081, backends=())
    made = rules(web, none, host=(HostPort("tcp", 8080, TWO[0]), HostPort("tcp", 8080, TWO[1])))
    assert made.elements["doors"].keys() == {"10.43.0.5 . tcp . 80", "192.0.2.7 . tcp . 80"}
    assert made.elements["node_doors"].keys() == {"tcp . 30080", "tcp . 8080"}, "one pod has a host port, never two"
    assert made.elements["refused"] == {"10.43.0.6 . tcp . 80": ""}
    assert made.elements["refused_nodes"] == {"tcp . 30081": ""}
    [body] = made.chains[made.elements["doors"]["10.43.0.5 . tcp . 80"].split()[1]]
    assert body == "meta l4proto tcp dnat to numgen random mod 2 map { 0 : 10.42.1.2 . 80, 1 : 10.42.2.3 . 80 }"
    assert whole(made).startswith("table ip parkube {}\ndelete table ip parkube\ntable ip parkube {")


def test_a_local_policy_serves_outsiders_from_here_alone() -> None:
    made = rules(entry(node_port=30080, local=TWO[:1], outside_local=True))
    outside = made.chains[made.elements["node_doors"]["tcp . 30080"].split()[1]]
    inside = made.elements["doors"]["10.43.0.5 . tcp . 80"]
    assert outside[0] == f"ip saddr 10.42.0.0/16 {inside}", "from inside the cluster all backends are as good"
    assert made.chains[outside[2].split()[1]] == ("meta l4proto tcp dnat to 10.42.1.2:80",)
    made = rules(entry(inside_local=True))
    assert made.chains[made.elements["doors"]["10.43.0.5 . tcp . 80"].split()[1]] == ("drop",)


def test_clients_are_remembered_for_as_long_as_asked() -> None:
    made = rules(entry(sticky_s=60))
    assert sorted(made.memories.values()) == [60, 60]
    body = made.chains[made.elements["doors"]["10.43.0.5 . tcp . 80"].split()[1]]
    assert len(body) == 3
    assert body[0].startswith("ip saddr @a_")
    assert "numgen random mod 2 vmap" in body[2]
    more = rules(entry(sticky_s=60), entry("default/other:80", cluster_ips=("10.43.0.9",)))
    assert "a_" not in change(made, more), "what is remembered for one Service survives another's coming"


def test_nothing_is_written_where_nothing_differs_and_little_where_little_does() -> None:
    many = [entry(f"default/s{i}:80", cluster_ips=(f"10.43.1.{i}",)) for i in range(200)]
    before = rules(*many)
    assert change(before, rules(*reversed(many))) == ""
    after = rules(*many[:-1], entry("default/s199:80", cluster_ips=("10.43.1.199",), backends=TWO[:1]))
    lines = change(before, after).splitlines()
    assert [line.split()[0] for line in lines] == ["flush", "add"]


backends = st.lists(st.builds(Backend, st.sampled_from(["10.42.1.2", "10.42.2.3"]), st.integers(1, 3)), max_size=3)
some = st.builds(
    Entry, name=st.sampled_from(["a", "b", "c"]), protocol=st.sampled_from(["tcp", "udp"]), port=st.integers(1, 3),
    cluster_ips=st.lists(st.sampled_from(["10.43.0.1", "10.43.0.2"]), max_size=2).map(tuple),
    node_port=st.sampled_from([0, 30001, 30002]), backends=backends.map(tuple), local=backends.map(tuple),
    inside_local=st.booleans(), outside_local=st.booleans(), sticky_s=st.sampled_from([0, 60]),
)  # fmt: skip
tables = st.lists(some, max_size=4, unique_by=lambda e: e.name).map(lambda found: rules(*found))


class Kernel:
    """As much of nft as our changes use; refuses what nft refuses."""

    def __init__(self, start: Table) -> None:
        self.chains = {name: list(body) for name, body in start.chains.items()}
        self.sets = set(start.memories)
        self.elements = {name: dict(found) for name, found in start.elements.items()}

    def take(self, text: str) -> None:
        for line in text.splitlines():
            words = line.split()
            verb, what, name = words[0], words[1], words[4]
            if (verb, what) == ("add", "set"):
                self.sets.add(name)
            elif (verb, what) == ("add", "chain") or (verb, what) == ("flush", "chain"):
                self.chains[name] = []
            elif (verb, what) == ("add", "rule"):
                self.chains[name].append(" ".join(words[5:]))
            elif what == "element":
                for one in " ".join(words[6:-1]).split(", "):
                    key, _, verdict = one.partition(" : ")
                    if verb == "delete":
                        del self.elements[name][key]
                    else:
                        assert self.elements[name].setdefault(key, verdict) == verdict, "an element is there already"
            elif (verb, what) == ("delete", "chain"):
                assert not any(f"goto {name}" in rule for body in self.chains.values() for rule in body), "in use"
                assert not any(v == f"goto {name}" for found in self.elements.values() for v in found.values()), (
                    "in use"
                )
                del self.chains[name]
            elif (verb, what) == ("delete", "set"):
                assert not any(f"@{name}" in rule for body in self.chains.values() for rule in body), "in use"
                self.sets.remove(name)
            else:
                raise AssertionError(line)


@given(tables, tables)
def test_any_change_leads_to_what_is_wanted(old: Table, new: Table) -> None:
    kernel = Kernel(old)
    kernel.take(change(old, new))
    assert {name: tuple(body) for name, body in kernel.chains.items()} == new.chains
    assert (kernel.sets, kernel.elements) == (set(new.memories), new.elements)


def test_udp_flows_to_lost_backends_are_forgotten() -> None:
    def dns(*backends: Backend) -> list[Entry]:
        return [Entry("dns", "udp", 53, ("10.43.0.9",), node_port=30053, backends=backends)]

    assert stale_udp(dns(*TWO), dns(TWO[0])) == [Stale("10.43.0.9", 53, "10.42.2.3"), Stale("", 30053, "10.42.2.3")]
    assert stale_udp(dns(), dns(TWO[0])) == [Stale("10.43.0.9", 53, ""), Stale("", 30053, "")]
    assert stale_udp(dns(TWO[0]), [])[0] == Stale("10.43.0.9", 53, "10.42.1.2")
    assert stale_udp(dns(*TWO), dns(*TWO)) == []


def test_which_flows_an_order_is_about() -> None:
    gone, fresh = [Stale("10.43.0.9", 53, "10.42.2.3")], [Stale("", 30053, "")]
    assert concerns(Flow("10.43.0.9", 53, "10.42.2.3"), gone)
    assert not concerns(Flow("10.43.0.9", 53, "10.42.2.4"), gone)
    assert not concerns(Flow("10.43.0.9", 54, "10.42.2.3"), gone)
    assert concerns(Flow("192.0.2.1", 30053, "192.0.2.1"), fresh), "it began when nobody served"
    assert not concerns(Flow("192.0.2.1", 30053, "10.42.2.3"), fresh)


async def test_rules_that_cannot_be_changed_are_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    from parkube.nodeagent.network import apply

    written: list[str] = []
    refuse = False

    async def nft(text: str) -> None:
        if refuse and not text.startswith("table"):
            raise apply.NetworkFault("No such file or directory")
        written.append(text)

    monkeypatch.setattr(apply, "_nft", nft)
    nftables = Nftables()
    assert await nftables.apply(rules())
    assert not await nftables.apply(rules())
    assert await nftables.apply(rules(entry()))
    refuse = True
    assert await nftables.apply(rules())
    assert [text.split()[0] for text in written] == ["table", "add", "table"]


# -- backends


def pod(name: str, ip: str, *, ready: bool = True, namespace: str = "default", **meta: Any) -> tuple[Obj, Obj]:
    container = {"name": "c", "ports": [{"name": "h", "containerPort": 8080, "hostPort": 88}]}
    labels = {"app": "web"} | meta.pop("labels", {})
    about = {"name": name, "namespace": namespace, "labels": labels, **meta}
    return {"metadata": about, "spec": {"containers": [container]}}, {
        "podIP": ip,
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": str(ready)}],
    }


def service(**spec: Any) -> bytes:
    port = {"name": "http", "port": 80, "targetPort": "h"}
    return keep_service({"spec": {"clusterIP": "10.43.0.5", "selector": {"app": "web"}, "ports": [port], **spec}})


def piece(*ends: tuple[str, str, bool, bool]) -> Any:
    return keep_slice({
        "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [ip], "nodeName": node, "conditions": {"ready": r, "serving": r or t, "terminating": t}}
            for ip, node, r, t in ends
        ],
    })  # fmt: skip


def found(kept: bytes, pods: list[tuple[Obj, Obj]], *slices: Any, key: str = "default/web") -> list[Entry]:
    return list(entries([(key, kept)], local_pods(pods), {key: slices}, "n1", Backend("192.0.2.1", 6443)))


def test_own_pods_by_what_the_agent_knows_and_others_by_slices() -> None:
    pods = [
        pod("a", "10.42.1.2"), pod("b", "10.42.1.3", ready=False), pod("c", "10.42.1.4", namespace="other"),
        pod("d", "10.42.1.5", labels={"app": "db"}),
    ]  # fmt: skip
    told = piece(("10.42.1.9", "n1", True, False), ("10.42.2.2", "n2", True, False), ("10.42.2.3", "n2", False, False))
    [e] = found(service(), pods, told)
    assert e.backends == (Backend("10.42.1.2", 8080), Backend("10.42.2.2", 8080))
    assert e.local == (Backend("10.42.1.2", 8080),)
    [e] = found(service(selector=None), pods, told)
    assert [b.ip for b in e.backends] == ["10.42.1.9", "10.42.2.2"], "without a selector the slices are all there is"
    assert found(service(clusterIP="None"), pods, told) == []
    [e] = found(service(), pods, key="default/kubernetes")
    assert e.backends == (Backend("192.0.2.1", 6443),)


def test_what_ends_serves_while_nothing_else_does() -> None:
    ending = pod("a", "10.42.1.2", deletionTimestamp="2026-01-01T00:00:00Z")
    told = piece(("10.42.2.2", "n2", False, True), ("10.42.2.3", "n2", False, False))
    [e] = found(service(), [ending], told)
    assert [b.ip for b in e.backends] == ["10.42.1.2", "10.42.2.2"]
    [e] = found(service(), [ending], told, piece(("10.42.2.4", "n2", True, False)))
    assert [b.ip for b in e.backends] == ["10.42.2.4"]
    assert [b.ip for b in e.local] == ["10.42.1.2"], "of those on this node it is still the best"


def test_what_a_service_says_of_its_doors() -> None:
    affinity = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}
    more = {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local", "externalIPs": ["192.0.2.7"]}
    [e] = found(service(**affinity, **more, publishNotReadyAddresses=True), [pod("a", "10.42.1.2", ready=False)])
    assert (e.sticky_s, e.outside_local, e.inside_local, e.external_ips) == (7, True, True, ("192.0.2.7",))
    assert e.backends
    kept = [("kube-system/kube-dns", service(clusterIP="10.43.0.10"))]
    assert not list(entries(kept, [], {}, "n1", None, frozenset({"10.43.0.10"}))), "the node answers that itself"


def test_host_ports_of_pods_with_a_network_of_their_own() -> None:
    assert host_ports(local_pods([pod("a", "10.42.1.2")])) == [HostPort("tcp", 88, Backend("10.42.1.2", 8080))]


# -- links


def test_the_way_to_other_nodes_pods() -> None:
    peers = [Peer("10.42.0.0/24", "192.0.2.1"), Peer("10.42.7.0/24", "192.0.2.2"), Peer("", "192.0.2.3")]
    made = links("vxlan", "10.42.0.0/24", "192.0.2.1", peers, ("10.43.0.10",))
    assert made.device is not None
    assert (made.device.local, made.device.address) == ("192.0.2.1", "10.42.0.0")
    assert made.routes == (("10.42.7.0/24", "10.42.7.0"),)
    assert made.neighbours == (("10.42.7.0", "0a:58:0a:2a:07:00", "192.0.2.2"),)
    plain = links("host-gw", "10.42.0.0/24", "192.0.2.1", peers)
    assert (plain.device, plain.routes, plain.neighbours) == (None, (("10.42.7.0/24", "192.0.2.2"),), ())
    assert links("none", "10.42.0.0/24", "192.0.2.1", peers).routes == ()


@given(st.integers(0, 255), st.integers(0, 255))
def test_both_ends_know_a_device_by_its_pod_addresses(one: int, other: int) -> None:
    a, b = Peer(f"10.42.{one}.0/24", "192.0.2.1"), Peer(f"10.42.{other}.0/24", "192.0.2.2")
    there = links("vxlan", b.cidr, b.address, [a, b]).device
    here = links("vxlan", a.cidr, a.address, [a, b]).neighbours
    assert there is not None
    if one != other:
        assert here == ((there.address, there.mac, there.local),)
    assert int(mac_of(a.cidr)[:2], 16) & 3 == 2, "locally administered, of one device"


def test_pods_leave_room_for_the_tunnels_header() -> None:
    assert json.loads(conflist("10.42.3.0/24", Path("/x"), 1450))["plugins"][0]["mtu"] == 1450
    assert "mtu" not in conflist("10.42.3.0/24", Path("/x"))
