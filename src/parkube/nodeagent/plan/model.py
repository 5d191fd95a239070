"""What the plan and the runtime say to each other: what was observed, and what is to be made. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class ContainerPhase(StrEnum):
    """CRI's container states."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Container:
    """One container as the runtime reports it. Times are Unix seconds, 0 when not reached."""

    id: str
    name: str
    attempt: int
    phase: ContainerPhase
    sandbox_id: str = ""
    image: str = ""  # as the pod asked for it
    image_id: str = ""
    spec_hash: str = ""
    log_path: str = ""  # absolute
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""


@dataclass(slots=True)
class Sandbox:
    """One pod sandbox as the runtime reports it."""

    id: str
    attempt: int
    ready: bool
    created_at: float = 0.0
    ips: tuple[str, ...] = ()
    host_network: bool = False


@dataclass(slots=True)
class PodObserved:
    """All that the runtime holds of one pod, newest attempts last."""

    uid: str
    namespace: str
    name: str
    sandboxes: list[Sandbox] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)

    @property
    def sandbox(self) -> Sandbox | None:
        """The newest sandbox."""
        return max(self.sandboxes, key=lambda s: (s.attempt, s.created_at), default=None)

    def latest(self, name: str) -> Container | None:
        """The newest container of that name."""
        return max(
            (c for c in self.containers if c.name == name), key=lambda c: (c.attempt, c.created_at), default=None
        )


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A host port of a container."""

    protocol: str  # TCP or UDP
    container_port: int
    host_port: int
    host_ip: str = ""


class Amounts(NamedTuple):
    """What a container's or a pod's resources come to for the runtime: shares, microseconds, bytes; 0: none."""

    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    memory_limit: int = 0
    oom_score_adj: int = 0


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """A pod sandbox to make."""

    uid: str
    namespace: str
    name: str
    attempt: int
    hostname: str
    log_directory: str
    labels: dict[str, str]
    annotations: dict[str, str]
    cgroup_parent: str = ""
    amounts: Amounts = field(default_factory=Amounts)  # for the pod as a whole, where it says some
    dns_servers: tuple[str, ...] = ()
    dns_searches: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    shared_pid: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False
    port_mappings: tuple[PortMapping, ...] = ()
    own_users: bool = False  # a user namespace
    runtime_handler: str = ""  # of the pod's RuntimeClass; empty: the runtime's own choice


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind mount. `propagation`: 0 private, 1 from the host, 2 both ways."""

    container_path: str
    host_path: str
    read_only: bool = False
    propagation: int = 0


class Usage(NamedTuple):
    """What a running container uses. Nanoseconds, bytes, Unix seconds."""

    container_id: str
    at: float = 0.0
    cpu_ns: int = 0  # all its life
    memory_working_set: int = 0
    memory_usage: int = 0
    memory_rss: int = 0
    disk: int = 0  # of its writable layer
    inodes: int = 0


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to make in a sandbox."""

    name: str
    attempt: int
    image: str  # reference or id that the runtime resolves
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[tuple[str, str, str], ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    log_path: str = ""  # relative to the sandbox's log directory
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    amounts: Amounts = field(default_factory=Amounts)
    privileged: bool = False
    read_only_rootfs: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    supplemental_groups: tuple[int, ...] = ()
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    no_new_privs: bool = False
    proc_unmasked: bool = False
    seccomp: str = ""  # empty: the runtime's default; "Unconfined"; "Localhost/" and an absolute path
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    shared_pid: bool = False
    target_id: str = ""  # the container whose processes it sees
