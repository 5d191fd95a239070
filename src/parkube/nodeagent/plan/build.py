"""From a pod to the specs of its sandbox and containers. Pure: environment, mounts and image are handed in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan import names, pods, resources
from parkube.nodeagent.plan.environment import ConfigFault, expand
from parkube.nodeagent.plan.model import Amounts, ContainerSpec, Mount, SandboxSpec


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What specs need to know of the node."""

    name: str
    logs_dir: Path
    memory_bytes: int
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    cluster_dns: tuple[str, ...] = ()  # who answers the cluster's names; empty: nobody
    cluster_domain: str = "cluster.local"
    seccomp_dir: Path = Path("/var/lib/kubelet/seccomp")  # where profiles of type Localhost lie


def hostname(pod: Obj, node: str) -> str:
    """What `hostname` says inside."""
    override = pod["spec"].get("hostnameOverride")
    if override:
        return str(override)[:63].rstrip("-.")
    if pod["spec"].get("hostNetwork"):
        return node
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def _dns(pod: Obj, node: NodeFacts) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    own = pod["spec"].get("dnsConfig") or {}
    servers, searches, options = node.nameservers, node.searches, node.options
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    if policy == "None":
        servers, searches, options = (), (), ()
    elif node.cluster_dns and (
        policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod["spec"].get("hostNetwork"))
    ):
        domain, namespace = node.cluster_domain, pod["metadata"]["namespace"]
        servers = node.cluster_dns
        searches = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *searches)
        options = ("ndots:5",)
    extra = tuple(
        f"{option['name']}:{option['value']}" if option.get("value") else option["name"]
        for option in own.get("options") or ()
    )
    servers += tuple(own.get("nameservers") or ())
    return (
        tuple(dict.fromkeys(servers))[:3],
        tuple(dict.fromkeys(searches + tuple(own.get("searches") or ()))),
        options + extra,
    )


def sandbox_spec(pod: Obj, attempt: int, node: NodeFacts, handler: str = "") -> SandboxSpec:
    """The sandbox of this pod."""
    meta, spec = pod["metadata"], pod["spec"]
    security = spec.get("securityContext") or {}
    servers, searches, options = _dns(pod, node)
    host_network = bool(spec.get("hostNetwork"))
    # Ports below 1024 without extra rights; a host network's sysctls are the host's own business.
    sysctls = {} if host_network else {"net.ipv4.ip_unprivileged_port_start": "0"}
    for entry in security.get("sysctls") or ():
        sysctls[entry["name"].replace("/", ".")] = str(entry["value"])
    return SandboxSpec(
        uid=meta["uid"], namespace=meta["namespace"], name=meta["name"], attempt=attempt,
        hostname="" if host_network else hostname(pod, node.name), sysctls=sysctls, amounts=pod_amounts(pod),
        own_users=spec.get("hostUsers") is False,
        log_directory=names.log_directory(node.logs_dir, meta["namespace"], meta["name"], meta["uid"]),
        labels={**(meta.get("labels") or {}), **names.pod_labels(meta["namespace"], meta["name"], meta["uid"])},
        annotations=meta.get("annotations") or {},
        cgroup_parent=cgroup_parent(pod),
        dns_servers=servers, dns_searches=searches, dns_options=options,
        host_network=host_network, host_pid=bool(spec.get("hostPID")), host_ipc=bool(spec.get("hostIPC")),
        shared_pid=bool(spec.get("shareProcessNamespace")),
        run_as_user=security.get("runAsUser"), run_as_group=security.get("runAsGroup"),
        supplemental_groups=_groups(security),
        privileged=any((c.get("securityContext") or {}).get("privileged") for c in pods.all_containers(pod)),
        runtime_handler=handler,
    )  # fmt: skip


def cgroup_parent(pod: Obj) -> str:
    """cgroupfs path, by QoS class, as kubelet lays them out."""
    quality = resources.qos_class(pod).lower()
    middle = "" if quality == "guaranteed" else f"/{quality}"
    return f"/kubepods{middle}/pod{pod['metadata']['uid']}"


def _groups(security: Obj) -> tuple[int, ...]:
    groups = list(security.get("supplementalGroups") or ())
    if security.get("fsGroup") is not None:
        groups.append(security["fsGroup"])
    return tuple(groups)


def _seccomp(security: Obj, folder: Path) -> str:
    profile = security.get("seccompProfile") or {}
    kind = profile.get("type", "")
    if kind == "Localhost":
        return f"Localhost/{folder / profile.get('localhostProfile', '')}"
    return kind if kind == "Unconfined" else ""


