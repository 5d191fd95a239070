"""What the plan asks the sync loop to do. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PrepareVolumes:
    """Make the pod's volumes."""


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """Have the image of a container, by its pull policy; goes on in the background."""

    container: str


@dataclass(frozen=True, slots=True)
class BackOffPull:
    """Say that the image of a container, which could not be had, is waited with before it is tried again."""

    container: str


@dataclass(frozen=True, slots=True)
class RunSandbox:
    """Make a sandbox."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create and start a container."""

    container: str
    attempt: int
    image_id: str
    init: bool = False


@dataclass(frozen=True, slots=True)
class KillContainer:
    """preStop, TERM, and KILL after the grace."""

    container: str
    container_id: str
    grace_s: float
    message: str
    prestop: bool = True


@dataclass(frozen=True, slots=True)
class ResizeContainer:
    """Give a running container the CPU and memory that its pod asks for now."""

    container: str
    container_id: str


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Forget an old dead container and its log."""

    container_id: str


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """Stop a sandbox and its network."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Forget a dead sandbox and what was in it."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything is stopped: release the volumes; when deletion was asked for, tell the API that it is done."""


Action = (
    PrepareVolumes | EnsureImage | BackOffPull | RunSandbox | StartContainer | KillContainer | ResizeContainer
    | RemoveContainer | StopSandbox | RemoveSandbox | Finish
)  # fmt: skip


@dataclass(slots=True)
class Decision:
    """What to do now, in order, and when to ask again at the latest (0: only when something happens)."""

    actions: list[Action] = field(default_factory=list)
    wake_at: float = 0.0

    def wake(self, at: float) -> None:
        """Ask again at `at`, or sooner."""
        self.wake_at = min(self.wake_at or at, at)
