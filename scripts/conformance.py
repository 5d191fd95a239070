"""Writes docs/conformance.md from docs/conformance.tsv: what of Kubernetes' list holds here, and what shows it.

    .venv/bin/python -m scripts.conformance                   the page anew
    .venv/bin/python -m scripts.conformance REPORT REPORT…    first takes results from JUnit reports of the public suite

A name counts as passing only if every report that ran it, at least two, says so. A report never touches the column
that names our own test. The table is data: a line for each name, with `passes` or the reason why not, and our test.
"""

from __future__ import annotations

import csv
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE, PAGE = ROOT / "docs/conformance.tsv", ROOT / "docs/conformance.md"
PASSES = "passes"
RUNS = 2  # a test that passed once may have been lucky
HEAD = """# Conformance

Written by `scripts/conformance.py` from `conformance.tsv`; do not edit. The names are the conformance tests of
Kubernetes v1.36. *passes* means that the public suite passed it, by each of its last two runs against a server with
two nodes; everything else says why not yet. The last column is the test of ours that shows the behaviour.

"""


@dataclass(frozen=True, slots=True)
class Row:
    """A conformance test. `state` is `passes`, or why it does not; `shown_by` is a pytest path, or empty."""

    name: str
    state: str
    shown_by: str = ""

    @property
    def area(self) -> str:
        """The group that owns it: `sig-node`."""
        return self.name.partition("]")[0].removeprefix("[")


def read(path: Path = TABLE) -> list[Row]:
    """The rows in the file's order."""
    with path.open(newline="") as file:
        return [Row(*line) for line in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def write(rows: Sequence[Row], path: Path = TABLE) -> None:
    """The file that `read` reads."""
    path.write_text("".join(f"{row.name}\t{row.state}\t{row.shown_by}\n" for row in rows))


def results(report: str) -> dict[str, str]:
    """What a JUnit report says of each test that ran: `passes`, or the first line of the failure."""
    found = {}
    for case in ET.fromstring(report).iter("testcase"):
        name = case.get("name", "").removeprefix("[It] ")
        name = name[: name.find("[Conformance]") + len("[Conformance]")] if "[Conformance]" in name else name
        failure = next((e for tag in ("failure", "error") for e in case.iter(tag)), None)
        if failure is not None:
            found[name] = (failure.get("message") or failure.text or "failed").strip().splitlines()[0]
        elif case.find("skipped") is None and case.get("status", "passed") == "passed":
            found[name] = PASSES
    return found


def judged(rows: Iterable[Row], reports: Sequence[Mapping[str, str]]) -> list[Row]:
    """The rows after these runs; a row that no report ran stays as it is."""
    after = []
    for row in rows:
        said = [report[row.name] for report in reports if row.name in report]
        failures = [words for words in said if words != PASSES]
        if failures:
            row = replace(row, state=_short(failures[-1]))
        elif len(said) >= RUNS:
            row = replace(row, state=PASSES)
        elif said and row.state != PASSES:
            row = replace(row, state="passed once, to be run again")
        after.append(row)
    return after


def _short(words: str, limit: int = 160) -> str:
    plain = " ".join(words.split()).replace("|", "/")
    return "fails: " + (plain if len(plain) <= limit else plain[: limit - 1] + "…")


def page(rows: Sequence[Row]) -> str:
    """The Markdown."""
    total, passing = Counter(r.area for r in rows), Counter(r.area for r in rows if r.state == PASSES)
    lines = [HEAD, f"**{passing.total()} of {total.total()} pass.**\n\n| area | pass | of |\n| --- | --- | --- |\n"]
    lines += [f"| {area} | {passing[area]} | {total[area]} |\n" for area in sorted(total)]
    lines.append("\n| test | state | shown by |\n| --- | --- | --- |\n")
    lines += [f"| {r.name} | {r.state} | {f'`{r.shown_by}`' if r.shown_by else ''} |\n" for r in rows]
    return "".join(lines)


def main(reports: Sequence[str]) -> None:
    """Take the reports, write the table and the page."""
    rows = read()
    if reports:
        rows = judged(rows, [results(Path(report).read_text()) for report in reports])
        write(rows)
    PAGE.write_text(page(rows))
    print(f"{sum(r.state == PASSES for r in rows)} of {len(rows)} pass")


if __name__ == "__main__":
    main(sys.argv[1:])
