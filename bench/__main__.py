"""`python -m bench [--quick] [--only ROW]…`: measures, prints each figure, writes docs/benchmarks.md.

The rows `year` (800,000 stays, with --quick the first days of them) and `fleet` (6,000 nodes, 3,000 with --quick) are
measured only when they are named.

Exit status 1 when a row could not be measured or a figure misses its target; the page is written all the same.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence

from scripts.demo.errors import DemoError

from bench import report
from bench.figures import Figure, shown
from bench.measure import BenchError
from bench.rows import api, bookings, gate, hollow, node, registry, search, start, tariffs, year

ROWS: dict[str, Callable[[bool], list[Figure]]] = {
    "start": start.measure,
    "node": node.measure,
    "hollow": hollow.measure,
    "gate": gate.measure,
    "search": search.measure,
    "registry": registry.measure,
    "api": api.measure,
    "tariffs": tariffs.measure,
    "bookings": bookings.measure,
    "year": year.measure,
    "fleet": hollow.measure_fleet,
}
ONLY_WHEN_ASKED = {"year", "fleet"}  # they take long, and the fleet more memory than small machines have
ROOT_ONLY = {"node"}


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(ROWS), help="this row; may be repeated")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter; for trying the bench itself")
    parser.add_argument("--no-page", action="store_true", help="print the figures only")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    measured: dict[str, list[Figure]] = {}
    failed = False
    for name in options.only or [row for row in ROWS if row not in ONLY_WHEN_ASKED]:
        if name in ROOT_ONLY and os.geteuid() != 0:
            print(f"bench: {name}: needs root, left out", flush=True)
            continue
        print(f"bench: {name}", flush=True)
        try:
            measured[name] = ROWS[name](options.quick)
        except (BenchError, DemoError, OSError) as error:
            failed = True
            print(f"bench: {name} could not be measured: {error}", file=sys.stderr, flush=True)
            continue
        for figure in measured[name]:
            print(f"  {_said(figure)}", flush=True)
    if not options.no_page:
        report.PAGE.write_text(report.page(report.keep(measured, quick=options.quick), list(ROWS)))
        print(f"bench: {report.PAGE.relative_to(report.ROOT)} is written", flush=True)
    missed = [figure.what for figures in measured.values() for figure in figures if figure.holds is False]
    if missed:
        print(f"bench: over target: {'; '.join(missed)}", file=sys.stderr, flush=True)
    return 1 if failed or missed else 0


def _said(figure: Figure) -> str:
    verdict = {None: "", True: "holds, ", False: "MISSES, "}[figure.holds]
    target = f" ({verdict}target under {shown(figure.target, figure.unit)})" if figure.target is not None else ""
    return f"{figure.what}: {shown(figure.value, figure.unit)}{target}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
