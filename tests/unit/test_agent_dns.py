"""The cluster's DNS on a node: the records of every kind of name, messages in and out, sockets and servers above."""

from __future__ import annotations

import asyncio
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.network.backends import keep_service, keep_slice
from parkube.nodeagent.network.dns.messages import answer
from parkube.nodeagent.network.dns.records import Directory, find, reverse
from parkube.nodeagent.network.dns.server import DnsServer, Forwarder
from parkube.nodeagent.volumes.hosts import render

DOMAIN = "cluster.local"
PORTS = [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "dns", "port": 53, "protocol": "UDP"}]


def headless_slice() -> Any:
    return keep_slice({
        "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "db"}}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.42.2.2"], "nodeName": "n2", "hostname": "db-1", "conditions": {"ready": True}},
            {"addresses": ["10.42.2.3"], "nodeName": "n2", "conditions": {"ready": False}},
            {"addresses": ["10.42.1.9"], "nodeName": "n1", "conditions": {"ready": True}},
        ],
    })  # fmt: skip


def own_pod(ip: str, *, ready: bool = True, hostname: str = "", subdomain: str = "") -> Obj:
    return {
        "namespace": "default", "labels": {"app": "db"}, "ip": ip, "ready": ready, "hostname": hostname,
        "subdomain": subdomain, "ports": [{"name": "web", "containerPort": 8080}],
    }  # fmt: skip


def directory(*pods: Obj) -> Directory:
    def kept(**spec: Any) -> bytes:
        return keep_service({"spec": spec})

    services = {
        "default/kubernetes": kept(clusterIP="10.43.0.1", ports=[{"name": "https", "port": 443}]),
        "default/web": kept(clusterIP="10.43.0.7", ports=PORTS),
        "default/db": kept(clusterIP="None", ports=PORTS[:1], selector={"app": "db"}),
        "default/empty": kept(clusterIP="None", selector={"app": "none"}),
        "default/out": kept(type="ExternalName", externalName="www.example.test"),
        "default/in": kept(type="ExternalName", externalName="web.default.svc.cluster.local"),
        "default/loop": kept(type="ExternalName", externalName="loop.default.svc.cluster.local"),
    }
    told = {"default/db": (headless_slice(),)}
    return Directory(DOMAIN, "n1", services, lambda key: told.get(key, ()), lambda: list(pods))


def data(name: str, kind: str = "A", *pods: Obj) -> list[str] | None:
    found = find(directory(*pods), name, kind)
    return sorted(r.data for r in found.answers) if found.exists else None


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("kubernetes.default.svc.cluster.local", "A", ["10.43.0.1"]),
        ("web.default.svc.cluster.local", "AAAA", []),
        ("web.default.svc.cluster.local", "A", ["10.43.0.7"]),
        ("_http._tcp.web.default.svc.cluster.local", "SRV", ["0 100 80 web.default.svc.cluster.local."]),
        ("_dns._udp.web.default.svc.cluster.local", "SRV", ["0 100 53 web.default.svc.cluster.local."]),
        ("_dns._tcp.web.default.svc.cluster.local", "SRV", None),
        ("_http._tcp.web.default.svc.cluster.local", "A", []),
        ("a.b.web.default.svc.cluster.local", "A", None),
        ("out.default.svc.cluster.local", "A", ["www.example.test."]),
        ("out.default.svc.cluster.local", "CNAME", ["www.example.test."]),
        ("empty.default.svc.cluster.local", "A", None),
        ("none.default.svc.cluster.local", "A", None),
        ("default.svc.cluster.local", "A", []),
        ("nowhere.svc.cluster.local", "A", None),
        ("svc.cluster.local", "A", []),
        ("other.cluster.local", "A", None),
        ("dns-version.cluster.local", "TXT", ['"1.1.0"']),
        ("10-42-2-2.default.pod.cluster.local", "A", ["10.42.2.2"]),
        ("no-address.default.pod.cluster.local", "A", None),
    ],
)
def test_the_records_of_a_name(name: str, kind: str, expected: list[str] | None) -> None:
    assert data(name, kind) == expected


