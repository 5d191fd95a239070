"""The port to a container runtime. Two implementations, CRI and hollow; one contract suite runs on both.

It makes and reports what it is told to; when to make or kill what is the plan's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from parkube.nodeagent.plan.model import Amounts, Container, ContainerSpec, PodObserved, Sandbox, SandboxSpec, Usage


class RuntimeFault(Exception):
    """The runtime refused or is away; the text is its own words."""


class NoSuchContainer(RuntimeFault):
    """There is no such container (or none in that state)."""


class ImageFault(RuntimeFault):
    """An image could not be had. `reason` is kubelet's: ErrImagePull, ErrImageNeverPull, InvalidImageName."""

    def __init__(self, message: str, reason: str = "ErrImagePull") -> None:
        super().__init__(message)
        self.reason = reason


class RuntimeInfo(NamedTuple):
    """Who the runtime is and whether it can run pods."""

    name: str  # e.g. containerd
    version: str
    ready: bool
    network_ready: bool
    message: str = ""


class ImageInfo(NamedTuple):
    """An image that is present."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size: int  # bytes
    uid: int | None = None  # the image's numeric user, when it has one
    username: str = ""


class ExecResult(NamedTuple):
    """Outcome of a command run to its end."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Runtime(Protocol):
    """All methods raise `RuntimeFault` when the runtime fails."""

    async def start(self) -> None:
        """Connect; raises `RuntimeFault` when nobody answers."""
        ...

    async def close(self) -> None:
        """Let go of the connection; containers run on."""
        ...

    async def info(self) -> RuntimeInfo: ...

    def on_change(self, callback: Callable[[], None]) -> None:
        """`callback` is called when something exited, so that pods may be listed again soon."""
        ...

    # What is there
    async def pods(self) -> list[PodObserved]:
        """Every pod that the runtime holds, dead ones included."""
        ...

    async def containers(self, namespace: str, pod: str, container: str = "") -> list[Container]:
        """Containers of a pod by name, oldest attempt first, with `log_path` absolute; for logs, exec and attach."""
        ...

    async def usages(self) -> list[Usage]:
        """What running containers use."""
        ...

    # Sandboxes
    async def run_sandbox(self, spec: SandboxSpec) -> Sandbox: ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what runs in it and take down its network; idempotent."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Forget it and its containers; idempotent."""
        ...

    async def forget_pod(self, uid: str) -> None:
        """All of the pod is removed: give back whatever else was kept for it."""
        ...

    # Containers
    async def create_container(self, sandbox_id: str, spec: ContainerSpec, sandbox: SandboxSpec) -> str: ...

    async def start_container(self, container_id: str) -> None: ...

    async def resize_container(self, container_id: str, amounts: Amounts) -> None:
        """Give a running container other CPU and memory."""
        ...

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        """TERM, then KILL after `timeout_s`; idempotent."""
        ...

    async def remove_container(self, container_id: str) -> None: ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        """Run a command to its end; `TimeoutError` when it takes longer."""
        ...

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> str:
        """A one-time http:// URL on this machine that speaks SPDY/3.1 remotecommand."""
        ...  # fmt: skip

    async def attach_url(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> str:
        """As `exec_url`, to the container's own process."""
        ...

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        """A one-time http:// URL on this machine that speaks SPDY/3.1 port-forward into the sandbox."""
        ...

    async def reopen_log(self, container_id: str) -> None:
        """After the log file was moved away."""
        ...

    # Images
    async def image(self, reference: str) -> ImageInfo | None: ...

    async def images(self) -> list[ImageInfo]: ...

    async def pull(self, reference: str, auth: dict[str, str] | None = None) -> str:
        """Pull and return the image's id; raises `ImageFault`. `auth`: username and password."""
        ...

    async def import_image(self, tar: Path) -> None:
        """Load an OCI-layout or docker-archive tar."""
        ...

    async def remove_image(self, image_id: str) -> None: ...

    async def mount_image(self, image_id: str, key: str, target: Path) -> None:
        """The image's files at `target`, read-only, until `unmount_image` with the same key. Raises `RuntimeFault`."""
        ...

    async def unmount_image(self, key: str, target: Path) -> None:
        """They are not there any more."""
        ...
