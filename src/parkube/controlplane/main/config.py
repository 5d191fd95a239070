"""What `parkube server` can be told: K3s flag names with underscores. Reading flags is the business of the CLI."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from pathlib import Path

_BACKENDS = ("vxlan", "host-gw", "none")
_LOCAL_STORAGE = "local-storage"
_PACKAGED = ("coredns", "servicelb", "traefik", _LOCAL_STORAGE, "metrics-server", "runtimes")  # K3s' words


class ConfigError(Exception):
    """Settings that cannot work; its text is one sentence that names each of them."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One server's settings; every default is the one that K3s users expect."""

    data_dir: Path = Path("/var/lib/parkube")
    write_kubeconfig: Path = Path("/etc/parkube/parkube.yaml")
    write_kubeconfig_mode: int = 0o600
    bind_address: str = "0.0.0.0"
    https_listen_port: int = 6443
    advertise_address: str = ""  # empty: the address of the default route, else 127.0.0.1
    tls_san: tuple[str, ...] = ()
    token: str = ""  # empty: the one kept in the data directory, made at first start
    agent_token: str = ""
    cluster_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    service_node_port_range: tuple[int, int] = (30000, 32767)
    cluster_dns: str = ""  # empty: the tenth address of the service range
    cluster_domain: str = "cluster.local"
    flannel_backend: str = "vxlan"  # how pods of different nodes reach each other: vxlan, host-gw or none
    node_name: str = ""  # the server's own node; empty: the host's name
    node_ip: str = ""
    node_label: tuple[str, ...] = ()
    node_taint: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()  # what K3s packages; here only local-storage is a part of its own
    disable_agent: bool = False
    disable_scheduler: bool = False
    disable_controller_manager: bool = False
    memory_store: bool = False  # for tests: nothing is kept on disk but the keys
    agent_arguments: tuple[str, ...] = ()  # passed on to the server's own agent process
    log_level: str = "info"

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise ConfigError("; ".join(faults))

    def _faults(self) -> Iterator[str]:
        if not 0 <= self.https_listen_port <= 65535:
            yield f"--https-listen-port: {self.https_listen_port} is not a port"
        first, last = self.service_node_port_range
        if not 0 < first <= last <= 65535:
            yield f"--service-node-port-range: {first}-{last} is not a range of ports"
        named = {"advertise-address": self.advertise_address, "bind-address": self.bind_address}
        for flag, value in named.items():
            if value and not _is_address(value):
                yield f'--{flag}: "{value}" is not an address'
        for name in self.disabled:
            if name not in _PACKAGED:
                yield f'--disable: "{name}" is none of {", ".join(_PACKAGED)}'
        pods = _network(self.cluster_cidr)
        if pods is None or pods.prefixlen > 24:
            yield f'--cluster-cidr: "{self.cluster_cidr}" is not an IPv4 range of at least a /24, as 10.42.0.0/16'
        services = _network(self.service_cidr)
        if services is None or services.prefixlen > 28:
            yield f'--service-cidr: "{self.service_cidr}" is not an IPv4 range of at least a /28, as 10.43.0.0/16'
        if self.cluster_dns and services and (dns := _address(self.cluster_dns)) and dns not in services:
            yield f"--cluster-dns: {self.cluster_dns} is not in --service-cidr {services}"
        elif self.cluster_dns and not _address(self.cluster_dns):
            yield f'--cluster-dns: "{self.cluster_dns}" is not an address'
        if self.flannel_backend not in _BACKENDS:
            yield f'--flannel-backend: "{self.flannel_backend}" is none of {", ".join(_BACKENDS)}'
        if pods and services and pods.overlaps(services):
            yield f"--cluster-cidr {pods} and --service-cidr {services} overlap"

    @property
    def disabled(self) -> tuple[str, ...]:
        """The parts that are not wanted; the flag may be repeated or hold several with commas."""
        return tuple(name.strip() for given in self.disable for name in given.split(",") if name.strip())

    @property
    def local_storage(self) -> bool:
        """Whether class `local-path` is there and provisioned."""
        return _LOCAL_STORAGE not in self.disabled

    @property
    def server_dir(self) -> Path:
        """`<data-dir>/server`: db, tls, token, node-token, manifests, images."""
        return self.data_dir / "server"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.server_dir / "db" / "state.db"

    @property
    def images_dir(self) -> Path:
        """Where the read-only registry's `*.tar` lie."""
        return self.server_dir / "images"


def _is_address(text: str) -> bool:
    return _address(text) is not None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> IPv4Network | None:
    try:
        return IPv4Network(text) if "/" in text else None
    except ValueError:
        return None
