"""The `Runtime` port on CRI v1, as containerd speaks it. It also listens to containerd's own exit events,
since CRI 1.6 has none, so that nothing has to be polled often.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from parkube.nodeagent.plan.model import (
    Amounts,
    Container,
    ContainerPhase,
    ContainerSpec,
    PodObserved,
    Sandbox,
    SandboxSpec,
    Usage,
)
from parkube.nodeagent.plan.names import ANNOTATION_HASH, LABEL_NAME, LABEL_NAMESPACE, LABEL_UID
from parkube.nodeagent.runtime.cgroups import limit_pod_groups, remove_pod_groups
from parkube.nodeagent.runtime.cri.channel import UnixChannel
from parkube.nodeagent.runtime.cri.convert import container_config, linux_resources, sandbox_config
from parkube.nodeagent.runtime.cri.image_mounts import ImageMounts
from parkube.nodeagent.runtime.cri.messages import CODEC, EVENTS, IMAGES, RUNTIME
from parkube.nodeagent.runtime.cri.wire import Message, WireError
from parkube.nodeagent.runtime.port import (
    ExecResult,
    ImageFault,
    ImageInfo,
    NoSuchContainer,
    RuntimeFault,
    RuntimeInfo,
)

_PHASES = (ContainerPhase.CREATED, ContainerPhase.RUNNING, ContainerPhase.EXITED, ContainerPhase.UNKNOWN)
_PULL_TIMEOUT_S = 1800.0
_EVENT_RETRY_S = 5.0
_INITIALIZED_WITHIN_S = 60.0


class CriRuntime:
    """Implements `Runtime`. `ctr` imports images, since CRI has no call for that."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._channel = UnixChannel(socket)
        self._mounts = ImageMounts(self._channel)
        self._callbacks: list[Callable[[], None]] = []
        self._listener: asyncio.Task[None] | None = None
        self._statuses: dict[str, Container] = {}
        self._sandboxes: dict[str, Sandbox] = {}

    async def start(self) -> None:
        await self._until_initialized()
        self._listener = asyncio.create_task(self._listen(), name="runtime events")

    async def _until_initialized(self) -> None:
        """containerd answers while it still takes up what a power cut left, and refuses every call then."""
        deadline = asyncio.get_running_loop().time() + _INITIALIZED_WITHIN_S
        while True:
            try:
                await self._channel.call(RUNTIME + "Version", "VersionRequest", {}, "VersionResponse", timeout_s=10)
                await self._channel.call(RUNTIME + "Status", "StatusRequest", {}, "StatusResponse", timeout_s=10)
            except RuntimeFault as fault:
                if "not initialized" not in str(fault) or asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
        self._channel.close()

    async def info(self) -> RuntimeInfo:
        version = await self._channel.call(RUNTIME + "Version", "VersionRequest", {}, "VersionResponse")
        status = await self._channel.call(RUNTIME + "Status", "StatusRequest", {}, "StatusResponse")
        conditions = {c.get("type", ""): c for c in status.get("status", {}).get("conditions", ())}
        messages = [c["message"] for c in conditions.values() if not c.get("status") and c.get("message")]
        return RuntimeInfo(
            version.get("runtime_name", ""),
            version.get("runtime_version", "").partition("~")[0],
            bool(conditions.get("RuntimeReady", {}).get("status")),
            bool(conditions.get("NetworkReady", {}).get("status")),
            "; ".join(messages),
        )

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def _listen(self) -> None:
        """Follow containerd's task exits; another CRI runtime refuses, and then the slow relist is all there is."""
        filters = ['topic=="/tasks/exit",namespace=="k8s.io"', 'topic=="/tasks/oom",namespace=="k8s.io"']
        while True:
            with contextlib.suppress(RuntimeFault, TimeoutError):
                async for envelope in self._channel.stream(
                    EVENTS, "SubscribeRequest", {"filters": filters}, "Envelope"
                ):
                    if not _is_exec_exit(envelope):
                        for callback in self._callbacks:
                            callback()
            await asyncio.sleep(_EVENT_RETRY_S)
            for callback in self._callbacks:  # something may have exited meanwhile
                callback()

    # What is there

    async def pods(self) -> list[PodObserved]:
        found: dict[str, PodObserved] = {}
        reply = await self._channel.call(
            RUNTIME + "ListPodSandbox", "ListPodSandboxRequest", {}, "ListPodSandboxResponse"
        )
        seen_sandboxes = {}
        for item in reply.get("items", ()):
            sandbox = await self._sandbox(item)
            seen_sandboxes[sandbox.id] = sandbox
            _pod(found, item.get("labels", {})).sandboxes.append(sandbox)
        self._sandboxes = seen_sandboxes
        reply = await self._channel.call(
            RUNTIME + "ListContainers", "ListContainersRequest", {}, "ListContainersResponse"
        )
        seen: dict[str, Container] = {}
        for item in reply.get("containers", ()):
            container = await self._container(item)
            if container is not None:
                seen[container.id] = container
                _pod(found, item.get("labels", {})).containers.append(container)
        self._statuses = seen
        for pod in found.values():
            pod.sandboxes.sort(key=lambda s: (s.attempt, s.created_at))
            pod.containers.sort(key=lambda c: (c.attempt, c.created_at))
        return list(found.values())

    async def _list(self, what: str) -> Message:
        return await self._channel.call(f"{RUNTIME}List{what}", f"List{what}Request", {}, f"List{what}Response")

    async def _sandbox(self, item: Message) -> Sandbox:
        ready = item.get("state", 0) == 0
        known = self._sandboxes.get(item["id"])
        if known is not None and known.ready == ready:
            return known
        sandbox = Sandbox(
            item["id"], item.get("metadata", {}).get("attempt", 0), ready, item.get("created_at", 0) / 1e9
        )
        if ready:
            with contextlib.suppress(NoSuchContainer):
                await self._fill(sandbox)
        return sandbox

    async def _fill(self, sandbox: Sandbox) -> None:
        reply = await self._channel.call(
            RUNTIME + "PodSandboxStatus", "PodSandboxStatusRequest", {"pod_sandbox_id": sandbox.id},
            "PodSandboxStatusResponse",
        )  # fmt: skip
        status = reply.get("status", {})
        network = status.get("network", {})
        ips = [network.get("ip", ""), *(ip.get("ip", "") for ip in network.get("additional_ips", ()))]
        sandbox.ips = tuple(ip for ip in ips if ip)
        sandbox.ready = status.get("state", 0) == 0
        sandbox.created_at = status.get("created_at", 0) / 1e9
        sandbox.host_network = status.get("linux", {}).get("namespaces", {}).get("options", {}).get("network", 0) == 2

    async def _container(self, item: Message) -> Container | None:
        phase = _PHASES[min(item.get("state", 0), 3)]
        known = self._statuses.get(item["id"])
        if known is not None and known.phase == phase:
            return known
        try:
            return await self._status(item["id"], item.get("pod_sandbox_id", ""))
        except NoSuchContainer:
            return None

    async def _status(self, container_id: str, sandbox_id: str) -> Container:
        reply = await self._channel.call(
            RUNTIME + "ContainerStatus", "ContainerStatusRequest", {"container_id": container_id},
            "ContainerStatusResponse",
        )  # fmt: skip
        status = reply.get("status", {})
        return Container(
            id=container_id,
            name=status.get("metadata", {}).get("name", ""),
            attempt=status.get("metadata", {}).get("attempt", 0),
            phase=_PHASES[min(status.get("state", 0), 3)],
            sandbox_id=sandbox_id,
            image=status.get("image", {}).get("image", ""),
            image_id=status.get("image_ref", ""),
            spec_hash=status.get("annotations", {}).get(ANNOTATION_HASH, ""),
            log_path=status.get("log_path", ""),
            created_at=status.get("created_at", 0) / 1e9,
            started_at=status.get("started_at", 0) / 1e9,
            finished_at=status.get("finished_at", 0) / 1e9,
            exit_code=status.get("exit_code", 0),
            reason=status.get("reason", ""),
            message=status.get("message", ""),
        )

    async def containers(self, namespace: str, pod: str, container: str = "") -> list[Container]:
        return [
            found
            for observed in await self.pods()
            if observed.namespace == namespace and observed.name == pod
            for found in observed.containers
            if not container or found.name == container
        ]

    async def usages(self) -> list[Usage]:
        reply = await self._list("ContainerStats")
        return [_usage(item) for item in reply.get("stats", ())]

    # Sandboxes

    async def run_sandbox(self, spec: SandboxSpec) -> Sandbox:
        if spec.own_users:
            raise RuntimeFault("user namespaces are not supported by this node: hostUsers may not be false")
        Path(spec.log_directory).mkdir(parents=True, exist_ok=True)
        request = {"config": sandbox_config(spec), "runtime_handler": spec.runtime_handler}
        reply = await self._channel.call(
            RUNTIME + "RunPodSandbox", "RunPodSandboxRequest", request, "PodSandboxId", timeout_s=240
        )
        limit_pod_groups(spec.cgroup_parent, spec.amounts)
        sandbox = Sandbox(reply["pod_sandbox_id"], spec.attempt, True)
        await self._fill(sandbox)
        self._sandboxes[sandbox.id] = sandbox
        return sandbox

    async def stop_sandbox(self, sandbox_id: str) -> None:
        self._sandboxes.pop(sandbox_id, None)
        with contextlib.suppress(NoSuchContainer):
            await self._channel.call(RUNTIME + "StopPodSandbox", "PodSandboxId", {"pod_sandbox_id": sandbox_id})

    async def remove_sandbox(self, sandbox_id: str) -> None:
        with contextlib.suppress(NoSuchContainer):
            await self._channel.call(RUNTIME + "RemovePodSandbox", "PodSandboxId", {"pod_sandbox_id": sandbox_id})

    async def forget_pod(self, uid: str) -> None:
        remove_pod_groups(uid)

    # Containers

    async def create_container(self, sandbox_id: str, spec: ContainerSpec, sandbox: SandboxSpec) -> str:
        (Path(sandbox.log_directory) / spec.log_path).parent.mkdir(parents=True, exist_ok=True)
        request = {
            "pod_sandbox_id": sandbox_id,
            "config": container_config(spec, spec.image),
            "sandbox_config": sandbox_config(sandbox),
        }
        reply = await self._channel.call(RUNTIME + "CreateContainer", "CreateContainerRequest", request, "ContainerId")
        return str(reply["container_id"])

    async def start_container(self, container_id: str) -> None:
        await self._channel.call(RUNTIME + "StartContainer", "ContainerId", {"container_id": container_id})

    async def resize_container(self, container_id: str, amounts: Amounts) -> None:
        request = {"container_id": container_id, "linux": linux_resources(amounts)}
        await self._channel.call(
            RUNTIME + "UpdateContainerResources", "UpdateContainerResourcesRequest", request, "Empty"
        )

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        request = {"container_id": container_id, "timeout": int(timeout_s)}
        with contextlib.suppress(NoSuchContainer):
            await self._channel.call(
                RUNTIME + "StopContainer", "StopContainerRequest", request, timeout_s=timeout_s + 60
            )

    async def remove_container(self, container_id: str) -> None:
        with contextlib.suppress(NoSuchContainer):
            await self._channel.call(RUNTIME + "RemoveContainer", "ContainerId", {"container_id": container_id})

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        request = {"container_id": container_id, "cmd": list(command), "timeout": max(1, int(timeout_s))}
        reply = await self._channel.call(
            RUNTIME + "ExecSync", "ExecSyncRequest", request, "ExecSyncResponse", timeout_s=timeout_s + 10
        )
        return ExecResult(reply.get("exit_code", 0), reply.get("stdout", b""), reply.get("stderr", b""))

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> str:
        request = {
            "container_id": container_id, "cmd": list(command), "tty": tty, "stdin": stdin, "stdout": stdout,
            "stderr": stderr,
        }  # fmt: skip
        reply = await self._channel.call(RUNTIME + "Exec", "ExecRequest", request, "UrlResponse")
        return str(reply["url"])

    async def attach_url(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> str:
        request = {"container_id": container_id, "stdin": stdin, "tty": tty, "stdout": stdout, "stderr": stderr}
        reply = await self._channel.call(RUNTIME + "Attach", "AttachRequest", request, "UrlResponse")
        return str(reply["url"])

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        request = {"pod_sandbox_id": sandbox_id, "port": list(ports)}
        reply = await self._channel.call(RUNTIME + "PortForward", "PortForwardRequest", request, "UrlResponse")
        return str(reply["url"])

    async def reopen_log(self, container_id: str) -> None:
        await self._channel.call(RUNTIME + "ReopenContainerLog", "ContainerId", {"container_id": container_id})

    # Images

    async def image(self, reference: str) -> ImageInfo | None:
        request = {"image": {"image": reference}}
        reply = await self._channel.call(IMAGES + "ImageStatus", "ImageStatusRequest", request, "ImageStatusResponse")
        return _image(reply["image"]) if "image" in reply else None

    async def images(self) -> list[ImageInfo]:
        reply = await self._channel.call(IMAGES + "ListImages", "Empty", {}, "ListImagesResponse")
        return [_image(item) for item in reply.get("images", ())]

    async def pull(self, reference: str, auth: dict[str, str] | None = None) -> str:
        request: Message = {"image": {"image": reference}}
        if auth:
            request["auth"] = auth
        try:
            reply = await self._channel.call(
                IMAGES + "PullImage", "PullImageRequest", request, "PullImageResponse", timeout_s=_PULL_TIMEOUT_S
            )
        except (RuntimeFault, TimeoutError) as error:
            bad_name = "invalid reference format" in str(error)
            raise ImageFault(str(error), "InvalidImageName" if bad_name else "ErrImagePull") from error
        return str(reply["image_ref"])

    async def import_image(self, tar: Path) -> None:
        child = await asyncio.create_subprocess_exec(
            "ctr", "--address", str(self._socket), "--namespace", "k8s.io", "images", "import", str(tar),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, stderr = await child.communicate()
        if child.returncode:
            raise ImageFault(f"{tar.name} cannot be imported: {stderr.decode(errors='replace').strip()}")

    async def remove_image(self, image_id: str) -> None:
        await self._channel.call(IMAGES + "RemoveImage", "RemoveImageRequest", {"image": {"image": image_id}})

    async def mount_image(self, image_id: str, key: str, target: Path) -> None:
        await self._mounts.mount(image_id, key, target)

    async def unmount_image(self, key: str, target: Path) -> None:
        await self._mounts.unmount(key, target)


def _pod(found: dict[str, PodObserved], labels: dict[str, str]) -> PodObserved:
    uid = labels.get(LABEL_UID, "")
    if uid not in found:
        found[uid] = PodObserved(uid, labels.get(LABEL_NAMESPACE, ""), labels.get(LABEL_NAME, ""))
    return found[uid]


def _usage(item: Message) -> Usage:
    def value(part: str, name: str) -> int:
        return int(item.get(part, {}).get(name, {}).get("value", 0))

    return Usage(
        item.get("attributes", {}).get("id", ""), item.get("cpu", {}).get("timestamp", 0) / 1e9,
        value("cpu", "usage_core_nano_seconds"), value("memory", "working_set_bytes"), value("memory", "usage_bytes"),
        value("memory", "rss_bytes"), value("writable_layer", "used_bytes"), value("writable_layer", "inodes_used"),
    )  # fmt: skip


def _image(item: Message) -> ImageInfo:
    uid = item.get("uid")
    return ImageInfo(
        item.get("id", ""),
        tuple(item.get("repo_tags", ())),
        tuple(item.get("repo_digests", ())),
        item.get("size", 0),
        None if uid is None else uid.get("value", 0),
        item.get("username", ""),
    )


def _is_exec_exit(envelope: Message) -> bool:
    """A command that ended inside a container (an exec probe) changes no container's state."""
    if envelope.get("topic") != "/tasks/exit":
        return False
    with contextlib.suppress(WireError):
        event = CODEC.decode("TaskExit", envelope.get("event", {}).get("value", b""))
        return bool(event.get("id")) and event.get("id") != event.get("container_id")
    return False