def test_a_headless_service_is_its_endpoints_own_pods_first_hand() -> None:
    mine = (own_pod("10.42.1.2", hostname="db-0", subdomain="db"), own_pod("10.42.1.3", ready=False))
    db = "db.default.svc.cluster.local"
    assert data(db, "A", *mine) == ["10.42.1.2", "10.42.2.2"], "not ready ones are left out, and our own told by others"
    assert data(f"db-0.{db}", "A", *mine) == ["10.42.1.2"]
    assert data(f"db-1.{db}", "A", *mine) == ["10.42.2.2"]
    assert data(f"10-42-1-2.{db}", "A", *mine) is None, "who has a name is called by it"
    assert data(f"_http._tcp.{db}", "SRV", *mine) == [f"0 50 8080 db-0.{db}.", f"0 50 8080 db-1.{db}."]


def test_addresses_have_names() -> None:
    def name(ip: str) -> list[str]:
        mine = own_pod("10.42.1.2", hostname="db-0", subdomain="db")
        asked = ".".join(reversed(ip.split("."))) + ".in-addr.arpa"
        return [r.data for r in reverse(directory(mine), asked).answers]

    assert name("10.43.0.7") == ["web.default.svc.cluster.local."]
    assert name("10.42.1.2") == ["db-0.db.default.svc.cluster.local."]
    assert name("192.0.2.1") == []


class Above:
    """The servers above."""

    def __init__(self, text: str = "") -> None:
        self.asked: list[str] = []
        self._text = text

    async def __call__(self, query: bytes, tcp: bool) -> bytes | None:
        asked = dns.message.from_wire(query)
        self.asked.append(asked.question[0].name.to_text())
        if not self._text:
            return None
        reply = dns.message.make_response(asked)
        reply.answer = [dns.rrset.from_text(asked.question[0].name, 9, "IN", "A", self._text)]  # type: ignore[attr-defined]
        return reply.to_wire()


async def ask(name: str, kind: str = "A", above: Above | None = None, *, tcp: bool = False, **more: Any) -> Any:
    query = dns.message.make_query(name, kind, **more)
    said = await answer(query.to_wire(), more.get("directory", directory()), above or Above(), tcp=tcp)
    assert said is not None
    reply = dns.message.from_wire(said)
    assert reply.id == query.id
    return reply


async def test_names_that_are_there_that_have_no_such_record_and_that_are_not() -> None:
    reply = await ask("WEB.Default.svc.cluster.local")
    assert [str(r).lower() for r in reply.answer] == ["web.default.svc.cluster.local. 5 in a 10.43.0.7"]
    assert reply.flags & dns.flags.AA
    nothing = await ask("web.default.svc.cluster.local", "AAAA")
    assert (nothing.rcode(), nothing.answer, len(nothing.authority)) == (dns.rcode.NOERROR, [], 1)
    missing = await ask("no.default.svc.cluster.local")
    assert (missing.rcode(), len(missing.authority)) == (dns.rcode.NXDOMAIN, 1)
    srv = await ask("_http._tcp.web.default.svc.cluster.local", "SRV")
    assert str(srv.additional[0]).endswith("A 10.43.0.7")


async def test_another_name_is_followed_inside_and_outside() -> None:
    inside = await ask("in.default.svc.cluster.local")
    assert [r.rdtype.name for r in inside.answer] == ["CNAME", "A"]
    above = Above("198.51.100.1")
    outside = await ask("out.default.svc.cluster.local", above=above)
    assert [r.rdtype.name for r in outside.answer] == ["CNAME", "A"]
    assert above.asked == ["www.example.test."]
    assert [r.rdtype.name for r in (await ask("out.default.svc.cluster.local", "CNAME")).answer] == ["CNAME"]
    assert (await ask("loop.default.svc.cluster.local")).rcode() == dns.rcode.NOERROR, "a circle has an end"


