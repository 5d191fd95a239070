"""From the plan's specs to CRI's messages. Pure; the numbers are CRI's enums."""

from __future__ import annotations

from parkube.nodeagent.plan.model import Amounts, ContainerSpec, SandboxSpec
from parkube.nodeagent.runtime.cri.wire import Message

_POD, _CONTAINER, _NODE, _TARGET = 0, 1, 2, 3
_MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_PROTOCOLS = {"TCP": 0, "UDP": 1, "SCTP": 2}


def sandbox_config(spec: SandboxSpec) -> Message:
    """A `PodSandboxConfig`."""
    security: Message = {
        "namespace_options": _namespaces(spec),
        "run_as_user": _int64(spec.run_as_user),
        "run_as_group": _int64(spec.run_as_group) if spec.run_as_user is not None else None,
        "supplemental_groups": list(spec.supplemental_groups),
        "privileged": spec.privileged,
        "seccomp": _seccomp(""),  # the sandbox's own process needs no more, whatever the containers have
    }
    return {
        "metadata": {"name": spec.name, "uid": spec.uid, "namespace": spec.namespace, "attempt": spec.attempt},
        "hostname": spec.hostname,
        "log_directory": spec.log_directory,
        "dns_config": {
            "servers": list(spec.dns_servers), "searches": list(spec.dns_searches), "options": list(spec.dns_options),
        },
        "port_mappings": [
            {
                "protocol": _PROTOCOLS.get(p.protocol, 0), "container_port": p.container_port,
                "host_port": p.host_port, "host_ip": p.host_ip,
            }
            for p in spec.port_mappings
        ],
        "labels": spec.labels,
        "annotations": spec.annotations,
        "linux": {"cgroup_parent": spec.cgroup_parent, "security_context": security, "sysctls": spec.sysctls},
    }  # fmt: skip


def container_config(spec: ContainerSpec, image_id: str) -> Message:
    """A `ContainerConfig`."""
    security: Message = {
        "capabilities": {
            "add_capabilities": list(spec.add_capabilities),
            "drop_capabilities": list(spec.drop_capabilities),
        },
        "privileged": spec.privileged,
        "namespace_options": _namespaces(spec),
        "run_as_user": _int64(spec.run_as_user),
        "run_as_group": _int64(spec.run_as_group),
        "run_as_username": spec.run_as_username,
        "readonly_rootfs": spec.read_only_rootfs,
        "supplemental_groups": list(spec.supplemental_groups),
        "no_new_privs": spec.no_new_privs,
        "masked_paths": [] if spec.privileged or spec.proc_unmasked else list(_MASKED),
        "readonly_paths": [] if spec.privileged or spec.proc_unmasked else list(_READ_ONLY),
        "seccomp": _seccomp("Unconfined" if spec.privileged else spec.seccomp),
    }  # fmt: skip
    return {
        "metadata": {"name": spec.name, "attempt": spec.attempt},
        "image": {"image": image_id},
        "command": list(spec.command),
        "args": list(spec.args),
        "working_dir": spec.working_dir,
        "envs": [{"key": key, "value": value} for key, value in spec.env],
        "mounts": [
            {
                "container_path": m.container_path, "host_path": m.host_path, "readonly": m.read_only,
                "propagation": m.propagation,
            }
            for m in spec.mounts
        ],
        "devices": [{"container_path": c, "host_path": h, "permissions": p} for c, h, p in spec.devices],
        "labels": spec.labels,
        "annotations": spec.annotations,
        "log_path": spec.log_path,
        "stdin": spec.stdin,
        "stdin_once": spec.stdin_once,
        "tty": spec.tty,
        "linux": {"resources": linux_resources(spec.amounts), "security_context": security},
    }  # fmt: skip


def linux_resources(amounts: Amounts) -> Message:
    """A `LinuxContainerResources`."""
    return {
        "cpu_period": amounts.cpu_period, "cpu_quota": amounts.cpu_quota, "cpu_shares": amounts.cpu_shares,
        "memory_limit_in_bytes": amounts.memory_limit, "oom_score_adj": amounts.oom_score_adj,
    }  # fmt: skip


def _namespaces(spec: SandboxSpec | ContainerSpec) -> Message:
    options: Message = {
        "network": _NODE if spec.host_network else _POD,
        "pid": _NODE if spec.host_pid else _POD if spec.shared_pid else _CONTAINER,
        "ipc": _NODE if spec.host_ipc else _POD,
    }
    if isinstance(spec, ContainerSpec) and spec.target_id and options["pid"] == _CONTAINER:
        options |= {"pid": _TARGET, "target_id": spec.target_id}
    return options


def _int64(value: int | None) -> Message | None:
    return None if value is None else {"value": value}


def _seccomp(profile: str) -> Message:
    if profile == "Unconfined":
        return {"profile_type": 1}
    if profile.startswith("Localhost/"):
        return {"profile_type": 2, "localhost_ref": profile.removeprefix("Localhost/")}
    return {"profile_type": 0}
