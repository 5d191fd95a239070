"""`parkube parking payouts`, `reconcile`, `export-ledger`, `retention`, `role`: the daily work, from a command line.

Long ones show how far they are on a terminal, and say nothing of it where nobody looks.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from parkube.parking.adapters import settlements
from parkube.parking.adapters.database import open_database
from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.money import amount_text
from parkube.parking.domain.rights import Role
from parkube.parking.main import wiring
from parkube.parking.services import payouts, people, privacy, reconciling
from parkube.parking.services.platform import Platform

Made = TypeVar("Made")
_PAGE = 500


def make_payouts(argv: list[str]) -> int:
    """Makes every payout that is due, or one organisation's."""
    parser = _parser("payouts", "Make the payouts that are due, with their statements.")
    parser.add_argument("--organisation", help="only this one's")
    options = parser.parse_args(argv)

    async def work(platform: Platform) -> int:
        async with platform.database.reading() as transaction:
            ids = [one.id for one in await transaction.organisations() if one.kind == "owner"]
        wanted = [options.organisation] if options.organisation else ids
        for organisation_id in _shown(wanted, "organisations"):
            for made in await payouts.pay_out(platform, organisation_id):
                amount = f"{made.currency} {amount_text(made.amount_minor)}"
                print(f"{organisation_id}: payout {made.number}, {amount}, {made.id}")
        return 0

    return _run(options, work)


def reconcile(argv: list[str]) -> int:
    """Compares a settlement file with the books; exit code 1 where something does not match."""
    parser = _parser("reconcile", "Compare a payment provider's settlement file with the books.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--provider", required=True, help="builtin, stripe or mollie")
    parser.add_argument("--since", required=True, help="the first moment that the file is of, with its offset")
    parser.add_argument("--until", required=True, help="the moment before which it ends")
    parser.add_argument("--book", metavar="ID", help="write down what this settlement brought")
    options = parser.parse_args(argv)
    since, until = _moment(options.since), _moment(options.until)
    rows = settlements.read(options.file, options.provider)

    async def work(platform: Platform) -> int:
        found = await reconciling.reconcile(platform, options.provider, rows, since, until)
        for one in found.mismatches:
            print(f"{one.kind} {one.reference}: {one.text}")
        if options.book:
            await reconciling.book_settlement(platform, options.provider, options.book, found)
        print(f"{found.matched} match, {len(found.mismatches)} do not")
        return 1 if found.mismatches else 0

    return _run(options, work)


def export_ledger(argv: list[str]) -> int:
    """Writes the ledger as CSV, a line a move."""
    parser = _parser("export-ledger", "Write the ledger as CSV, one line for each move, in order.")
    parser.add_argument("file", type=Path, help="where to; - is the standard output")
    options = parser.parse_args(argv)

    async def work(platform: Platform) -> int:
        out = sys.stdout if str(options.file) == "-" else options.file.open("w", newline="", encoding="utf-8")
        try:
            count = await _write_ledger(platform, csv.writer(out))
        finally:
            if out is not sys.stdout:
                out.close()
        print(f"{count} entries", file=sys.stderr)
        return 0

    return _run(options, work)


def retention(argv: list[str]) -> int:
    """Does what the table of personal data says."""
    options = _parser("retention", "Delete, clear or hash personal data that is over its time.").parse_args(argv)

    async def work(platform: Platform) -> int:
        for done in await privacy.obey(platform):
            print(f"{done.rule.what}: {done.rows} ({done.rule.then} after {done.rule.days} days)")
        return 0

    return _run(options, work)


def role(argv: list[str]) -> int:
    """Gives somebody a role: the first operator comes from here."""
    parser = _parser("role", "Give somebody a role in an organisation, in a garage, or everywhere (operator, support).")
    parser.add_argument("email")
    parser.add_argument("role", choices=[one.value for one in Role if one is not Role.DRIVER])
    parser.add_argument("--organisation")
    parser.add_argument("--garage")
    options = parser.parse_args(argv)

    async def work(platform: Platform) -> int:
        made = await people.give_role(platform, options.email, Role(options.role), options.organisation, options.garage)
        print(f"{options.email} is {made.role} in {made.organisation_id or made.garage_id or 'everything'}")
        return 0

    return _run(options, work)


async def _write_ledger(platform: Platform, out: "csv._writer") -> int:  # type: ignore[name-defined]  # noqa: UP037
    out.writerow(
        ["id", "at", "kind", "reference", "booking", "currency", "debit", "credit", "amount", "text", "corrects"]
    )
    count = after = 0
    with tqdm(unit=" entries", disable=None, file=sys.stderr) as bar:
        while True:
            async with platform.database.reading() as transaction:
                entries = await transaction.entries_after(after, _PAGE, None)
            if not entries:
                return count
            for entry in entries:
                for move in entry.moves:
                    amount = amount_text(move.amount_minor)
                    out.writerow(
                        [entry.id, entry.at.isoformat(), entry.kind, entry.reference, entry.booking_id or "",
                         entry.currency, move.debit, move.credit, amount, entry.text, entry.corrects or ""]
                    )  # fmt: skip
            after = entries[-1].id or 0
            count += len(entries)
            bar.update(len(entries))


def _shown(items: list[str], unit: str) -> "tqdm[str]":  # noqa: UP037
    return tqdm(items, unit=f" {unit}", disable=None, file=sys.stderr)


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"parkube parking {name}", description=description)
    wiring.add_database_option(parser)
    return parser


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is not a time like 2026-05-04T00:00:00+02:00") from error
    if moment.tzinfo is None:
        raise Invalid(f"{text!r} has no offset from UTC")
    return moment


def _run(options: argparse.Namespace, work: Callable[[Platform], Awaitable[Made]]) -> Made:
    async def whole() -> Made:
        database = open_database(options.database_url)
        try:
            return await work(await wiring.open_platform(database))
        finally:
            await database.close()

    return asyncio.run(whole())
