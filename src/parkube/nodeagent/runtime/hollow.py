"""The `Runtime` port with no containers: pods are played, at once and in memory. For scale and unit tests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import count
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
from parkube.nodeagent.plan.names import ANNOTATION_HASH
from parkube.nodeagent.runtime.port import (
    ExecResult,
    ImageFault,
    ImageInfo,
    NoSuchContainer,
    RuntimeFault,
    RuntimeInfo,
)

_numbers = count(1)


def addresses(third: int = 0) -> Iterator[str]:
    """Pod addresses that look the part."""
    for number in count(2):
        yield f"10.42.{third % 256}.{2 + number % 250}"


class HollowRuntime:
    """Every image exists, but those named `missing…`; containers run until they are stopped or `exit` is called."""

    def __init__(self, clock: Callable[[], float] = time.time, third: int = 0) -> None:
        self._clock, self._addresses = clock, addresses(third)
        self._pods: dict[str, PodObserved] = {}
        self._images: dict[str, ImageInfo] = {}
        self._owner: dict[str, str] = {}  # container or sandbox id -> pod uid
        self._callbacks: list[Callable[[], None]] = []
        self.exec_results: dict[tuple[str, ...], ExecResult] = {}
        self.usage: dict[str, Usage] = {}
        self.calls: list[str] = []

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    async def info(self) -> RuntimeInfo:
        return RuntimeInfo("hollow", "1.0.0", True, True)

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def pods(self) -> list[PodObserved]:
        return [
            PodObserved(p.uid, p.namespace, p.name, [copy(s) for s in p.sandboxes], [copy(c) for c in p.containers])
            for p in self._pods.values()
        ]

    async def containers(self, namespace: str, pod: str, container: str = "") -> list[Container]:
        return [
            c
            for p in self._pods.values()
            if p.namespace == namespace and p.name == pod
            for c in p.containers
            if not container or c.name == container
        ]

    async def usages(self) -> list[Usage]:
        return [self.usage.get(c.id, Usage(c.id)) for p in self._pods.values() for c in p.containers]

    # Sandboxes

    async def run_sandbox(self, spec: SandboxSpec) -> Sandbox:
        pod = self._pods.setdefault(spec.uid, PodObserved(spec.uid, spec.namespace, spec.name))
        if any(s.attempt == spec.attempt for s in pod.sandboxes):
            raise RuntimeFault(f"sandbox {spec.namespace}/{spec.name} attempt {spec.attempt} is reserved")
        ips = () if spec.host_network else (next(self._addresses),)
        sandbox = Sandbox(f"s{next(_numbers):08x}", spec.attempt, True, self._clock(), ips, spec.host_network)
        pod.sandboxes.append(sandbox)
        self._owner[sandbox.id] = spec.uid
        return sandbox

    async def stop_sandbox(self, sandbox_id: str) -> None:
        pod = self._pods.get(self._owner.get(sandbox_id, ""))
        for sandbox in pod.sandboxes if pod else ():
            if sandbox.id == sandbox_id:
                sandbox.ready = False
        for container in pod.containers if pod else ():
            if container.sandbox_id == sandbox_id and container.phase is not ContainerPhase.EXITED:
                self.exit(container.id, 137)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        uid = self._owner.pop(sandbox_id, "")
        pod = self._pods.get(uid)
        if pod is None:
            return
        pod.sandboxes = [s for s in pod.sandboxes if s.id != sandbox_id]
        for gone in [c for c in pod.containers if c.sandbox_id == sandbox_id]:
            self._owner.pop(gone.id, None)
            pod.containers.remove(gone)
        if not pod.sandboxes:
            self._pods.pop(uid, None)

    async def forget_pod(self, uid: str) -> None:
        self._pods.pop(uid, None)

    # Containers

    def _find(self, container_id: str) -> Container:
        pod = self._pods.get(self._owner.get(container_id, ""))
        for container in pod.containers if pod else ():
            if container.id == container_id:
                return container
        raise NoSuchContainer(f"no container {container_id}")

    async def create_container(self, sandbox_id: str, spec: ContainerSpec, sandbox: SandboxSpec) -> str:
        pod = self._pods.get(self._owner.get(sandbox_id, ""))
        if pod is None:
            raise RuntimeFault(f"no sandbox {sandbox_id}")
        container = Container(
            f"c{next(_numbers):08x}", spec.name, spec.attempt, ContainerPhase.CREATED, sandbox_id, spec.image,
            spec.image, spec.annotations.get(ANNOTATION_HASH, ""), f"{sandbox.log_directory}/{spec.log_path}",
            self._clock(),
        )  # fmt: skip
        pod.containers.append(container)
        self._owner[container.id] = pod.uid
        return container.id

    async def start_container(self, container_id: str) -> None:
        container = self._find(container_id)
        if container.phase is not ContainerPhase.CREATED:
            raise RuntimeFault(f"container {container_id} is {container.phase}")
        container.phase, container.started_at = ContainerPhase.RUNNING, self._clock()

    async def resize_container(self, container_id: str, amounts: Amounts) -> None:
        if self._find(container_id).phase is not ContainerPhase.RUNNING:
            raise NoSuchContainer(f"container {container_id} is not running")

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        if container_id in self._owner and self._find(container_id).phase is not ContainerPhase.EXITED:
            self.exit(container_id, 143)

    async def remove_container(self, container_id: str) -> None:
        uid = self._owner.pop(container_id, "")
        if uid in self._pods:
            pod = self._pods[uid]
            pod.containers = [c for c in pod.containers if c.id != container_id]

    def exit(self, container_id: str, code: int) -> None:
        """Play that a container ends."""
        container = self._find(container_id)
        container.phase, container.exit_code, container.finished_at = ContainerPhase.EXITED, code, self._clock()
        container.reason = "Completed" if code == 0 else "Error"
        for callback in self._callbacks:
            callback()

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        if self._find(container_id).phase is not ContainerPhase.RUNNING:
            raise NoSuchContainer(f"container {container_id} is not running")
        self.calls.append(" ".join(command))
        return self.exec_results.get(tuple(command), ExecResult(0, b"", b""))

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> str:
        raise RuntimeFault("a hollow container runs no commands")

    async def attach_url(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> str:
        raise RuntimeFault("a hollow container has no streams")

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        raise RuntimeFault("a hollow container has no ports")

    async def reopen_log(self, container_id: str) -> None:
        return

    # Images

    async def image(self, reference: str) -> ImageInfo | None:
        for info in self._images.values():
            if reference == info.id or reference in info.tags:
                return info
        return None

    async def images(self) -> list[ImageInfo]:
        return list(self._images.values())

    async def pull(self, reference: str, auth: dict[str, str] | None = None) -> str:
        if reference.startswith("missing"):
            raise ImageFault(f'failed to resolve reference "{reference}": not found')
        info = ImageInfo(f"sha256:{reference}", (reference,), (), 1)
        self._images[reference] = info
        return info.id

    async def import_image(self, tar: Path) -> None:
        await self.pull(tar.name)

    async def remove_image(self, image_id: str) -> None:
        self._images = {name: info for name, info in self._images.items() if info.id != image_id}

    async def mount_image(self, image_id: str, key: str, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)

    async def unmount_image(self, key: str, target: Path) -> None:
        with contextlib.suppress(OSError):
            target.rmdir()
