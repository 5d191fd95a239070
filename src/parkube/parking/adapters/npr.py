"""Reads the Dutch parking register (NPR, RDW open data, the CSV of 2019). Reads only: services.importing writes.

A file that is cut in the middle is refused as a whole. A row that cannot be is named with its line and left out;
a row that is there twice is named and taken once.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.garages import Garage
from parkube.parking.services.importing import Report

SOURCE: Final = "npr"
_COLUMNS: Final = {
    "id", "name", "uuid", "latitude", "longitude", "city", "country_code", "usage", "capacity", "minimumHeightInMeters",
}  # fmt: skip
NETHERLANDS: Final = (50.6, 53.7, 3.2, 7.3)  # south, north, west, east, with the islands and the border towns
_MOST_BYTES: Final = 200_000_000


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
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is not UTF-8 at byte {error.start}: it is cut or it is another file") from error
    if not text.endswith("\n"):
        raise Invalid(f"{name} ends in the middle of a line: it has been cut, nothing was imported")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    missing = _COLUMNS - set(reader.fieldnames or ())
    if missing:
        raise Invalid(f"{name} is not the parking register: it has no column {', '.join(sorted(missing))}")
    garages: dict[str, Garage] = {}
    places: dict[tuple[object, ...], tuple[str, str]] = {}
    try:
        for row in reader:
            line = reader.line_num
            if None in row or None in row.values():
                raise Invalid(f"{name}, line {line}: the number of columns is wrong, nothing was imported")
            report.read += 1
            _take(row, line, garages, places, report)
    except csv.Error as error:
        raise Invalid(f"{name}, line {reader.line_num}: {error}: it has been cut, nothing was imported") from error
    return list(garages.values())


def _take(
    row: Mapping[str, str],
    line: int,
    garages: dict[str, Garage],
    places: dict[tuple[object, ...], tuple[str, str]],
    report: Report,
) -> None:
    name, where = row["name"].strip(), f"line {line} (id {row['id']}, {row['name'].strip()!r})"
    garage_id = "nl-" + re.sub(r"[^0-9a-z]", "", row["uuid"].lower())[:8]
    faults: list[str] = []
    if not name:
        faults.append("it has no name")
    if garage_id == "nl-":
        faults.append("it has no uuid")
    position = _position(row, faults)
    capacity = _number(row["capacity"], "capacity", faults)
    height = _number(row["minimumHeightInMeters"], "height", faults)
    if faults:
        report.refused.append(f"{where}: {', '.join(faults)}")
        return
    if garage_id in garages:
        report.duplicates.append(f"{where}: the uuid {row['uuid']} is there before, as {garages[garage_id].name!r}")
        return
    place = (name, position, row["usage"])
    if position is not None and place in places:
        other_id, other_where = places[place]
        report.duplicates.append(f"{where}: the same name, place and usage as {other_id} at {other_where}")
        return
    places[place] = (garage_id, where)
    garages[garage_id] = Garage(
        id=garage_id,
        name=name,
        city=row["city"].strip(),
        latitude=position[0] if position else None,
        longitude=position[1] if position else None,
        country=row["country_code"].strip().upper()[:2],
        usage=row["usage"].strip(),
        capacity=int(capacity) if capacity else None,
        height_m=height or None,
        source=SOURCE,
        source_ref=row["uuid"],
    )


def _position(row: Mapping[str, str], faults: list[str]) -> tuple[float, float] | None:
    latitude, longitude = row["latitude"].strip(), row["longitude"].strip()
    if not latitude and not longitude:
        return None
    try:
        position = float(latitude), float(longitude)
    except ValueError:
        faults.append(f"its coordinates {latitude!r}, {longitude!r} are not numbers")
        return None
    south, north, west, east = NETHERLANDS
    if not (-90 <= position[0] <= 90 and -180 <= position[1] <= 180):
        faults.append(f"its coordinates {latitude}, {longitude} are not degrees")
        return None
    if not (south <= position[0] <= north and west <= position[1] <= east):
        faults.append(f"its coordinates {latitude}, {longitude} are not in the Netherlands")
        return None
    return position


def _number(text: str, what: str, faults: list[str]) -> float | None:
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e6:
        faults.append(f"its {what} {text!r} is not one")
        return None
    return number
