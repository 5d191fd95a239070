"""`parkube parking …`: puts the platform together and runs it. The only place that knows every part."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from parkube.parking.domain.errors import ParkingError, Unavailable

_USAGE = """parkube parking: the parking half

  parkube parking platform      the platform: API, pages, garage links   (--database-url --listen --web-dir)
  parkube parking import-npr    take in the Dutch parking register       FILE
  parkube parking import-rdw    take in the register of 2025             FILE
  parkube parking import-swiss-rail  the Swiss railway's, with tariffs   FILE
  parkube parking city          take in a small generated city
  parkube parking check-ledger  whether the books balance
  parkube parking payouts       make the payouts that are due            (--organisation)
  parkube parking reconcile     a settlement file against the books      FILE --provider --since --until
  parkube parking export-ledger  the ledger as CSV                       FILE
  parkube parking retention     personal data that is over its time
  parkube parking role          give somebody a role                     EMAIL ROLE
  parkube parking gate          a garage's app                           --config FILE
  parkube parking relay-board   a simulated relay board and scanner
  parkube parking operator      the operator of Garage resources

Each has --help."""


# Nothing is logged where nobody asked for a log: a refusal is one line.
logging.getLogger("parkube").addHandler(logging.NullHandler())


def main(argv: list[str]) -> int:
    """Runs a subcommand. Returns the exit code: 0 done, 1 refused with one line on stderr, 2 not understood."""
    name, rest = (argv[0], argv[1:]) if argv else ("", [])
    run = _command(name)
    if run is None:
        if name in ("", "-h", "--help", "help"):
            print(_USAGE)
            return 0 if name else 2
        print(f"parkube: there is no `parking {name}`, see `parkube parking --help`", file=sys.stderr)
        return 2
    try:
        return run(rest) or 0
    except ParkingError as error:
        print(f"parkube: {_said(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _said(error: ParkingError) -> str:
    # On the command line the driver's own words are for the one who can mend it; over HTTP they would be a leak.
    cause = str(error.__cause__ or "").strip().splitlines()
    return f"{error.message}: {cause[0]}" if isinstance(error, Unavailable) and cause else error.message


def _command(name: str) -> Callable[[list[str]], int | None] | None:
    # Each subcommand is imported only when it runs: the garage's app has no database and no web framework.
    if name == "platform":
        from parkube.parking.main.serve import serve

        return serve
    if name == "import-npr":
        from parkube.parking.main.imports import import_npr

        return import_npr
    if name == "import-swiss-rail":
        from parkube.parking.main.imports import import_swiss_rail

        return import_swiss_rail
    if name == "import-rdw":
        from parkube.parking.main.imports import import_rdw

        return import_rdw
    if name in ("payouts", "reconcile", "export-ledger", "retention", "role"):
        from parkube.parking.main import daily

        return {
            "payouts": daily.make_payouts,
            "reconcile": daily.reconcile,
            "export-ledger": daily.export_ledger,
            "retention": daily.retention,
            "role": daily.role,
        }[name]
    if name == "city":
        from parkube.parking.main.imports import import_city

        return import_city
    if name == "check-ledger":
        from parkube.parking.main.books import check_ledger

        return check_ledger
    if name == "gate":
        from parkube.parking.gate.main import main as gate

        return gate
    if name == "relay-board":
        from parkube.parking.gate.relay_board import main as relay_board

        return relay_board
    if name == "operator":
        from parkube.parking.operator.main import main as operator

        return operator
    return None