async def test_what_is_not_the_clusters_goes_upstream_and_fails_alone() -> None:
    above = Above("198.51.100.1")
    assert "198.51.100.1" in str((await ask("example.test", above=above)).answer[0])
    assert (await ask("example.test")).rcode() == dns.rcode.SERVFAIL
    assert (await ask("web.default.svc.cluster.local")).answer, "the cluster's own names need nobody above"
    await ask("7.0.43.10.in-addr.arpa", "PTR", above)
    await ask("9.9.9.9.in-addr.arpa", "PTR", above)
    assert above.asked == ["example.test.", "9.9.9.9.in-addr.arpa."]


async def test_an_answer_that_does_not_fit_asks_to_come_by_tcp() -> None:
    many = directory(*(own_pod(f"10.42.1.{i}") for i in range(1, 200)))
    query = dns.message.make_query("db.default.svc.cluster.local", "A").to_wire()
    short = await answer(query, many, Above(), tcp=False)
    assert short is not None
    assert len(short) <= 512
    assert dns.message.from_wire(short).flags & dns.flags.TC
    whole = await answer(query, many, Above(), tcp=True)
    assert whole is not None
    assert len(dns.message.from_wire(whole).answer[0]) == 200


@given(st.binary(max_size=80))
def test_bytes_that_are_no_query_never_raise(junk: bytes) -> None:
    said = asyncio.run(answer(junk, directory(), Above(), tcp=False))
    assert said is None or said[2] & 0x80, "whatever is answered is marked as an answer"


async def test_both_sockets_and_a_server_above() -> None:
    above = DnsServer("127.0.0.1", lambda query, tcp: answer(query, directory(), Above(), tcp=tcp), port=0)
    upper = asyncio.create_task(above.run())
    await above.ready.wait()
    forward = Forwarder(["127.0.0.1"], above.port)
    below = DnsServer("127.0.0.1", forward, port=0)
    task = asyncio.create_task(below.run())
    await below.ready.wait()
    query = dns.message.make_query("web.default.svc.cluster.local", "A").to_wire()
    for tcp in (False, True):
        said = await Forwarder(["127.0.0.1"], below.port)(query, tcp)
        assert said is not None
        assert "10.43.0.7" in str(dns.message.from_wire(said).answer[0])
    for job in (task, upper):
        job.cancel()
    await asyncio.gather(task, upper, return_exceptions=True)
    assert await Forwarder([])(query, False) is None


def test_a_pod_with_a_subdomain_finds_its_whole_name_in_its_hosts() -> None:
    pod: Obj = {"metadata": {"namespace": "default"}, "spec": {"subdomain": "db"}}
    assert "10.42.1.2\tdb-0.db.default.svc.cluster.local\tdb-0\n" in render(pod, "10.42.1.2", "db-0", DOMAIN)
    assert "10.42.1.2\tdb-0\n" in render({**pod, "spec": {}}, "10.42.1.2", "db-0", DOMAIN)


def test_the_hosts_file_says_who_keeps_it_and_whose_aliases_follow() -> None:
    aliases = [{"ip": "192.0.2.7", "hostnames": ["gate", "barrier"]}]
    pod: Obj = {"metadata": {"namespace": "default"}, "spec": {"hostAliases": aliases}}
    text = render(pod, "10.42.1.2", "web")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert text.endswith("10.42.1.2\tweb\n\n# Entries added by HostAliases.\n192.0.2.7\tgate\tbarrier\n")
    host = render({**pod, "spec": {"hostNetwork": True}}, "192.0.2.1", "node")
    assert host.startswith("# Kubernetes-managed hosts file (host network).\n")
    assert "192.0.2.1\tnode" not in host
