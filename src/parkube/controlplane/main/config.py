"""What `parkube server` can be told: K3s flag names with underscores. Reading flags is the business of the CLI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
    cluster_domain: str = "cluster.local"
    node_name: str = ""  # the server's own node; empty: the host's name
    node_ip: str = ""
    node_label: tuple[str, ...] = ()
    node_taint: tuple[str, ...] = ()
    disable_agent: bool = False
    disable_scheduler: bool = False
    disable_controller_manager: bool = False
    memory_store: bool = False  # for tests: nothing is kept on disk but the keys
    agent_arguments: tuple[str, ...] = ()  # passed on to the server's own agent process
    log_level: str = "info"

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
