"""The commands of imports and daily work, run as they are typed; imports again and again without a duplicate."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from parkube.parking.adapters import rdw
from parkube.parking.adapters.database import open_database
from parkube.parking.domain.errors import Invalid
from parkube.parking.main import main
from parkube.parking.services import payouts
from parkube.parking.services.importing import Report
from tests.fakes.parking import FakeGarage, World
from tests.unit.parking.test_parking_money import owner, stay

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
NPR, RDW, SWISS = (
    DATA / name
    for name in ("nl_npr_facilities_2019.csv", "nl_rdw_parking_2025.json", "ch_opendata_swiss_parkrail.geojson")
)
RECORD = {
    "rdw_id": "1_A", "id": "rdw_1_A", "uuid": "170189ef-125c", "name": "Dam", "municipality": "Delft",
    "address": "Dam 1", "latitude": 52.0, "longitude": 4.4, "type": "garage",
    "capacity": {"total": 80}, "max_height": 210,
}  # fmt: skip


def register(*records: dict[str, Any]) -> bytes:
    return json.dumps({"features": [RECORD | record for record in records]}).encode()


@pytest.fixture
def database(tmp_path: Path) -> str:  # type: ignore[override]
    return f"sqlite:///{tmp_path}/platform.sqlite"


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(list(words)) == code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "file", "first"),
    [
        ("import-npr", NPR, "4956 rows read"),
        ("import-rdw", RDW, "783 rows read: 691 garages added, 0 changed, 0 unchanged, 1 refused, 91 duplicates"),
        ("import-swiss-rail", SWISS, "649 rows read"),
    ],
)
def test_a_register_is_taken_in_again_and_again_without_a_duplicate(
    command: str, file: Path, first: str, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not file.exists():
        pytest.skip(f"the data set {file.name} is not beside the project")
    said = run(capsys, command, str(file), "--database-url", database)
    assert said.startswith(first)
    again = run(capsys, command, str(file), "--database-url", database)
    assert "0 garages added, 0 changed" in again
    count = said.split(" garages added")[0].rsplit(" ", 1)[1]
    assert f", {count} unchanged" in again


def test_an_import_shows_how_far_it_is_where_somebody_looks(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "register.json"
    file.write_bytes(register(*({"id": f"rdw_{n}", "rdw_id": f"{n}_A", "uuid": f"{n:08x}-1"} for n in range(1200))))
    main(["import-rdw", str(file), "--database-url", database])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for added in ("0 garages added, 0 changed, 1200 unchanged", "0 garages added, 1200 changed, 0 unchanged"):
        main(["import-rdw", str(file), "--database-url", database])
        said = capsys.readouterr()
        assert added in said.out
        assert "1200/1200" in said.err
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        file.write_bytes(file.read_bytes().replace(b'"Dam"', b'"Dom"'))


def test_both_dutch_registers_know_a_garage_by_the_same_id(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not NPR.exists() or not RDW.exists():
        pytest.skip("the Dutch registers are not beside the project")
    run(capsys, "import-npr", str(NPR), "--database-url", database)
    said = run(capsys, "import-rdw", str(RDW), "--database-url", database, "--verbose")
    changed = int(said.split(" changed")[0].rsplit(" ", 1)[1])
    assert changed > 300
    assert said.count("\nchanged: nl-") == changed


def test_what_changed_is_named_and_what_cannot_be_meant_is_refused(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "register.json"
    file.write_bytes(register({}))
    run(capsys, "import-rdw", str(file), "--database-url", database)
    file.write_bytes(register({"capacity": {"total": 100}}, {"rdw_id": "1_A", "name": "again"}))
    said = run(capsys, "import-rdw", str(file), "--database-url", database)
    assert "changed: nl-170189ef (Dam): capacity 80 -> 100\n" in said
    assert "record 2 (id 'rdw_1_A', 'again'): the id is there before, as 'Dam'" in said


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"latitude": 27.1, "longitude": -109.4}, "not in the Netherlands"),
        ({"latitude": "x"}, "are not numbers"),
        ({"name": " ", "rdw_id": None}, "it has no id, it has no name"),
        ({"capacity": {"total": -4}, "max_height": True}, "its capacity -4 is not one, its height True is not one"),
    ],
)
def test_every_fault_of_a_record_is_named(record: dict[str, Any], fault: str) -> None:
    report = Report()
    assert rdw.parse(register(record), report) == []
    assert fault in report.refused[0]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"features": 1}', b'{"features": [1]}', register({})[:-20]])
def test_a_register_that_was_cut_is_refused_whole(data: bytes) -> None:
    with pytest.raises(Invalid):
        rdw.parse(data, Report())


def test_the_days_work_from_a_command_line(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def a_day() -> str:
        opened = open_database(database)
        await opened.upgrade()
        world = await World.open(opened)
        await world.garage()
        garage = await FakeGarage(world).connect()
        await owner(world, "nl-test")
        booking = await stay(world, garage)
        async with opened.reading() as transaction:
            (order,) = await transaction.orders(booking["id"])
        await world.http.aclose()
        await opened.close()
        return str(order.reference)

    reference = asyncio.run(a_day())
    url = ("--database-url", database)
    assert "org_a: payout 1, EUR 4.35" in run(capsys, "payouts", *url)
    assert run(capsys, "payouts", "--organisation", "org_a", *url) == ""
    file = tmp_path / "settlement.csv"
    span = ("--provider", "builtin", "--since", "2026-05-04T00:00:00+02:00", "--until", "2026-05-05T00:00:00+02:00")
    file.write_text(f"kind,reference,amount,fee,currency\npayment,{reference},6.00,0.25,EUR\n")
    assert run(capsys, "reconcile", str(file), *span, "--book", "st_1", *url) == "1 match, 0 do not\n"
    file.write_text("kind,reference,amount,fee,currency\npayment,pay_x,6.00,0.25,EUR\n")
    said = run(capsys, "reconcile", str(file), *span, *url, code=1)
    assert "pay_x: line 2: the provider has this payment, our books have not" in said
    run(capsys, "export-ledger", str(tmp_path / "ledger.csv"), *url)
    rows = list(csv.DictReader((tmp_path / "ledger.csv").open()))
    assert {row["kind"] for row in rows} == {"charge", "commission", "prepayment", "settle", "payout", "settlement"}
    assert "balanced" in run(capsys, "check-ledger", *url)
    for long, shown in (
        (("payouts",), "1/1"), (("export-ledger", str(tmp_path / "l.csv")), "6 entries"), (("check-ledger",), "7 rows"),
    ):  # fmt: skip
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        main([*long, *url])
        assert shown in capsys.readouterr().err
        monkeypatch.undo()
    assert "boss@example.org is operator in everything" in run(capsys, "role", "boss@example.org", "operator", *url)
    run(capsys, "retention", *url)
    run(capsys, "role", "boss@example.org", "owner", *url, code=1)
    assert payouts.OWNER == "owner"
