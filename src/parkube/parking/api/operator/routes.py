"""The fleet operator's routes. Every one of them needs the right to run the fleet."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from parkube.parking.api import events
from parkube.parking.api.access import Needs
from parkube.parking.api.answers import answer, platform_of
from parkube.parking.api.operator.shapes import Fleet, FleetGarage, GaragePut, GarageToken, Verification, Verified
from parkube.parking.domain.rights import Right
from parkube.parking.domain.tariffs import write_tariff
from parkube.parking.domain.times import rfc3339
from parkube.parking.services import fleet, verification
from parkube.parking.services.live import FLEET, NODE, News
from parkube.parking.services.platform import Platform

router = APIRouter(dependencies=[Depends(Needs(Right.RUN_FLEET))])


@router.put("/garages/{garage_id}")
async def put_garage(request: Request, garage_id: str, wanted: GaragePut) -> Response:
    """Keeps a garage as its resource has it. Absent fields stay."""
    garage = await fleet.put_garage(platform_of(request), garage_id, wanted.model_dump(exclude_none=True))
    return answer(
        {
            "id": garage.id,
            "name": garage.name,
            "city": garage.city,
            "location": None
            if garage.latitude is None
            else {"latitude": garage.latitude, "longitude": garage.longitude},
            "time_zone": garage.time_zone,
            "bays": garage.capacity,
            "gates": [{"name": gate.name, "direction": gate.direction} for gate in garage.gates],
            "tariff": write_tariff(garage.tariff),
            "node": garage.node,
            "bookable": garage.can_be_booked,
        }
    )


@router.post("/garages/{garage_id}/token", response_model=GarageToken, status_code=201)
async def new_token(request: Request, garage_id: str) -> Response:
    """A new secret for the garage's link; the one before stays good until the next."""
    token = await fleet.new_token(platform_of(request), garage_id)
    return answer({"garage_id": garage_id, "token": token}, 201)


@router.post("/garages/{garage_id}/verify", response_model=Verification)
async def verify(request: Request, garage_id: str) -> Response:
    """Runs a synthetic gate cycle and says how it went; never counted as a visit."""
    done = await verification.verify(platform_of(request), garage_id)
    return answer(
        {
            "ok": done.ok,
            "step": done.step,
            "reason": done.reason,
            "duration_ms": done.duration_ms,
            "at": rfc3339(done.at),
        }
    )


@router.get("/fleet", response_model=Fleet)
async def show(request: Request) -> Response:
    """The fleet: garages and nodes."""
    return answer(await _fleet(platform_of(request)))


@router.get("/events", response_class=Response, responses=events.DESCRIBED)
async def news(request: Request) -> Response:
    """Server-sent events: `fleet` first, then a `garage` or a `node` as in the fleet whenever one changes."""
    platform = platform_of(request)
    subscription = platform.live.subscribe(FLEET, NODE)

    async def tell(one: News) -> tuple[str, Any] | None:
        if one.topic == FLEET:
            rows = [_garage(row) for row in await fleet.rows(platform) if row.garage.id == one.subject]
            return ("garage", rows[0]) if rows else None
        nodes = [_node(platform, node) for node in platform.cluster.nodes() if node.name == one.subject]
        return ("node", nodes[0]) if nodes else ("node_gone", {"name": one.subject})

    return events.stream(platform.live, subscription, [events.event("fleet", await _fleet(platform))], tell)


async def _fleet(platform: Platform) -> dict[str, Any]:
    return {
        "garages": [_garage(row) for row in await fleet.rows(platform)],
        "nodes": [_node(platform, node) for node in platform.cluster.nodes()],
    }


def _garage(row: fleet.FleetRow) -> dict[str, Any]:
    shown = FleetGarage(
        id=row.garage.id,
        name=row.garage.name,
        city=row.garage.city,
        latitude=row.garage.latitude,
        longitude=row.garage.longitude,
        node=row.node,
        phase=row.phase,
        verified=_verified(row.verified),
        reason=row.reason,
        verified_at=row.verified_at,
        duration_ms=row.duration_ms,
        app_version=row.app_version,
        free_bays=row.free_bays,
        last_seen=row.last_seen,
        online=row.online,
    )
    return shown.model_dump(mode="json")


def _node(platform: Platform, node: Any) -> dict[str, Any]:
    age = platform.clock() - node.created_at if node.created_at else None
    return {
        "name": node.name,
        "roles": list(node.roles),
        "ready": node.ready,
        "version": node.version,
        "age_s": int(age.total_seconds()) if age else 0,
        "addresses": list(node.addresses),
    }


def _verified(status: str) -> Verified:
    return "True" if status == "True" else "False" if status == "False" else "Unknown"
