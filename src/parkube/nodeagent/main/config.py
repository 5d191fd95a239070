"""The agent's settings, as the command line, the environment and the config file give them. Reads no file itself."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from parkube.kubeapi.node_labels import may_set

_SOCKET_LIMIT = 97  # bytes: containerd adds ".ttrpc" and allows 104
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_WORD = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_KEY = rf"([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_WORD}"
_LABEL = re.compile(rf"{_KEY}=({_WORD})?")
_TAINT = re.compile(rf"{_KEY}(=({_WORD})?)?:(NoSchedule|PreferNoSchedule|NoExecute)")


class ConfigError(Exception):
    """A setting that cannot work; its text is one sentence for the person at the command line."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Settings of one agent. Paths that derive from `data_dir` are properties, laid out as K3s users know them."""

    server: str  # https://host:port, as this machine reaches it (may be a forwarded address)
    token: str = ""  # K10<hash>::<user>:<secret>; needed at the first join only
    node_name: str = field(default_factory=lambda: platform.node().lower())
    node_ip: str = ""  # empty: the source address of the route to the server
    node_external_ip: str = ""
    data_dir: Path = Path("/var/lib/parkube")
    config_dir: Path = Path("/etc/parkube")  # node password, registries.yaml
    node_labels: tuple[str, ...] = ()  # key=value
    node_taints: tuple[str, ...] = ()  # key=value:Effect
    container_runtime_endpoint: str = ""  # empty: containerd of our own under the data directory
    cluster_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    cluster_dns: str = ""  # the address at which the node answers names; empty: it does not
    cluster_domain: str = "cluster.local"
    flannel_backend: str = "vxlan"  # how pods of different nodes reach each other: vxlan, host-gw or none
    resolv_conf: str = "/etc/resolv.conf"
    snapshotter: str = ""  # empty: overlayfs where it works, else native
    max_pods: int = 110
    server_node: bool = False  # started by `parkube server`: gets the control-plane role
    mirror_port: int = 0  # local port of the image mirror; 0: any free port, remembered under the data directory
    lease_seconds: int = 40
    lease_interval_s: float = 10.0
    hollow: bool = False  # no containers: pods are only played (scale tests)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.node_name):
            raise ConfigError(
                f'"{self.node_name}" is not a node name: lower-case letters, digits, "-" and "." only (--node-name)'
            )
        for label in self.node_labels:
            if not _LABEL.fullmatch(label):
                raise ConfigError(f'"{label}" is not a label: write key=value (--node-label)')
            if not may_set(label.partition("=")[0]):
                raise ConfigError(f'"{label}": a node may not give itself that label; use kubectl label (--node-label)')
        for taint in self.node_taints:
            if not _TAINT.fullmatch(taint):
                raise ConfigError(
                    f'"{taint}" is not a taint: write key=value:Effect, as NoSchedule or NoExecute (--node-taint)'
                )

    @property
    def agent_dir(self) -> Path:
        """Everything of the agent."""
        return self.data_dir / "agent"

    @property
    def images_dir(self) -> Path:
        """Image tars that are imported at start."""
        return self.agent_dir / "images"

    @property
    def manifests_dir(self) -> Path:
        """Manifests of static pods."""
        return self.agent_dir / "pod-manifests"

    @property
    def containerd_dir(self) -> Path:
        """Root, state, configuration, log and socket of the agent's own containerd."""
        return self.agent_dir / "containerd"

    @property
    def registry_config_dir(self) -> Path:
        """containerd's `config_path`: one folder with a hosts.toml for each registry host."""
        return self.containerd_dir / "certs.d"

    @property
    def pods_dir(self) -> Path:
        """Volumes of each pod, by uid."""
        return self.agent_dir / "pods"

    @property
    def seccomp_dir(self) -> Path:
        """Where `localhostProfile` is looked for; an administrator puts the files there."""
        return self.agent_dir.absolute() / "seccomp"

    @property
    def storage_dir(self) -> Path:
        """The directories of local-path volumes, as K3s has them; an absolute path, since volumes name it."""
        return self.data_dir.absolute() / "storage"

    @property
    def logs_dir(self) -> Path:
        """CRI log files: `<namespace>_<pod>_<uid>/<container>/<attempt>.log`."""
        return self.agent_dir / "logs"

    @property
    def checkpoint_dir(self) -> Path:
        """The last desired state, for a start with no network."""
        return self.agent_dir / "checkpoint"

    @property
    def tls_dir(self) -> Path:
        """Client certificate and key of the node, and the CA that it trusts."""
        return self.agent_dir / "tls"

    @property
    def runtime_socket(self) -> Path:
        """The CRI socket; under /run where the data directory's path is too long for a socket's name."""
        if self.container_runtime_endpoint:
            return Path(self.container_runtime_endpoint.removeprefix("unix://"))
        path = self.containerd_dir / "containerd.sock"
        if len(os.fsencode(path.absolute())) > _SOCKET_LIMIT:
            return Path("/run/parkube") / f"containerd-{crc32(os.fsencode(path.absolute())):08x}.sock"
        return path
