"""The table of conformance tests: what a report does to it, and that it claims nothing that no test of ours shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.conformance import PAGE, PASSES, ROOT, Row, judged, page, read, results

NAMES = ROOT.parent / "shared" / "conformance_v1.36.txt"
REPORT = """<testsuites><testsuite>
<testcase name="[It] [sig-node] Pods should run [Conformance] [sig-node, Conformance]" status="passed"></testcase>
<testcase name="[It] [sig-node] Pods should stop [Conformance]" status="failed"><failure message="slow"/></testcase>
<testcase name="[It] [sig-node] Pods should rest [Conformance]" status="skipped"><skipped/></testcase>
</testsuite></testsuites>"""
RUN, STOP = "[sig-node] Pods should run [Conformance]", "[sig-node] Pods should stop [Conformance]"


def test_a_report_is_read_by_name() -> None:
    assert results(REPORT) == {RUN: PASSES, STOP: "slow"}


def test_a_name_passes_by_two_runs_and_falls_by_one() -> None:
    rows = [Row(RUN, "not run yet"), Row(STOP, PASSES, "tests/a.py::test_b")]
    once = judged(rows, [{RUN: PASSES}])
    assert [row.state for row in once] == ["passed once, to be run again", PASSES]
    twice = judged(rows, [{RUN: PASSES, STOP: PASSES}, {RUN: PASSES, STOP: "timed out"}])
    assert twice == [Row(RUN, PASSES), Row(STOP, "fails: timed out", "tests/a.py::test_b")]


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text() == page(read())


def test_every_name_of_the_list_has_its_row() -> None:
    names = [row.name for row in read()]
    assert len(names) == len(set(names)) == 446
    if not NAMES.exists():
        pytest.skip("the list of names is not beside this checkout")
    assert sorted(names) == sorted(NAMES.read_text().splitlines())


def test_what_passes_is_shown_by_a_test_of_ours() -> None:
    for row in read():
        assert row.state
        assert row.shown_by or row.state != PASSES, f"{row.name} is shown by no test of ours"
        if row.shown_by:
            file, _, name = row.shown_by.partition("::")
            assert name, row
            assert f"def {name.rpartition('::')[2]}(" in Path(ROOT, file).read_text(), row
