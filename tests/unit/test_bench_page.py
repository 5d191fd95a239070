"""The page of figures: what it says of one that holds, of one that misses, and of rows not measured this time."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import measure, report
from bench.figures import Figure

HOLDS = Figure("idle server, PSS", 34.7, "MiB", 120, k3s=326, kubernetes=763, note="after a minute")
MISSES = Figure("search, p99", 29.5, "ms", 20)
TOLD = Figure("their own CPU", 6.68, "%")


def test_a_page_keeps_the_rows_that_were_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "KEPT", tmp_path / "bench.json")
    report.keep({"node": [HOLDS], "search": [MISSES]}, quick=False)
    page = report.page(report.keep({"search": [MISSES, TOLD]}, quick=True), ["node", "search"])
    assert "| idle server, PSS | 326 MiB | 763 MiB | under 120 MiB | **34.7 MiB** | 0.11 | yes |" in page
    assert "| search, p99 |  |  | under 20.0 ms | **29.5 ms** |  | **no** |" in page
    assert "| their own CPU | 6.68 % |" in page
    assert "* idle server, PSS: after a minute" in page
    assert "(quick)" in page


def test_the_quietest_round_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    noises, rounds = iter([80.0, 30.0, 50.0]), iter([[1.0], [2.0], [3.0]])

    class Played(measure.Noise):
        def __exit__(self, *_: object) -> None:
            self.percent = next(noises)

    monkeypatch.setattr(measure, "Noise", Played)
    monkeypatch.setattr(measure, "wait_for_quiet", lambda *own: None)
    values, how = measure.quietest(lambda: next(rounds), [], 3)
    assert values == [2.0]
    assert how == "the quietest of 3 rounds: all else on the machine used 30 % of a core"


def test_percentiles() -> None:
    values = [float(number) for number in range(1000)]
    assert measure.percentile(values, 0.99) == 990.0
    assert measure.percentile([7.0], 0.99) == 7.0
    with pytest.raises(measure.BenchError):
        measure.percentile([], 0.5)
