"""What the operator does when a Garage comes, changes, or its time for a gate cycle is there; kopf calls these.

Only the edge: what to do is in `desired` and `status`. An error that may pass is retried by kopf.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import kopf

from parkube.parking.operator import desired
from parkube.parking.operator.cluster import Cluster
from parkube.parking.operator.errors import BadGarage, OperatorError, PlatformRefused
from parkube.parking.operator.platform import Platform, now
from parkube.parking.operator.status import AWAY_STEPS, Cycle, after_cycle

FAST_S = 5.0  # between cycles until the first one passes
GROUP, VERSION, PLURAL = "parkube.io", "v1", "garages"


@dataclass(slots=True)
class World:
    """What handlers work on."""

    cluster: Cluster
    platform: Platform
    public_url: str
    image: str
    garage_data: str = desired.GARAGE_DATA


def owner_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The owner reference of what belongs to a Garage."""
    meta = body["metadata"]
    return {
        "apiVersion": body["apiVersion"], "kind": body["kind"], "name": meta["name"], "uid": meta["uid"],
        "controller": True, "blockOwnerDeletion": False,
    }  # fmt: skip


async def sync(world: World, body: Mapping[str, Any], local: datetime) -> None:
    """Bring platform and cluster to what the Garage says. Raises OperatorError."""
    name, spec = body["metadata"]["name"], body["spec"]
    move_gate = desired.gate_may_move(spec, local.time())
    config = desired.gate_config(name, spec, world.public_url, move_gate=move_gate)
    tariff = await world.cluster.tariff(spec["tariff"]) if spec.get("tariff") else None
    if spec.get("tariff") and tariff is None:
        raise OperatorError(f"there is no Tariff {spec['tariff']}")
    node, _ = await world.cluster.pod(name)
    await world.platform.put_garage(name, desired.platform_body(spec, tariff, node))
    owner, namespace = owner_of(body), world.cluster.namespace
    if not await world.cluster.has_token(name):
        token = await world.platform.new_token(name)
        await world.cluster.put(desired.secret(name, namespace, token), owner)
    await world.cluster.put(desired.config_map(name, namespace, config), owner)
    camera_secret = (spec.get("cameras") or {}).get("tokenSecret", "")
    wanted = desired.daemon_set(name, namespace, config, world.image, world.garage_data, camera_secret)
    await world.cluster.put(wanted, owner)


async def cycle(world: World, body: Mapping[str, Any]) -> Cycle:
    """One synthetic gate cycle, and its outcome in the Garage's status."""
    name, meta = body["metadata"]["name"], body["metadata"]
    node, trouble = await world.cluster.pod(name)
    found = await world.platform.verify(name)
    if not found.ok and found.step in AWAY_STEPS and trouble and found.step == "link":
        # The container is known not to run: that is more than "away", unless its node is away too.
        found = Cycle(False, found.at, 0, "container" if node else "node", trouble)
    status = after_cycle(body.get("status") or {}, meta.get("generation", 0), found, node)
    await world.cluster.put_status(name, {**status, **await world.platform.seen(name)})
    return found


def local_time(spec: Mapping[str, Any]) -> datetime:
    """Now, at the garage."""
    return datetime.now(UTC).astimezone(ZoneInfo(spec.get("timeZone") or "Europe/Amsterdam"))


def register(registry: kopf.OperatorRegistry, world: World) -> None:
    """Tell kopf what to call."""

    @kopf.on.resume(GROUP, VERSION, PLURAL, registry=registry)
    @kopf.on.create(GROUP, VERSION, PLURAL, registry=registry)
    @kopf.on.update(GROUP, VERSION, PLURAL, field="spec", registry=registry)
    async def changed(body: kopf.Body, **_: Any) -> None:
        try:
            await sync(world, body, local_time(body["spec"]))
        except (BadGarage, PlatformRefused) as error:
            await refuse(world, body, str(error))
            raise kopf.PermanentError(str(error)) from error
        except OperatorError as error:
            raise kopf.TemporaryError(str(error), delay=FAST_S) from error

    @kopf.daemon(GROUP, VERSION, PLURAL, initial_delay=1.0, cancellation_timeout=1.0, registry=registry)
    async def verify(body: kopf.Body, stopped: kopf.DaemonStopped, logger: kopf.Logger, **_: Any) -> None:
        known: tuple[bool, object] | None = None
        while not stopped:
            wait_s = desired.interval_s(body["spec"])
            try:
                # What a Garage depends on beyond its own spec: the hours in which its gate may move, and its Tariff.
                move = desired.gate_may_move(body["spec"], local_time(body["spec"]).time())
                tariff = await world.cluster.tariff(body["spec"]["tariff"]) if body["spec"].get("tariff") else None
                if known is not None and (move, tariff) != known:
                    await sync(world, body, local_time(body["spec"]))
                known = (move, tariff)
                found = await cycle(world, body)
                if not found.ok:
                    logger.warning(f"{body['metadata']['name']}: step {found.step} failed: {found.reason}")
                    wait_s = min(wait_s, FAST_S * 3)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                logger.warning(f"the cycle of {body['metadata']['name']} could not be run: {error}")
                wait_s = FAST_S
            await stopped.wait(wait_s)


async def refuse(world: World, body: Mapping[str, Any], why: str) -> None:
    """Say in the status that the Garage cannot be meant so."""
    found = Cycle(False, now(), 0, "garage", why)
    status = after_cycle(body.get("status") or {}, body["metadata"].get("generation", 0), found, None)
    await world.cluster.put_status(body["metadata"]["name"], status)
