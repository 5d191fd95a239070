"""What the agent remembers of a pod beyond what the runtime holds. The sync loop writes it, the plan reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.backoff import Backoff


class PullState(StrEnum):
    """Where a container's image stands."""

    PULLING = "pulling"
    PRESENT = "present"
    FAILED = "failed"


@dataclass(slots=True)
class Pull:
    """The image of the next start of a container."""

    state: PullState
    image_id: str = ""
    reason: str = ""
    message: str = ""
    retry_at: float = 0.0
    back_off_at: float = 0.0  # from when on it is not the fault that is said but the waiting; 0: it is said already


@dataclass(slots=True)
class Fault:
    """Why a container could not be made or started, and when to try again."""

    reason: str
    message: str
    until: float


@dataclass(slots=True)
class ProbeView:
    """What the probes of one running container say so far."""

    started: bool = True
    ready: bool = True
    live: bool = True  # False: it is to be killed
    message: str = ""


@dataclass(slots=True)
class Memory:
    """One pod's memory. It may be lost: the runtime and the last status written to the API make up for it."""

    start_time: float
    status: Obj = field(default_factory=dict)  # the last status written or read
    volumes_ready: bool = False
    volume_fault: str = ""
    sandbox_fault: str = ""
    sandbox_retry_at: float = 0.0
    rejected: tuple[str, str] | None = None  # reason and message: never to be run
    grace_s: float | None = None  # in place of the pod's own, once it is evicted
    admitted: bool = False  # the node has taken it
    allocated: dict[str, Obj] = field(default_factory=dict)  # the resources that the node gives, by container
    resize_hold: tuple[str, str] | None = None  # Infeasible or Deferred, and why: other resources are not given
    resize_told: tuple[str, int] | None = None  # the hold that an event tells of: its reason and the pod's generation
    resize_generation: int = 0  # of the pod whose resources are being given to its containers; 0: they have them
    resize_fault: str = ""  # why a running container could not get them
    resize_retry_at: float = 0.0
    unsettled: bool = False  # an agent before this one was giving resources, and may have given them or not
    pulls: dict[str, Pull] = field(default_factory=dict)  # by container
    pull_backoffs: dict[str, Backoff] = field(default_factory=dict)  # by container
    backoffs: dict[str, Backoff] = field(default_factory=dict)  # by container
    faults: dict[str, Fault] = field(default_factory=dict)  # by container
    probes: dict[str, ProbeView] = field(default_factory=dict)  # by container id
    applied: dict[str, Obj] = field(default_factory=dict)  # resources, by container id
    failed_hooks: set[str] = field(default_factory=set)  # container ids whose postStart hook failed
    stopped: bool = False  # its containers and sandbox were stopped for good
