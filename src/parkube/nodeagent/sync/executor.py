"""Does what the plan decided for one pod, action by action, and remembers what came of it. No decisions here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan import build, pods
from parkube.nodeagent.plan.actions import KillContainer, ResizeContainer, RunSandbox, StartContainer
from parkube.nodeagent.plan.backoff import seeded
from parkube.nodeagent.plan.environment import ConfigFault, environment
from parkube.nodeagent.plan.memory import Fault, Memory
from parkube.nodeagent.plan.model import Amounts, ContainerPhase, ContainerSpec, PodObserved
from parkube.nodeagent.plan.resize import told
from parkube.nodeagent.probes.check import Target, http_get, port_number
from parkube.nodeagent.runtime.port import ExecResult, NoSuchContainer, Runtime, RuntimeFault
from parkube.nodeagent.sync.directories import LocalDirectories
from parkube.nodeagent.sync.images import Images, Say
from parkube.nodeagent.sync.node_facts import NodeState
from parkube.nodeagent.sync.references import References
from parkube.nodeagent.sync.tokens import Tokens
from parkube.nodeagent.volumes.claims import claimed, persistent_volume
from parkube.nodeagent.volumes.hosts import hosts_mount
from parkube.nodeagent.volumes.mounts import Volumes
from parkube.nodeagent.volumes.project import MountFault

log = logging.getLogger(__name__)

RETRY_S = 10.0  # after what a person has to mend: a missing ConfigMap, a bad volume
_POST_START_S = 30.0
_MIN_STOP_S = 2.0  # between TERM and KILL, however short the grace
Tell = Callable[[Obj, str, str, str, str], None]  # (pod, type, reason, message, container)


@dataclass(slots=True)
class Services:
    """The Service variables of a namespace, and whether they are known."""

    variables: Callable[[Obj], Mapping[str, str]]
    known: Callable[[], bool]


class Executor:
    """Shared by all pods of a node; every method is about one pod."""

    def __init__(
        self, runtime: Runtime, volumes: Volumes, references: References, tokens: Tokens, images: Images,
        directories: LocalDirectories, node: NodeState, services: Services, clock: Callable[[], float], tell: Tell, *,
        parallel: int = 4,
    ) -> None:  # fmt: skip
        self.directories = directories
        self.runtime, self.volumes, self.references, self.tokens = runtime, volumes, references, tokens
        self.images, self.node, self.services, self.clock, self.tell = images, node, services, clock, tell
        self._gate = asyncio.Semaphore(parallel)  # an SD card serves a few starts at once, not a hundred

    def facts(self, pod: Obj, seen: PodObserved | None) -> dict[str, str]:
        """What field references may say of the status."""
        host = self.node.host_ips[0] if self.node.host_ips else ""
        sandbox = seen.sandbox if seen else None
        ips = self.node.host_ips if pod["spec"].get("hostNetwork") else (sandbox.ips if sandbox else ())
        return {
            "status.hostIP": host, "status.hostIPs": ",".join(self.node.host_ips),
            "status.podIP": ips[0] if ips else "", "status.podIPs": ",".join(ips),
            "spec.nodeName": self.node.facts.name,
        }  # fmt: skip

    # Volumes and images

    async def prepare(self, pod: Obj, seen: PodObserved | None, memory: Memory) -> float:
        """Volumes made or brought up to date; when to do it again (0: on change)."""
        uid = pod["metadata"]["uid"]
        namespace = pod["metadata"]["namespace"]
        await self.references.hold(pod)
        try:
            if not self.services.known():
                raise MountFault("services have not yet been read at least once")
            again = await self.tokens.fetch(pod, lambda volume: self.volumes.path(uid, volume))

            def lookup(kind: str, name: str) -> Obj | None:
                return self.references.get(kind, "" if kind == "PersistentVolume" else namespace, name)

            for name in claimed(pod):
                await self.directories.make(persistent_volume(name, lookup))
            await self._image_volumes(pod)
            await self.volumes.prepare(
                pod, lookup,
                lambda audience, seconds: self.tokens.get(uid, audience, seconds),
                self.facts(pod, seen), self.node.allocatable,
            )  # fmt: skip
        except MountFault as fault:
            if str(fault) != memory.volume_fault:
                self.tell(pod, "Warning", "FailedMount", str(fault), "")
            memory.volume_fault = str(fault)
            return self.clock() + RETRY_S / 5
        memory.volumes_ready, memory.volume_fault = True, ""
        return again

    async def _image_volumes(self, pod: Obj) -> None:
        """Pull and mount what is not mounted yet."""
        for volume in pod["spec"].get("volumes") or ():
            source = volume.get("image")
            if source is None or self.volumes.has_image(pod, volume):
                continue
            image = str(source.get("reference") or "")
            policy = source.get("pullPolicy") or "IfNotPresent"
            try:
                image_id = await self.images.fetch(image, policy, self._pull_secrets(pod), self._say(pod))
                await self.volumes.mount_image(pod, volume, image_id)
            except (RuntimeFault, TimeoutError) as fault:
                raise MountFault(f'failed to mount image "{image}" of volume "{volume["name"]}": {fault}') from fault

    def _say(self, pod: Obj, container: str = "") -> Say:
        return lambda kind, why, text: self.tell(pod, kind, why, text, container)

    def _pull_secrets(self, pod: Obj) -> list[Obj]:
        namespace = pod["metadata"]["namespace"]
        names = [ref.get("name", "") for ref in pod["spec"].get("imagePullSecrets") or ()]
        return [s for s in (self.references.get("Secret", namespace, name) for name in names) if s]

    async def ensure_image(self, pod: Obj, container: Obj, memory: Memory) -> None:
        """Bring the image; the outcome is in `memory.pulls`."""
        await self.images.ensure(container, memory, self._pull_secrets(pod), self._say(pod, container["name"]))

    def back_off(self, pod: Obj, name: str, memory: Memory) -> None:
        """Say that an image is waited with."""
        container = next(c for c in pods.all_containers(pod) if c["name"] == name)
        self.images.back_off(container, memory, self._say(pod, name))

    # Sandboxes and containers

    async def run_sandbox(self, pod: Obj, action: RunSandbox, memory: Memory) -> None:
        """Make the sandbox; a failure is tried again soon."""
        try:
            async with self._gate:
                spec = build.sandbox_spec(pod, action.attempt, self.node.facts, self._handler(pod))
                await self.runtime.run_sandbox(spec)
        except (RuntimeFault, TimeoutError, OSError) as fault:
            memory.sandbox_fault = f"Failed to create pod sandbox: {fault}"
            memory.sandbox_retry_at = self.clock() + 2.0
            self.tell(pod, "Warning", "FailedCreatePodSandBox", memory.sandbox_fault, "")
        else:
            memory.sandbox_fault, memory.sandbox_retry_at = "", 0.0

    def _handler(self, pod: Obj) -> str:
        """The runtime's handler for the pod's RuntimeClass. Raises `RuntimeFault` when there is no such class."""
        name = pod["spec"].get("runtimeClassName")
        if not name:
            return ""
        found = self.references.get("RuntimeClass", "", name)
        if found is None:
            raise RuntimeFault(f'RuntimeClass "{name}" not found')
        return str(found.get("handler") or "")

    async def start(self, pod: Obj, action: StartContainer, seen: PodObserved, memory: Memory) -> None:
        """Create and start a container; a failure is remembered in `memory.faults`."""
        name = action.container
        container = next(c for c in pods.all_containers(pod) if c["name"] == name)
        found = seen.latest(name)
        if found is not None:  # a restart: the next one waits longer
            backoff = memory.backoffs.get(name) or seeded(found.attempt, found.started_at, found.finished_at)
            backoff.next(self.clock())
            memory.backoffs[name] = backoff
        reason = "CreateContainerConfigError"
        try:
            spec = await self._spec(pod, container, action, seen)
            sandbox = seen.sandbox
            assert sandbox is not None
            reason = "CreateContainerError"
            async with self._gate:
                container_id = await self.runtime.create_container(
                    sandbox.id, spec, build.sandbox_spec(pod, sandbox.attempt, self.node.facts)
                )
                self.tell(pod, "Normal", "Created", "Container created", name)
                reason = "RunContainerError"
                await self.runtime.start_container(container_id)
        except (ConfigFault, MountFault, RuntimeFault, TimeoutError, OSError, KeyError) as fault:
            message = str(fault) if not isinstance(fault, KeyError) else f"volume {fault} is not in the pod"
            wait = RETRY_S if reason == "CreateContainerConfigError" else 1.0
            memory.faults[name] = Fault(reason, message, self.clock() + wait)
            self.tell(pod, "Warning", "Failed", f"Error: {message}", name)
            return
        finally:
            memory.pulls.pop(name, None)  # every start asks for its image anew
        memory.faults.pop(name, None)
        memory.applied[container_id] = container.get("resources") or {}
        self.tell(pod, "Normal", "Started", "Container started", name)
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            why = await self._hook(hook, container, container_id, pod, seen, _POST_START_S)
            if why:
                self._failed(pod, name, "PostStart", why)
                memory.failed_hooks.add(container_id)

    async def _spec(self, pod: Obj, container: Obj, action: StartContainer, seen: PodObserved) -> ContainerSpec:
        namespace = pod["metadata"]["namespace"]
        env = environment(
            pod, container, lambda kind, name: self.references.get(kind, namespace, name),
            self.services.variables(pod), self.facts(pod, seen), self.node.allocatable,
        )  # fmt: skip
        mounts = self.volumes.mounts(pod, container, dict(env))
        folder, ip = self.volumes.folder(pod["metadata"]["uid"]), self.facts(pod, seen)["status.podIP"]
        facts = self.node.facts
        mounts += hosts_mount(folder, pod, ip, build.hostname(pod, facts.name), mounts, facts.cluster_domain)
        image = await self.runtime.image(action.image_id)
        user = (image.uid, image.username) if image else (None, "")
        spec = build.container_spec(pod, container, action.attempt, action.image_id, user, env, mounts, facts)
        spec = replace(spec, devices=tuple(self.volumes.devices(pod, container)))
        target = seen.latest(container.get("targetContainerName") or "")
        return spec if target is None else replace(spec, target_id=target.id)

    async def resize(self, pod: Obj, action: ResizeContainer, memory: Memory) -> None:
        """Give a running container what was allocated to it; a failure is remembered and tried again."""
        container = next(c for c in pods.all_containers(pod) if c["name"] == action.container)
        amounts = build.amounts(pod, container, self.node.facts)
        try:
            await self._check_usage(action, amounts)
            await self.runtime.resize_container(action.container_id, amounts)
        except (RuntimeFault, TimeoutError) as fault:
            memory.resize_retry_at = self.clock() + RETRY_S
            if memory.resize_fault != str(fault):
                memory.resize_fault = str(fault)
                self.tell(pod, "Warning", "ResizeError", told("error", pod, memory.resize_generation, str(fault)), "")
            return
        memory.applied[action.container_id] = container.get("resources") or {}
        memory.resize_fault, memory.resize_retry_at = "", 0.0

    async def _check_usage(self, action: ResizeContainer, amounts: Amounts) -> None:
        """Raises `RuntimeFault` where the container uses more memory than it is to have: it would be killed for it."""
        if not amounts.memory_limit:
            return
        for usage in await self.runtime.usages():
            if usage.container_id == action.container_id and usage.memory_usage > amounts.memory_limit:
                raise RuntimeFault(
                    f'attempting to set container "{action.container}" memory limit ({amounts.memory_limit}) '
                    f"below current usage ({usage.memory_usage})"
                )

    def _failed(self, pod: Obj, container: str, which: str, fault: str) -> None:
        """Tell that a hook failed; why is for the node's log alone, since the words may hold what is secret."""
        log.warning("%s hook of container %s in pod %s: %s", which, container, pod["metadata"]["name"], fault)
        self.tell(pod, "Warning", f"Failed{which}Hook", f"{which}Hook failed", container)

    async def kill(self, pod: Obj, action: KillContainer, seen: PodObserved | None) -> None:
        """preStop within the grace, TERM, then KILL."""
        self.tell(pod, "Normal", "Killing", action.message, action.container)
        container = next((c for c in pods.all_containers(pod) if c["name"] == action.container), None)
        hook = ((container or {}).get("lifecycle") or {}).get("preStop")
        left = action.grace_s
        if hook and container is not None and action.prestop and left > 0:
            begun = self.clock()
            fault = await self._hook(hook, container, action.container_id, pod, seen, left)
            if fault:
                self._failed(pod, action.container, "PreStop", fault)
            left -= self.clock() - begun
        try:
            await self.runtime.stop_container(action.container_id, max(_MIN_STOP_S, left))
        except (RuntimeFault, TimeoutError) as fault:
            log.warning("container %s cannot be stopped: %s", action.container, fault)
            await asyncio.sleep(1)

    async def _hook(
        self, hook: Obj, container: Obj, container_id: str, pod: Obj, seen: PodObserved | None, limit_s: float
    ) -> str:
        """Run one lifecycle hook; what went wrong, or nothing."""
        try:
            async with asyncio.timeout(limit_s):
                if "exec" in hook:
                    result = await self.runtime.exec_sync(container_id, hook["exec"].get("command") or (), limit_s)
                    if result.exit_code:
                        output = (result.stdout + result.stderr)[:1024].decode("utf-8", "replace")
                        return f"command exited with {result.exit_code}: {output}"
                elif "httpGet" in hook:
                    status, _ = await http_get(hook["httpGet"], self.target(pod, container, container_id, seen))
                    if status >= 400:
                        return f"the hook answered {status}"
                elif "tcpSocket" in hook:
                    target = self.target(pod, container, container_id, seen)
                    port = port_number(hook["tcpSocket"]["port"], target.ports)
                    _, writer = await asyncio.open_connection(hook["tcpSocket"].get("host") or target.ip, port)
                    writer.close()
                elif "sleep" in hook:
                    await asyncio.sleep(float(hook["sleep"].get("seconds") or 0))
        except TimeoutError:
            return f"no answer in {limit_s:.0f} s"
        except (RuntimeFault, OSError, KeyError, ValueError) as fault:
            return str(fault)
        return ""

    def target(self, pod: Obj, container: Obj, container_id: str, seen: PodObserved | None) -> Target:
        """Whom probes and hooks of this container ask."""

        async def run(command: Sequence[str], timeout_s: float) -> ExecResult:
            return await self.runtime.exec_sync(container_id, command, timeout_s)

        ports = {p["name"]: int(p["containerPort"]) for p in container.get("ports") or () if p.get("name")}
        return Target(self.facts(pod, seen)["status.podIP"], ports, run)

    async def remove(self, seen: PodObserved) -> None:
        """Forget all sandboxes and containers of a pod that is over."""
        for container in seen.containers:
            if container.phase is ContainerPhase.EXITED:
                with contextlib.suppress(RuntimeFault, NoSuchContainer):
                    await self.runtime.remove_container(container.id)
        for sandbox in seen.sandboxes:
            await self.runtime.stop_sandbox(sandbox.id)
            await self.runtime.remove_sandbox(sandbox.id)
        await self.runtime.forget_pod(seen.uid)
