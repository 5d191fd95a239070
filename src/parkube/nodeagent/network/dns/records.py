"""Which records a cluster name has. Pure; knows no wire format and asks nobody.

    <service>.<ns>.svc.<domain>                      A of its address, of each endpoint when headless, or CNAME
    _<port>._<proto>.<service>.<ns>.svc.<domain>     SRV
    <hostname>.<service>.<ns>.svc.<domain>           A of one endpoint of a headless Service; without a hostname its
                                                     address with dashes
    <address with dashes>.<ns>.pod.<domain>          A
    dns-version.<domain>                             TXT
    <address>.in-addr.arpa                           PTR of a Service's address or of an endpoint with a hostname

Source: Kubernetes DNS-Based Service Discovery, version 1.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address
from typing import NamedTuple

import orjson

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.network.backends import Slice, cluster_ips, selected

SCHEMA_VERSION = "1.1.0"
TTL_S = 5


class Record(NamedTuple):
    """One record: its name, type, and data in the form of a zone file."""

    name: str
    type: str
    data: str


class Found(NamedTuple):
    """What there is: nothing of that name, or the records of the type asked for, and what helps along."""

    exists: bool
    answers: tuple[Record, ...] = ()
    extra: tuple[Record, ...] = ()


class Host(NamedTuple):
    """One endpoint of a headless Service."""

    ip: str
    hostname: str
    ports: tuple[tuple[str, int, str], ...]  # name, number, protocol

    @property
    def label(self) -> str:
        """Its name below the Service's."""
        return self.hostname or self.ip.replace(".", "-")


class Directory(NamedTuple):
    """Where records come from."""

    domain: str
    node: str
    services: Mapping[str, bytes]  # as `keep_service` keeps them
    slices_of: Callable[[str], Sequence[Slice]]
    pods: Callable[[], list[Obj]]  # of this node, as `local_pods` gives them


NOTHING = Found(False)


def owns(domain: str, name: str) -> bool:
    """Whether a name is the cluster's to answer; else it goes upstream, address look-ups it knows nothing of too."""
    return name == domain or name.endswith("." + domain)


def find(directory: Directory, name: str, kind: str) -> Found:
    """The records of `name`, in lower case and without its last dot."""
    labels = name.removesuffix(directory.domain).rstrip(".").split(".")
    if labels in ([""], ["svc"], ["pod"]):
        return Found(True)
    if labels == ["dns-version"]:
        return _of(kind, name, "TXT", [f'"{SCHEMA_VERSION}"'])
    if labels[-1] == "pod" and len(labels) == 3:
        return _pod(name, kind, labels[0])
    if labels[-1] != "svc":
        return NOTHING
    namespace, rest = labels[-2], labels[:-2]
    if not rest:
        return Found(any(key.startswith(f"{namespace}/") for key in directory.services))
    service, below = rest[-1], rest[:-1]
    key = f"{namespace}/{service}"
    kept = directory.services.get(key)
    if kept is None:
        return NOTHING
    whole = f"{service}.{namespace}.svc.{directory.domain}"
    spec = orjson.loads(kept)
    if spec.get("type") == "ExternalName":
        target = str(spec.get("externalName") or "").rstrip(".")
        return Found(True, (Record(name, "CNAME", target + "."),)) if not below and target else NOTHING
    return _service(directory, key, spec, whole, below, name, kind)


def _service(
    directory: Directory, key: str, spec: Obj, whole: str, below: list[str], name: str, kind: str
) -> Found:  # fmt: skip
    addresses = cluster_ips(spec)
    hosts = [] if addresses else hosts_of(directory, key, spec)
    if not below:
        ips = addresses or [h.ip for h in hosts]
        if not ips:
            return NOTHING  # a headless Service that nobody serves has no name
        if kind == "SRV":
            return _srv(spec, whole, name, hosts, addresses, lambda _name, _protocol: True)
        return _of(kind, name, "A", [ip for ip in ips if ":" not in ip])
    if len(below) == 2 and below[0].startswith("_") and below[1].startswith("_"):
        port, protocol = below[0][1:], below[1][1:]
        found = _srv(spec, whole, name, hosts, addresses, lambda n, p: (n.lower(), p.lower()) == (port, protocol))
        return found if kind == "SRV" or not found.exists else Found(True)
    if len(below) == 1:
        ips = [h.ip for h in hosts if h.label.lower() == below[0]]
        return _of(kind, name, "A", ips) if ips else NOTHING
    return NOTHING


