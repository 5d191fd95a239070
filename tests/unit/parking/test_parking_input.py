"""Bad input: each gets one clear problem, and nothing is half written."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from parkube.parking.adapters import city, npr
from parkube.parking.domain.errors import Conflict, Invalid
from parkube.parking.domain.tariffs import read_tariff
from parkube.parking.main import main
from parkube.parking.services.importing import Report, take_in
from tests.fakes.parking import World, ok, problem

REGISTER = Path(__file__).resolve().parents[4] / "shared" / "data" / "nl_npr_facilities_2019.csv"
QUOTES = "/api/v1/driver/quotes"


async def test_windows_that_cannot_be(world: World) -> None:
    await world.garage()
    now = world.clock.now

    async def refused(start: Any, end: Any) -> dict[str, Any]:
        answer = await world.http.post(QUOTES, json={"garage_id": "nl-test", "from": start, "to": end})
        return problem(answer, 422, "invalid_window")

    in_an_hour = (now + timedelta(hours=1)).isoformat()
    assert "in the past" in (await refused((now - timedelta(hours=1)).isoformat(), in_an_hour))["detail"]
    assert "not after the start" in (await refused(in_an_hour, now.isoformat()))["detail"]
    assert "not after the start" in (await refused(in_an_hour, in_an_hour))["detail"]
    assert "at most 31 days" in (await refused(in_an_hour, (now + timedelta(days=40)).isoformat()))["detail"]
    assert "does not exist" in (await refused("2026-03-29T02:30", "2026-03-29T04:00"))["detail"]
    both = await refused("soon", "2026-10-25T02:30")
    assert [fault["field"] for fault in both["errors"]] == ["from", "to"]
    assert "happens twice" in both["detail"]
    over = {"garage_id": "nl-test", "from": "2026-10-25T01:00", "to": "2026-10-25T04:00"}
    # Over the change of the clocks: three hours on the wall are four that elapse, and they are what is billed.
    assert ok(await world.http.post(QUOTES, json=over), 201)["price_cents"] == 8 * 150


async def test_bodies_that_cannot_be_read(world: World) -> None:
    await world.garage()
    json_body = {"Content-Type": "application/json"}
    problem(await world.http.post(QUOTES, content=b'{"garage_id":', headers=json_body), 400, "broken_json")
    problem(await world.http.post(QUOTES, content=b" " * 10_000_000, headers=json_body), 413, "body_too_large")

    async def endless() -> Any:
        for _ in range(100):
            yield b" " * 10_000

    problem(await world.http.post(QUOTES, content=endless(), headers=json_body), 413, "body_too_large")
    wrong = problem(await world.http.post(QUOTES, json={"garage_id": 7, "form": 1}), 422, "invalid")
    assert {fault["field"] for fault in wrong["errors"]} == {"garage_id", "from", "to", "form"}
    late = {"garage_id": 7, "from": "soon", "to": "2026-05-05T08:00:00Z", "bay_kind": "big"}
    wrong = problem(await world.http.post(QUOTES, json=late), 422, "invalid")
    assert [fault["field"] for fault in wrong["errors"]] == ["garage_id", "bay_kind", "from"]
    assert wrong["errors"][2]["message"] == "'soon' is not a time like 2026-05-01T14:00:00Z"
    asked = {"limit": 0, "from": "now", "to": "2026-13-01T00:00Z"}
    wrong = problem(await world.http.get("/api/v1/driver/garages", params=asked), 422, "invalid")
    assert [fault["field"] for fault in wrong["errors"]] == ["limit", "from", "to"]
    problem(await world.http.get("/api/v1/driver/garages", params={"lat": 99, "lon": 5}), 422, "invalid")
    problem(await world.http.get("/api/v1/driver/garages", params={"from": "2026-05-05T00:00:00Z"}), 422, "invalid")
    problem(await world.http.get("/api/v1/nothing"), 404, "not_found")
    problem(await world.http.post("/api/v1/driver/garages"), 405, "method_not_allowed")


async def test_bookings_that_cannot_be(world: World) -> None:
    await world.garage()
    await world.garage("nl-street", managed=False, usage="onstreet")
    body = {"from": "2026-05-05T08:00:00Z", "to": "2026-05-05T09:00:00Z"}
    problem(await world.http.post(QUOTES, json={"garage_id": "nl-street", **body}), 409, "not_bookable")
    problem(await world.http.post(QUOTES, json={"garage_id": "nl-nope", **body}), 404, "not_found")
    problem(await world.http.post("/api/v1/driver/bookings", json={"quote_id": "qt_x"}), 404, "not_found")
    quote = await world.quote()
    plate = {"quote_id": quote["id"], "plate": "<b>"}
    problem(await world.http.post("/api/v1/driver/bookings", json=plate), 422, "invalid")
    world.clock.forward(minutes=16)
    problem(await world.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]}), 410, "quote_expired")
    # A quote that still lives, for a stay that has ended meanwhile.
    short = await world.quote(hours=0.1)
    world.clock.forward(minutes=6)
    late = await world.http.post("/api/v1/driver/bookings", json={"quote_id": short["id"]})
    assert "is over" in problem(late, 410, "quote_expired")["detail"]
    async with world.platform.database.reading() as transaction:
        assert await transaction.booking_of_quote(short["id"]) is None


async def test_a_stay_that_the_tariff_is_not_for_is_not_quoted(world: World) -> None:
    written = {"steps": [{"every_minutes": 60, "price_cents": 300}], "maximum_minutes": 120, "valid_to": "2026-06-01"}
    await world.garage(tariff=read_tariff(written))
    body = {"garage_id": "nl-test", "from": "2026-06-01T08:00:00Z", "to": "2026-06-01T11:00:00Z"}
    refused = problem(await world.http.post(QUOTES, json=body), 422, "invalid_window")
    assert {fault["field"] for fault in refused["errors"]} == {"from", "to"}


def register() -> bytes:
    if not REGISTER.exists():
        pytest.skip(f"the parking register is not at {REGISTER}")
    return REGISTER.read_bytes()


async def test_the_register_is_taken_in_and_its_faults_are_named(world: World) -> None:
    report = Report()
    garages = npr.parse(register(), report)
    await take_in(world.platform, garages, report, source=npr.SOURCE, force=False)
    assert (report.read, report.added, len(report.refused), len(report.duplicates)) == (4956, 4823, 5, 128)
    assert any("id 4956, 'Oy mate" in sentence and "not in the Netherlands" in sentence for sentence in report.refused)
    assert any("id 4325" in sentence and "not degrees" in sentence for sentence in report.refused)
    assert len(world.platform.index) == 4823
    again = Report()
    await take_in(world.platform, npr.parse(register(), again), again, source=npr.SOURCE, force=False)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 4823)
    with pytest.raises(Invalid, match="it may have been cut"):
        await take_in(world.platform, garages[:2000], Report(), source=npr.SOURCE, force=False)
    places = ok(await world.http.get("/api/v1/driver/places", params={"q": "utr"}))["items"]
    assert (places[0]["kind"], places[0]["name"]) == ("city", "Utrecht")
    found = ok(await world.http.get("/api/v1/driver/garages", params={"q": "jaarbeurs"}))["items"]
    assert found
    assert found[0]["price_cents"] is None


def test_a_register_cut_in_the_middle_is_refused_whole() -> None:
    whole = register()
    with pytest.raises(Invalid, match="in the middle of a line"):
        npr.parse(whole[:600_000], Report())
    # Cut within quotes, right after a line's end inside a name.
    cut = whole[: whole.index(b'"Binnenstad') + 5] + b"\n"
    with pytest.raises(Invalid, match=r"cut|columns"):
        npr.parse(cut, Report())
    for wrong in (b"", b"a,b\n1,2\n", b"\xff\xfe\n", whole[:400].rsplit(b"\n", 1)[0] + b"\n1,2\n"):
        with pytest.raises(Invalid):
            npr.parse(wrong, Report())


HEADER = "id,name,uuid,latitude,longitude,city,country_code,usage,capacity,minimumHeightInMeters"
ROWS = (
    "1,P Centrum,aaaaaaaa-1,52.09,5.12,Utrecht,NL,garage,300,1.9",
    '2,"P ""Oost"", achter\nde brug",bbbbbbbb-2,52.10,5.13,Utrecht,NL,garage,120,2.1',
    "3,P Zonder plaats,cccccccc-3,,,Utrecht,NL,garage,80,",
)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_register_cut_anywhere_but_between_two_rows_is_refused(end: str) -> None:
    lines = [HEADER, *(row.replace("\n", end) for row in ROWS)]
    whole = "".join(line + end for line in lines).encode()
    seams = {len("".join(line + end for line in lines[:count]).encode()) for count in range(1, len(lines) + 1)}
    for at in range(len(whole) + 1):
        report = Report()
        if at in seams:
            assert len(npr.parse(whole[:at], report)) == report.read == sorted(seams).index(at)
        else:
            with pytest.raises(Invalid):
                npr.parse(whole[:at], report)


def test_the_rows_that_cannot_be_are_each_named() -> None:
    bad = (
        "4,,dddddddd-4,52,5,X,NL,garage,1,", "5,P,,52,5,X,NL,garage,1,", "6,P,eeeeeeee-6,48.85,2.35,Paris,NL,garage,1,",
        "7,P,ffffffff-7,521,5,X,NL,garage,1,", "8,P,gggggggg-8,north,5,X,NL,garage,1,",
        "9,P,hhhhhhhh-9,52,5,X,NL,garage,-3,", "10,P Centrum,aaaaaaaa-1,52.09,5.12,Utrecht,NL,garage,300,1.9",
        "11,P Centrum,iiiiiiii-1,52.09,5.12,Utrecht,NL,garage,300,1.9",
    )  # fmt: skip
    report = Report()
    taken = npr.parse("".join(line + "\n" for line in (HEADER, *ROWS, *bad)).encode(), report)
    assert (report.read, [one.id for one in taken]) == (11, ["nl-aaaaaaaa", "nl-bbbbbbbb", "nl-cccccccc"])
    for sentence, words in zip(report.refused, ("no name", "no uuid", "not in the Netherlands", "not degrees",
                                                "not numbers", "capacity '-3'"), strict=True):  # fmt: skip
        assert words in sentence
        assert sentence.startswith("line ")
    assert [("the uuid" in one, "the same name" in one) for one in report.duplicates] == [(True, False), (False, True)]


async def test_an_import_that_fails_half_way_writes_nothing(world: World) -> None:
    garages = npr.parse("".join(line + "\n" for line in (HEADER, *ROWS)).encode(), Report())
    broken = replace(garages[2], capacity=-1)
    with pytest.raises(Conflict):
        await take_in(world.platform, [*garages[:2], broken], Report(), source=npr.SOURCE, force=False)
    async with world.platform.database.reading() as transaction:
        assert list(await transaction.garages()) == []
    assert len(world.platform.index) == 0


def test_the_generated_city_is_the_same_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert city.generate(60) == city.generate(200)[:60]
    assert len({garage.id for garage in city.generate(500)}) == 500
    url = f"sqlite:///{tmp_path}/city.sqlite"
    assert main(["city", "--database-url", url]) == 0
    assert "60 garages added" in capsys.readouterr().out
    assert main(["city", "--database-url", url]) == 0
    assert "60 unchanged" in capsys.readouterr().out


def test_the_command_line_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/x.sqlite"
    for argv, says in (
        (["import-npr", "--database-url", url, str(tmp_path / "nope.csv")], "cannot be read"),
        (["city", "--database-url", "oracle://x"], "SQLite and PostgreSQL are"),
        (["platform", "--listen", "nowhere"], "not host:port"),
        (["platform", "--database-url", "postgresql://nobody@127.0.0.1:1/none"], "the database does not answer"),
        (["platform", "--database-url", f"sqlite:///{tmp_path}/p.sqlite", "--listen", "192.0.2.1:80"], "cannot listen"),
        (["plattform"], "there is no `parking plattform`"),
    ):
        assert main(argv) in (1, 2)
        said = capsys.readouterr().err
        assert says in said
        assert said.count("\n") == 1
    assert not (tmp_path / "x.sqlite").exists()
