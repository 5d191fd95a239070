"""What is to be done about one claim, and about one volume. Pure.

    claim    Pending --Bind--> Bound --its volume is gone or another's--> Lost
                \\--Adopt (the default class came)--> Pending     \\--Provision--> Pending, until the volume is there

    volume   Available --claimRef--> Bound --the claim is gone--> Released --(Retain: for a person; Delete: it goes)
                 ^----Free (the claim took another)----/

Both sides are written one after the other, so every step may be taken again: a claim and a volume that name each other
are completed, never decided anew. Source: Kubernetes documentation, "Persistent Volumes: Lifecycle".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from parkube.kubeapi.claims import (
    NO_PROVISIONER,
    ClaimInfo,
    ClassInfo,
    VolumeInfo,
    best,
    meant_for,
    misfit,
)
from parkube.kubeapi.compact import NodeInfo


class Bind(NamedTuple):
    """Both are to name each other and be Bound."""

    volume: VolumeInfo


class Wait(NamedTuple):
    """It stays Pending; reason and message of an event, where there is something to say."""

    reason: str = ""
    message: str = ""
    warning: bool = False


class Lose(NamedTuple):
    """The claim is Lost."""

    reason: str
    message: str


class Adopt(NamedTuple):
    """The claim gets the default class."""

    name: str


class Provision(NamedTuple):
    """The class's provisioner is to make a volume."""

    provisioner: str


ClaimStep = Bind | Wait | Lose | Adopt | Provision
_LOST = "Data on the volume is lost!"


class World(NamedTuple):
    """What there is beside the claim."""

    volume: Callable[[str], VolumeInfo | None]
    volumes: Callable[[], Iterable[VolumeInfo]]
    storage_class: Callable[[str], ClassInfo | None]
    default: str  # the default class; "": none
    node: Callable[[str], NodeInfo | None]


def claim_step(claim: ClaimInfo, world: World) -> ClaimStep:
    """The next step of a claim."""
    if claim.completed:
        return _completed(claim, world)
    if not claim.volume:
        return _choose(claim, world)
    volume = world.volume(claim.volume)
    if volume is None or (volume.deleting and not meant_for(volume, claim)):
        return Wait()
    if volume.claim is None:
        why = misfit(volume, claim)
        if why:
            text = f'Cannot bind to requested volume "{volume.name}": {why}'
            return Wait("VolumeMismatch", text, warning=True)
        return Bind(volume)
    if meant_for(volume, claim):
        return Bind(volume)
    text = f'volume "{volume.name}" already bound to a different claim.'
    return Wait("FailedBinding", text, warning=True)


def _completed(claim: ClaimInfo, world: World) -> ClaimStep:
    if not claim.volume:
        return Lose("ClaimLost", f"Bound claim has lost reference to PersistentVolume. {_LOST}")
    volume = world.volume(claim.volume)
    if volume is None:
        return Lose("ClaimLost", f"Bound claim has lost its PersistentVolume. {_LOST}")
    if volume.claim is None or meant_for(volume, claim):
        return Bind(volume)
    return Lose("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")


def _choose(claim: ClaimInfo, world: World) -> ClaimStep:
    name = claim.storage_class
    klass = world.storage_class(name) if name else None
    late = klass is not None and klass.late
    if late and not claim.node:
        reserved = best(claim, (v for v in world.volumes() if v.claim is not None))
        if reserved is not None:
            return Bind(reserved)
        return Wait("WaitForFirstConsumer", "waiting for first consumer to be created before binding")
    node = world.node(claim.node) if late else None
    found = best(claim, world.volumes(), node)
    if found is not None:
        return Bind(found)
    if name is None and world.default:
        return Adopt(world.default)
    if not name:
        text = "no persistent volumes available for this claim and no storage class is set"
        return Wait("FailedBinding", text)
    if klass is None:
        return Wait("ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found', warning=True)
    if klass.provisioner == NO_PROVISIONER:
        return Wait("FailedBinding", "no persistent volumes available for this claim and its class provisions none")
    return Provision(klass.provisioner)


class VolumeStep(NamedTuple):
    """The phase that a volume should have; whether its reservation is to be undone; whether its claim must look."""

    phase: str
    free: bool = False
    poke: bool = False


def volume_step(volume: VolumeInfo, claim: ClaimInfo | None) -> VolumeStep:
    """The next step of a volume. `claim`: the one of the name that it is reserved for, if it exists."""
    if volume.claim is None:
        return VolumeStep("Available")
    if not volume.claim.uid:
        return VolumeStep("Available", poke=claim is not None and not claim.volume)
    if claim is None or claim.uid != volume.claim.uid:
        return VolumeStep("Failed" if volume.phase == "Failed" else "Released")
    if not claim.volume:
        return VolumeStep(volume.phase, poke=True)
    if claim.volume == volume.name:
        return VolumeStep("Bound", poke=not claim.completed)
    if volume.provisioner and volume.policy == "Delete":
        return VolumeStep("Released")
    return VolumeStep("Available", free=True)
