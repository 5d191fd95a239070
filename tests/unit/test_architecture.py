"""ARCHITECTURE.md draws what import-linter checks, and every module says what it is for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_drawn_layers_are_the_checked_layers() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    checked = {c["containers"][0]: " > ".join(c["layers"]) for c in config["contracts"] if c["type"] == "layers"}
    text = (ROOT / "ARCHITECTURE.md").read_text()
    drawn = dict(re.findall(r"^    (parkube[\w.]*): +(.+)$", text, re.MULTILINE))
    assert drawn == checked
    assert all(c.get("exhaustive") for c in config["contracts"] if c["type"] == "layers")


def test_every_room_of_the_tree_is_in_the_table() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for half in ("controlplane", "nodeagent", "parking"):
        for room in (ROOT / "src/parkube" / half).iterdir():
            if room.is_dir() and not room.name.startswith(("_", ".")) and room.name != "main":
                assert f"`{half}/{room.name}`" in text or f"`{room.name}`" in text, (
                    f"{half}/{room.name} is not described"
                )


def test_nothing_waits_in_a_way_that_forgets_a_cancellation() -> None:
    """asyncio.wait_for of Python 3.11 swallows one that comes with the result; asyncio.timeout does not (gh-86296)."""
    assert [str(path) for path in (ROOT / "src").rglob("*.py") if "wait_for(" in path.read_text()] == []