def _srv(
    spec: Obj, whole: str, name: str, hosts: Sequence[Host], addresses: Sequence[str],
    wanted: Callable[[str, str], bool],
) -> Found:  # fmt: skip
    pairs = []  # (port, target, address)
    if addresses:
        for port in spec.get("ports") or ():
            if wanted(port.get("name") or "", port.get("protocol") or "TCP"):
                pairs += [(int(port["port"]), whole, ip) for ip in addresses if ":" not in ip]
    for host in hosts:
        for port_name, number, protocol in host.ports:
            if wanted(port_name, protocol):
                pairs.append((number, f"{host.label}.{whole}", host.ip))
    if not pairs:
        return NOTHING
    share = max(1, 100 // len(pairs))
    answers = tuple(Record(name, "SRV", f"0 {share} {port} {target}.") for port, target, _ in pairs)
    extra = tuple(sorted({Record(target, "A", ip) for _, target, ip in pairs}))
    return Found(True, tuple(dict.fromkeys(answers)), extra)


def hosts_of(directory: Directory, key: str, spec: Obj) -> list[Host]:
    """The endpoints of a Service that have names: own pods as the agent knows them, others by slices."""
    namespace, _, service = key.partition("/")
    publish = bool(spec.get("publishNotReadyAddresses"))
    found: list[Host] = []
    for pod in selected(namespace, spec, directory.pods()):
        if pod["ready"] or publish:
            hostname = pod["hostname"] if pod["subdomain"] == service else ""
            found.append(Host(pod["ip"], hostname, _ports_on(spec, pod)))
    for one in directory.slices_of(key):
        for address, node, ready, _, hostname in one.ends:
            if ready and not (spec.get("selector") and node == directory.node):
                found.append(Host(address, hostname, one.ports))
    return sorted(set(found))


def _ports_on(spec: Obj, pod: Obj) -> tuple[tuple[str, int, str], ...]:
    out = []
    for port in spec.get("ports") or ():
        target, protocol = port.get("targetPort") or port["port"], port.get("protocol") or "TCP"
        if not str(target).isdigit():
            named = [p for p in pod["ports"] if p.get("name") == target and (p.get("protocol") or "TCP") == protocol]
            target = named[0]["containerPort"] if named else 0
        if int(target):
            out.append((port.get("name") or "", int(target), protocol))
    return tuple(out)


def _pod(name: str, kind: str, label: str) -> Found:
    try:
        ip = IPv4Address(label.replace("-", "."))
    except AddressValueError:
        return NOTHING
    return _of(kind, name, "A", [str(ip)])


def reverse(directory: Directory, name: str) -> Found:
    """The name of an address, `4.3.2.1.in-addr.arpa`; nothing where the cluster does not know it."""
    labels = name.removesuffix(".in-addr.arpa").split(".")
    ip = ".".join(reversed(labels))
    for key, kept in directory.services.items():
        namespace, _, service = key.partition("/")
        whole = f"{service}.{namespace}.svc.{directory.domain}."
        if ip.encode() in kept and ip in cluster_ips(orjson.loads(kept)):
            return Found(True, (Record(name, "PTR", whole),))
    for key, kept in directory.services.items():
        spec = orjson.loads(kept)
        if spec.get("type") == "ExternalName" or cluster_ips(spec):
            continue
        namespace, _, service = key.partition("/")
        for host in hosts_of(directory, key, spec):
            if host.ip == ip:
                return Found(
                    True, (Record(name, "PTR", f"{host.label}.{service}.{namespace}.svc.{directory.domain}."),)
                )
    return NOTHING


def _of(asked: str, name: str, kind: str, data: Iterable[str]) -> Found:
    """The name exists; whether it has records of the type asked for is another matter."""
    return Found(True, tuple(Record(name, kind, text) for text in data) if asked in (kind, "ANY") else ())
