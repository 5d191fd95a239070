"""Reads the Dutch parking register as of 2025 (JSON): a facility a record, some of them twice under the same id.

A garage that the register of 2019 had too is the same garage: both know it by the register's uuid. A record that cannot
be meant so is refused by name; of two with one id the first counts, the others are named as duplicates.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from parkube.parking.adapters.npr import NETHERLANDS
from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.garages import Garage
from parkube.parking.services.importing import Report

SOURCE: Final = "rdw"
_MOST_BYTES: Final = 100_000_000
_USAGE: Final = {"garage": "garage", "p_and_r": "park and ride", "surface": "terrain", "street_paid": "street"}


def read(path: Path, report: Report) -> list[Garage]:
    """The garages of the file; what was refused is in the report. Raises Invalid where the file is not whole."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise Invalid(f"{path} is too big for a parking register")
        data = path.read_bytes()
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from error
    return parse(data, report, str(path))


def parse(data: bytes, report: Report, name: str = "the file") -> list[Garage]:
    """The same, of bytes."""
    try:
        records = json.loads(data)["features"]
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid(
            f"{name} is not the parking register of 2025, or it has been cut: nothing was imported"
        ) from error
    if not isinstance(records, list) or not all(isinstance(record, Mapping) for record in records):
        raise Invalid(f"{name} is not the parking register of 2025: its features are no list of records")
    garages: dict[str, Garage] = {}
    by_ref: dict[str, str] = {}
    for number, record in enumerate(records, 1):
        report.read += 1
        where = f"record {number} (id {record.get('id')!r}, {str(record.get('name') or '')[:80]!r})"
        faults: list[str] = []
        garage = _garage(record, faults)
        if garage is None or faults:
            report.refused.append(f"{where}: {', '.join(faults)}")
        elif garage.source_ref in by_ref:
            report.duplicates.append(f"{where}: the id is there before, as {by_ref[garage.source_ref]!r}")
        elif garage.id in garages:
            report.duplicates.append(f"{where}: the uuid is there before, as {garages[garage.id].name!r}")
        else:
            garages[garage.id] = garage
            by_ref[garage.source_ref] = garage.name
    return list(garages.values())


def _garage(record: Mapping[str, Any], faults: list[str]) -> Garage | None:
    ref, name = record.get("rdw_id"), record.get("name")
    if not isinstance(ref, str) or not ref.strip():
        faults.append("it has no id")
    if not isinstance(name, str) or not name.strip():
        faults.append("it has no name")
    position = _position(record, faults)
    bays = record.get("capacity")
    capacity = _number(bays.get("total") if isinstance(bays, Mapping) else None, "capacity", faults)
    height_cm = _number(record.get("max_height"), "height", faults)
    if faults:
        return None
    uuid = re.sub(r"[^0-9a-z]", "", str(record.get("uuid") or "").lower())
    known_by = uuid[:8] if len(uuid) >= 8 else hashlib.sha256(str(ref).encode()).hexdigest()[:8]
    place = str(record.get("municipality") or "")
    return Garage(
        id=f"nl-{known_by}",
        name=str(name).strip(),
        # Where nobody knew the place, the register repeats the operator's name.
        city="" if place == record.get("address") else place.strip(),
        latitude=position[0] if position else None,
        longitude=position[1] if position else None,
        country="NL",
        usage=_USAGE.get(str(record.get("type")), str(record.get("type") or "garage")),
        capacity=int(capacity) if capacity else None,
        height_m=height_cm / 100 if height_cm else None,
        source=SOURCE,
        source_ref=str(ref),
    )


def _position(record: Mapping[str, Any], faults: list[str]) -> tuple[float, float] | None:
    latitude, longitude = record.get("latitude"), record.get("longitude")
    if latitude is None and longitude is None:
        return None
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        faults.append(f"its coordinates {latitude!r}, {longitude!r} are not numbers")
        return None
    south, north, west, east = NETHERLANDS
    if not (south <= latitude <= north and west <= longitude <= east):
        faults.append(f"its coordinates {latitude}, {longitude} are not in the Netherlands")
        return None
    return float(latitude), float(longitude)


def _number(value: Any, what: str, faults: list[str]) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        faults.append(f"its {what} {value!r} is not one")
        return None
    return float(value)