def container_spec(
    pod: Obj,
    container: Obj,
    attempt: int,
    image_id: str,
    image_user: tuple[int | None, str],
    env: list[tuple[str, str]],
    mounts: list[Mount],
    node: NodeFacts,
) -> ContainerSpec:
    """One container. Raises `ConfigFault` where `runAsNonRoot` forbids it."""
    meta, spec = pod["metadata"], pod["spec"]
    own, shared = container.get("securityContext") or {}, spec.get("securityContext") or {}
    user, group = own.get("runAsUser", shared.get("runAsUser")), own.get("runAsGroup", shared.get("runAsGroup"))
    _check_non_root(container, own, shared, user, image_user)
    capabilities = own.get("capabilities") or {}
    known = dict(env)
    profile = own if own.get("seccompProfile") else shared
    labels = names.pod_labels(meta["namespace"], meta["name"], meta["uid"])
    return ContainerSpec(
        name=container["name"], attempt=attempt, image=image_id,
        command=tuple(expand(word, known) for word in container.get("command") or ()),
        args=tuple(expand(word, known) for word in container.get("args") or ()),
        working_dir=container.get("workingDir") or "",
        env=(("HOSTNAME", hostname(pod, node.name)), *env), mounts=tuple(mounts),
        labels={**labels, names.LABEL_CONTAINER: container["name"]},
        annotations={names.ANNOTATION_HASH: pods.spec_hash(container)},
        log_path=names.log_file(container["name"], attempt),
        stdin=bool(container.get("stdin")), stdin_once=bool(container.get("stdinOnce")), tty=bool(container.get("tty")),
        amounts=amounts(pod, container, node),
        privileged=bool(own.get("privileged")), read_only_rootfs=bool(own.get("readOnlyRootFilesystem")),
        run_as_user=user, run_as_group=group if user is not None or image_user[0] is not None else None,
        run_as_username="" if user is not None else image_user[1],
        supplemental_groups=_groups(shared),
        add_capabilities=tuple(capabilities.get("add") or ()), drop_capabilities=tuple(capabilities.get("drop") or ()),
        no_new_privs=own.get("allowPrivilegeEscalation") is False, seccomp=_seccomp(profile, node.seccomp_dir),
        proc_unmasked=own.get("procMount") == "Unmasked",
        host_network=bool(spec.get("hostNetwork")), host_pid=bool(spec.get("hostPID")),
        host_ipc=bool(spec.get("hostIPC")), shared_pid=bool(spec.get("shareProcessNamespace")),
    )  # fmt: skip


def amounts(pod: Obj, container: Obj, node: NodeFacts) -> Amounts:
    """What the container's resources come to on this node."""
    own, shared = (c.get("resources") or {} for c in (container, pod["spec"]))
    limits = {name: v for name, v in (shared.get("limits") or {}).items() if name in ("cpu", "memory")}
    limits |= own.get("limits") or {}  # a container without limits may use what the pod as a whole may
    within = {**container, "resources": {**own, "limits": limits}}
    limit = resources.cpu_millis(within, "limits")
    return Amounts(
        cpu_shares=resources.cpu_shares(resources.cpu_millis(container, "requests")),
        cpu_quota=resources.cpu_quota(limit), cpu_period=resources.CPU_PERIOD_US if limit else 0,
        memory_limit=resources.memory_bytes(within, "limits"),
        oom_score_adj=resources.oom_score_adj(pod, container, node.memory_bytes),
    )  # fmt: skip


def pod_amounts(pod: Obj) -> Amounts:
    """What the resources of the pod as a whole come to; nothing where it has none."""
    spec = pod["spec"]
    if not spec.get("resources"):
        return Amounts()
    limit = resources.cpu_millis(spec, "limits")
    return Amounts(
        cpu_shares=resources.cpu_shares(resources.cpu_millis(spec, "requests")),
        cpu_quota=resources.cpu_quota(limit), cpu_period=resources.CPU_PERIOD_US if limit else 0,
        memory_limit=resources.memory_bytes(spec, "limits"),
    )  # fmt: skip


def _check_non_root(
    container: Obj, own: Obj, shared: Obj, user: int | None, image_user: tuple[int | None, str]
) -> None:
    if not own.get("runAsNonRoot", shared.get("runAsNonRoot")):
        return
    if user == 0:
        raise ConfigFault("container's runAsUser breaks non-root policy")
    if user is None and image_user[1]:
        whose = f"image has non-numeric user ({image_user[1]})"
        raise ConfigFault(f"container has runAsNonRoot and {whose}, cannot verify user is non-root")
    if user is None and not image_user[0]:
        raise ConfigFault("container has runAsNonRoot and image will run as root")
