"""The fleet as its operator sees it: garages in step with their resources, tokens, what runs and what is verified."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from parkube.parking.domain.errors import Denied, Invalid, NotFound
from parkube.parking.domain.garages import Garage, Gate, Link, Verification, check_garage_id, check_gates
from parkube.parking.domain.tariffs import read_tariff
from parkube.parking.domain.times import Window, zone
from parkube.parking.services import news, trail
from parkube.parking.services.index import Indexed
from parkube.parking.services.platform import Platform
from parkube.parking.services.verification import value_of

_TOKENS_KEPT = 2  # a token made anew must not lock out a garage that has not heard of it yet


@dataclass(frozen=True, slots=True)
class FleetRow:
    """One garage of the fleet. verified: True, False or Unknown."""

    garage: Garage
    node: str | None
    phase: str
    verified: str
    reason: str | None
    verified_at: datetime | None
    duration_ms: int | None
    app_version: str | None
    free_bays: int | None
    last_seen: datetime | None
    online: bool


async def put_garage(platform: Platform, garage_id: str, wanted: Mapping[str, Any]) -> Garage:
    """Keeps a garage as the operator has it; absent fields stay as they are. Raises Invalid with every fault."""
    check_garage_id(garage_id)
    async with platform.database.writing() as transaction:
        garage = await transaction.lock_garage(garage_id) or Garage(garage_id, garage_id, source="operator")
        garage = replace(_merged(garage, wanted), managed=True)
        await transaction.put_garages([garage])
    platform.index.put(garage)
    news.garage(platform, garage.id)
    return garage


async def new_token(platform: Platform, garage_id: str) -> str:
    """A new secret for the garage's link. Raises NotFound."""
    token = platform.new_id("gt") + platform.new_id("")
    async with platform.database.writing() as transaction:
        if await transaction.garage(garage_id) is None:
            raise NotFound(f"there is no garage {garage_id!r}")
        link = await transaction.lock_link(garage_id) or Link(garage_id)
        hashes = (*link.token_hashes, _hash(token))[-_TOKENS_KEPT:]
        await transaction.save_link(replace(link, token_hashes=hashes))
        await trail.note(platform, transaction, "garage_token", garage_id, garage_id)
    return token


async def check_token(platform: Platform, garage_id: str, token: str) -> None:
    """Raises Denied unless this is a token of that garage."""
    async with platform.database.reading() as transaction:
        link = await transaction.link(garage_id)
    known = link.token_hashes if link else ()
    if not any(hmac.compare_digest(_hash(token), one) for one in known):
        raise Denied("this is not the garage's token")


async def rows(platform: Platform) -> Sequence[FleetRow]:
    """Every garage that the operator manages, by name, and every resource that it has not told us of yet."""
    async with platform.database.reading() as transaction:
        links = {link.garage_id: link for link in await transaction.links()}
        checks = {check.garage_id: check for check in await transaction.latest_verifications()}
    seen = {garage.id: garage for garage in platform.cluster.garages()}
    now = platform.clock()
    found = []
    strangers = [Indexed(Garage(name, name), "") for name in seen if platform.index.get(name) is None]
    for known in (*platform.index.all(), *strangers):
        garage = known.garage
        if not garage.managed and garage.id not in seen:
            continue
        connection = platform.links.get(garage.id)
        link, check, resource = links.get(garage.id), checks.get(garage.id), seen.get(garage.id)
        verified = resource.verified if resource else _verified(check, connection is not None)
        found.append(
            FleetRow(
                garage=garage,
                node=(resource.node if resource else None) or garage.node,
                phase=resource.phase if resource else ("Running" if connection else "Unknown"),
                verified=verified,
                reason=resource.reason if resource else _reason(check, connection is not None),
                verified_at=(resource.verified_at if resource else None) or (check.at if check else None),
                duration_ms=(resource.duration_ms if resource else None) or (check.duration_ms if check else None),
                app_version=(link.app_version if link else None) or (resource.app_version if resource else None),
                free_bays=platform.index.free(known, Window(now, now + news.SHORTLY)),
                last_seen=(connection.last_heard if connection else None) or (link.last_seen if link else None),
                online=connection is not None,
            )
        )
    return sorted(found, key=lambda row: row.garage.name)


def _verified(check: Verification | None, online: bool) -> str:
    if check is None or not online:
        return "Unknown"
    return value_of(check)


def _reason(check: Verification | None, online: bool) -> str | None:
    if not online:
        return "the garage is not connected"
    if check is None:
        return "not verified yet"
    return None if check.ok else f"{check.step}: {check.reason}"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _merged(garage: Garage, wanted: Mapping[str, Any]) -> Garage:
    faults: list[tuple[str, str]] = []
    changes: dict[str, Any] = {
        field: wanted[field] for field in ("name", "city", "node", "bookable") if wanted.get(field) is not None
    }
    location = wanted.get("location")
    if location is not None:
        changes.update(latitude=location["latitude"], longitude=location["longitude"])
    time_zone = wanted.get("time_zone") or garage.time_zone
    try:
        zone(time_zone)
        changes["time_zone"] = time_zone
    except Invalid as error:
        faults.append(("time_zone", error.message))
    bays = wanted.get("bays")
    if bays is not None:
        capacity = sum(bays.values()) if isinstance(bays, Mapping) else bays
        if capacity < 0 or (isinstance(bays, Mapping) and any(count < 0 for count in bays.values())):
            faults.append(("bays", "a number of bays is not negative"))
        changes["capacity"] = capacity
    try:
        if wanted.get("gates") is not None:
            gates = [Gate(g) if isinstance(g, str) else Gate(g["name"], g["direction"]) for g in wanted["gates"]]
            changes["gates"] = check_gates([_directed(gate) for gate in gates])
        if wanted.get("tariff") is not None and not faults:
            changes["tariff"] = read_tariff(wanted["tariff"], time_zone)
    except Invalid as error:
        faults.extend(error.faults)
    if faults:
        raise Invalid("; ".join(f"{field}: {text}" for field, text in faults), faults)
    return replace(garage, **changes)


def _directed(gate: Gate) -> Gate:
    # A gate that is only a name says by it what it is for.
    return replace(gate, direction=gate.name) if gate.direction == "both" and gate.name in ("entry", "exit") else gate
