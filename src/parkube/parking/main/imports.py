"""`parkube parking import-npr`, `import-swiss-rail` and `city`: garages into the platform's database, with a report."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from parkube.parking.adapters import city, npr, rdw, swiss_rail
from parkube.parking.adapters.database import open_database
from parkube.parking.domain.garages import Garage, Gate
from parkube.parking.main import wiring
from parkube.parking.services.importing import Report, take_in

_SHOWN = 20


def import_npr(argv: list[str]) -> int:
    """Takes in the Dutch parking register."""
    parser = _parser("import-npr", "Import the Dutch parking register (CSV of 2019).")
    _add_file(parser, "nl_npr_facilities_2019.csv")
    options = parser.parse_args(argv)
    report = Report()
    return _write(options, npr.read(options.file, report), report, npr.SOURCE)


def import_swiss_rail(argv: list[str]) -> int:
    """Takes in the Swiss railway's car parks with their tariffs."""
    parser = _parser("import-swiss-rail", "Import the Swiss railway's car parks with their tariffs (GeoJSON).")
    _add_file(parser, "ch_opendata_swiss_parkrail.geojson")
    options = parser.parse_args(argv)
    report = Report()
    return _write(options, swiss_rail.read(options.file, report), report, swiss_rail.SOURCE)


def import_rdw(argv: list[str]) -> int:
    """Takes in the Dutch parking register of 2025."""
    parser = _parser("import-rdw", "Import the Dutch parking register (JSON of 2025, which repeats ids).")
    _add_file(parser, "nl_rdw_parking_2025.json")
    options = parser.parse_args(argv)
    report = Report()
    return _write(options, rdw.read(options.file, report), report, rdw.SOURCE)


def import_city(argv: list[str]) -> int:
    """Takes in the generated city."""
    parser = _parser("city", f"Import {city.NAME}, a small generated city, the same each time.")
    parser.add_argument("--garages", type=int, default=60, help="how many (default 60)")
    options = parser.parse_args(argv)
    options.force = True
    garages = city.generate(max(1, min(10_000, options.garages)))
    return _write(options, garages, Report(read=len(garages)), city.SOURCE)


def _add_file(parser: argparse.ArgumentParser, example: str) -> None:
    parser.add_argument("file", type=Path, help=example)
    parser.add_argument("--force", action="store_true", help="also where the file is much shorter than the last time")


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"parkube parking {name}", description=description)
    wiring.add_database_option(parser)
    parser.add_argument("--bookable", action="store_true", help="let them be booked though no gate is run (for trials)")
    parser.add_argument("--verbose", action="store_true", help="name every change and duplicate")
    return parser


def _write(options: argparse.Namespace, garages: list[Garage], report: Report, source: str) -> int:
    if options.bookable:
        gates = (Gate("entry", "entry"), Gate("exit", "exit"))
        garages = [replace(one, managed=True, gates=gates) if one.capacity else one for one in garages]
    asyncio.run(_take_in(options, garages, report, source))
    print(
        f"{report.read} rows read: {report.added} garages added, {report.changed} changed, "
        f"{report.unchanged} unchanged, {len(report.refused)} refused, {len(report.duplicates)} duplicates"
    )
    for refused in report.refused:
        print(f"refused: {refused}")
    changes = report.changes if options.verbose else report.changes[:_SHOWN]
    for change in changes:
        print(f"changed: {change}")
    if len(changes) < len(report.changes):
        print(f"and {len(report.changes) - len(changes)} more changes (--verbose names them)")
    shown = report.duplicates if options.verbose else report.duplicates[:_SHOWN]
    for duplicate in shown:
        print(f"duplicate: {duplicate}")
    if len(shown) < len(report.duplicates):
        print(f"and {len(report.duplicates) - len(shown)} more duplicates (--verbose names them)")
    return 0


async def _take_in(options: argparse.Namespace, garages: list[Garage], report: Report, source: str) -> None:
    database = open_database(options.database_url)
    try:
        platform = await wiring.open_platform(database)
        with tqdm(total=len(garages), unit=" garages", disable=None, file=sys.stderr) as bar:
            await take_in(platform, garages, report, source=source, force=options.force, done=bar.update)
    finally:
        await database.close()
