"""Writes docs/benchmarks.md from what was measured, and keeps the rows that were not measured this time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Figure, shown
from bench.machine import commit, described

ROOT = Path(__file__).resolve().parents[1]
PAGE, KEPT = ROOT / "docs/benchmarks.md", ROOT / "build/bench.json"
HEAD = """# Benchmarks

Written by `make bench`; do not edit. Every figure is measured on one machine, described below; smaller is better.
K3s v1.21 on SQLite and Kubernetes v1.36 on etcd were measured on two such cores, their hollow nodes with one pod
watch each. Ours are the real agent: every watch, lease and connection, each node under its own certificate, the
node authorizer on. The ratio is ours to the better of the peers.

"""


def keep(rows: Mapping[str, Sequence[Figure]], *, quick: bool, at: datetime | None = None) -> dict[str, Any]:
    """All figures known: these, and the latest of the rows not measured now."""
    try:
        kept: dict[str, Any] = json.loads(KEPT.read_text())
    except (OSError, ValueError):
        kept = {}
    when = (at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    for name, figures in rows.items():
        kept[name] = {
            "at": when,
            "commit": commit(),
            "quick": quick,
            "figures": [figure.as_json() for figure in figures],
        }
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(kept, indent=1))
    return kept


def page(kept: Mapping[str, Any], order: Sequence[str]) -> str:
    """The whole page."""
    judged: list[str] = []
    told: list[str] = []
    notes: list[str] = []
    for name in [row for row in order if row in kept]:
        row = kept[name]
        for raw in row["figures"]:
            figure = Figure(**raw)
            (told if figure.target is None else judged).append(_line(figure))
            if figure.note:
                notes.append(f"* {figure.what}: {figure.note}")
    head = "| what | K3s v1.21 | Kubernetes v1.36 + etcd | target | here | ratio | holds |\n" + "| --- " * 7 + "|\n"
    parts = [HEAD, head, *judged, "\nMeasured beside these, without a target:\n\n", "| what | here |\n| --- | --- |\n"]
    parts += [*told, "\n", *(f"{note}\n" for note in notes), "\n## Machine and versions\n\n"]
    parts += [f"* {what}: {value}\n" for what, value in described().items()]
    return "".join([*parts, f"* measured: {', '.join(_when(name, kept[name]) for name in kept)}\n"])


def _when(name: str, row: Mapping[str, Any]) -> str:
    """When a row was measured, and of which state."""
    return f"{name} {row['at']} at {row.get('commit') or 'an earlier state'}{' (quick)' if row['quick'] else ''}"


def _line(figure: Figure) -> str:
    here = shown(figure.value, figure.unit)
    if figure.target is None:
        return f"| {figure.what} | {here} |\n"
    peers = [value for value in (figure.k3s, figure.kubernetes) if value]
    ratio = f"{figure.value / min(peers):.2f}" if peers else ""
    cells = [
        figure.what, shown(figure.k3s, figure.unit), shown(figure.kubernetes, figure.unit),
        f"under {shown(figure.target, figure.unit)}", f"**{here}**", ratio, "yes" if figure.holds else "**no**",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |\n"
