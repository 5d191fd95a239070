"""`parkube parking check-ledger`: whether the books of a platform balance, also of one that is running."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tqdm import tqdm

from parkube.parking.adapters.database import open_database
from parkube.parking.main import wiring
from parkube.parking.services.audit import Audit, audit


def check_ledger(argv: list[str]) -> int:
    """Prints one line, or each fault; exit code 1 where there is one."""
    parser = argparse.ArgumentParser(prog="parkube parking check-ledger", description="Check that the books balance.")
    wiring.add_database_option(parser)
    found = asyncio.run(_look(parser.parse_args(argv).database_url))
    for fault in found.faults:
        print(f"parkube: {fault}", file=sys.stderr)
    if found.faults:
        return 1
    print(f"balanced: {found.entries} ledger entries, {found.bookings} charged bookings, {found.receipts} receipts")
    return 0


async def _look(url: str) -> Audit:
    database = open_database(url)
    try:
        with tqdm(unit=" rows", disable=None, file=sys.stderr) as bar:
            return await audit(database, bar.update)
    finally:
        await database.close()
