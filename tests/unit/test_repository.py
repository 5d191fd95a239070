"""What the repository says of itself is so: links, commands, locks, decision records, the check on lengths."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from scripts.check_length import faults

from parkube.parking import main as parking

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("deploy/*.md"), *ROOT.glob("docs/**/*.md")]


def test_links_lead_somewhere_and_named_targets_are_there() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = page.read_text()
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (page.parent / link).exists(), f"{page}: {link}"
        for target in re.findall(r"`make (\w+)`", text):
            assert target in targets, f"{page}: make {target}"


def test_every_command_of_the_parking_half_is_there_and_described() -> None:
    named = re.findall(r"^  parkube parking ([\w-]+)", parking._USAGE, re.MULTILINE)
    described = (ROOT / "docs/reference/platform.md").read_text()
    assert len(named) >= 8
    for name in named:
        assert parking._command(name) is not None
        assert f"| `parkube parking {name}" in described, name


def test_decisions_have_a_number_each_and_are_short() -> None:
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert len({int(record.name[:4]) for record in records}) == len(records)
    for record in records:
        lines = record.read_text().splitlines()
        assert lines[0].startswith("# "), record
        assert len(lines) <= 40, record


def test_the_locks_hold_every_dependency_with_its_hash() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, wanted in {**extras, "platform": extras["platform"] + extras["operator"]}.items():
        if name == "operator":
            continue
        lock = (ROOT / f"requirements/{name}.txt").read_text()
        pinned = dict(re.findall(r"^([\w.-]+)==\S+[^\n]*\n +--hash=(\w+)", lock, re.MULTILINE))
        for each in wanted:
            package = re.split(r"[\[<>=]", each)[0].lower()
            assert package == "parkube" or pinned.get(package) == "sha256", (
                f"{package} is not in requirements/{name}.txt"
            )


def test_scripts_can_be_run_and_ci_runs_make_test() -> None:
    for script in (".ci/run", "scripts/setup", "scripts/up", "scripts/down", "scripts/lock"):
        assert os.access(ROOT / script, os.X_OK), script
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("exec make test")


def test_what_is_too_long_is_refused(tmp_path: Path) -> None:
    short, long = tmp_path / "short.py", tmp_path / "utils.py"
    short.write_text('"""Says something."""\n' + "x = 1\n" * 499)
    long.write_text("def f():\n" + "    x = 1\n" * 70 + "y = 1\n" * 430)
    assert list(faults(short)) == []
    said = " ".join(faults(long))
    for words in ("501 lines", "a name that says nothing", "f has 71 lines"):
        assert words in said
