"""People on both databases: logging in and being locked out, one's own data, forgetting, what a trail says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import String, Text, select

from parkube.parking.adapters.database import schema
from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.people import email_of
from parkube.parking.domain.retention import TABLE
from parkube.parking.domain.rights import Role
from parkube.parking.services import people, privacy, receipting
from tests.fakes.parking import OPERATOR, FakeGarage, Letters, World, ok, problem
from tests.unit.parking.test_parking_money import owner, stay

LOGIN = "/api/v1/driver/login"


async def log_in(world: World, email: str = "driver@example.org") -> dict[str, str]:
    """The headers of somebody who came in by mail."""
    letters = Letters()
    world.platform.mail = letters
    assert (await world.http.post(LOGIN, json={"email": email})).status_code == 202
    shown = ok(await world.http.post(LOGIN + "/code", json={"email": email, "code": letters.code}))
    return {"Authorization": f"Bearer {shown['token']}"}


async def test_a_code_by_mail_is_good_once_and_for_minutes(world: World) -> None:
    letters = Letters()
    world.platform.mail = letters
    for asked in (" Driver@Example.org", "driver@example.org"):
        await world.http.post(LOGIN, json={"email": asked})
    assert [to for to, _, _ in letters.sent] == ["driver@example.org"] * 2
    code = letters.code
    dashed = f"{code[:4]}-{code[4:]}".upper()
    shown = ok(await world.http.post(LOGIN + "/code", json={"email": "driver@example.org", "code": dashed}))
    headers = {"Authorization": f"Bearer {shown['token']}"}
    assert ok(await world.http.get("/api/v1/driver/me", headers=headers))["email"] == "driver@example.org"
    again = await world.http.post(LOGIN + "/code", json={"email": "driver@example.org", "code": code})
    problem(again, 401, "wrong_code")
    await world.http.post(LOGIN, json={"email": "driver@example.org"})
    world.clock.forward(minutes=10)
    late = await world.http.post(LOGIN + "/code", json={"email": "driver@example.org", "code": letters.code})
    problem(late, 401, "wrong_code")
    assert (await world.http.post("/api/v1/driver/logout", headers=headers)).status_code == 204
    problem(await world.http.get("/api/v1/driver/me", headers=headers), 401, "denied")


async def test_who_guesses_is_locked_out_and_who_has_the_code_too_for_a_while(world: World) -> None:
    letters = Letters()
    world.platform.mail = letters
    await world.http.post(LOGIN, json={"email": "a@example.org"})
    right = {"email": "a@example.org", "code": letters.code}
    for _ in range(5):
        problem(await world.http.post(LOGIN + "/code", json=right | {"code": "00000000"}), 401, "wrong_code")
    locked = await world.http.post(LOGIN + "/code", json=right)
    problem(locked, 429, "locked_out")
    assert 0 < int(locked.headers["retry-after"]) <= 901
    problem(await world.http.post(LOGIN, json={"email": "a@example.org"}), 429, "locked_out")
    world.clock.forward(minutes=16)
    problem(await world.http.post(LOGIN + "/code", json=right), 401, "wrong_code")
    await world.http.post(LOGIN, json={"email": "a@example.org"})
    ok(await world.http.post(LOGIN + "/code", json=right | {"code": letters.code}))


async def test_codes_are_sent_seldom_and_an_address_that_calls_too_often_waits(world: World) -> None:
    world.platform.mail = Letters()
    for _ in range(5):
        assert (await world.http.post(LOGIN, json={"email": "a@example.org"})).status_code == 202
    problem(await world.http.post(LOGIN, json={"email": "a@example.org"}), 429, "too_many")
    said = {(await world.http.post(LOGIN, json={"email": f"b{n}@example.org"})).status_code for n in range(30)}
    assert said == {202, 429}
    world.clock.forward(minutes=2)
    assert (await world.http.post(LOGIN, json={"email": "c@example.org"})).status_code == 202


async def test_without_mail_nobody_is_told_that_a_code_was_sent(world: World) -> None:
    problem(await world.http.post(LOGIN, json={"email": "a@example.org"}), 503, "mail_unavailable")


@pytest.mark.parametrize("text", ["", "a", "a@b", "a@b..nl", "a b@c.nl", "a@c.nl\r\nBcc: x@y.nl", "x" * 250 + "@a.nl"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        email_of(text)


async def test_a_person_sees_all_that_is_kept_of_them_and_can_be_forgotten(world: World, garage: FakeGarage) -> None:
    headers = await log_in(world)
    quote = await world.quote()
    asked = {"quote_id": quote["id"], "plate": "12-AB-34"}
    booking = ok(await world.http.post("/api/v1/driver/bookings", json=asked, headers=headers), 201)
    problem(await world.http.delete("/api/v1/driver/me", headers=headers), 409, "not_over")
    for gate in ("entry", "exit"):
        await garage.scan(booking["grant"], gate)
    problem(await world.http.delete("/api/v1/driver/me", headers=headers), 409, "not_paid")
    ok(await world.call(booking, "POST", "/pay"))
    kept = ok(await world.http.get("/api/v1/driver/me/export", headers=headers))
    assert kept["person"]["email"] == "driver@example.org"
    assert [(b["id"], b["plate"], b["paid_cents"]) for b in kept["bookings"]] == [(booking["id"], "12-AB-34", 600)]
    assert len(kept["kept"]) == len(TABLE)
    before = await world.entries()
    assert (await world.http.delete("/api/v1/driver/me", headers=headers)).status_code == 204
    problem(await world.http.get("/api/v1/driver/me", headers=headers), 401, "denied")
    shown = ok(await world.call(booking, "GET"))
    assert (shown["plate"], shown["state"]) == (None, "paid")
    assert await world.entries() == before
    await world.assert_balanced()
    again = await log_in(world)
    assert ok(await world.http.get("/api/v1/driver/me/bookings", headers=again))["items"] == []


async def test_plates_are_hashed_or_cleared_in_time_and_the_ledger_stays_balanced(
    world: World, garage: FakeGarage
) -> None:
    async def book(plate: str) -> dict[str, str]:
        quote = await world.quote()
        body = {"quote_id": quote["id"], "plate": plate}
        return ok(await world.http.post("/api/v1/driver/bookings", json=body), 201)  # type: ignore[no-any-return]

    async def plates() -> dict[str, tuple[str | None, str | None]]:
        b = schema.bookings.c
        async with world.platform.database.reading() as transaction:
            rows = await transaction.connection.execute(select(b.id, b.plate_raw, b.plate_normal))  # type: ignore[attr-defined]
            return {row[0]: (row[1], row[2]) for row in rows}

    cancelled = await book("AA-11-BB")
    ok(await world.call(cancelled, "DELETE"))
    stays = []
    for _ in range(2):
        stays.append(await book("12-AB-34"))
        for gate in ("entry", "exit"):
            await garage.scan(stays[-1]["grant"], gate)
    running = await book("99-ZZ-99")
    await garage.scan(running["grant"], "entry")
    world.clock.forward(days=2)
    for _ in range(2):
        await privacy.obey(world.platform)
    found = await plates()
    assert found[cancelled["id"]] == (None, None)
    assert found[stays[0]["id"]] == ("12-AB-34", "12AB34")
    world.clock.forward(days=27)
    for _ in range(2):
        await privacy.obey(world.platform)
    found = await plates()
    raw, hashed = found[stays[0]["id"]]
    assert raw is None
    assert hashed is not None
    assert hashed.startswith("#")
    assert "12AB34" not in hashed
    assert found[stays[1]["id"]] == (None, hashed)  # the same again is still to be seen
    assert found[running["id"]] == ("99-ZZ-99", "99ZZ99")  # who is inside must be found at the gate
    await world.assert_balanced()


def test_every_column_that_may_hold_something_personal_has_a_rule() -> None:
    known = {(rule.table, column) for rule in TABLE for column in rule.columns}
    nothing_personal = {
        "settings", "garages", "agreements", "payouts", "payout_marks", "quotes", "sessions", "garage_links",
        "commands",
        "verifications", "ledger_moves", "payments", "receipts", "payment_orders", "webhook_events",
        "booking_changes", "passages", "counts", "forecasts", "garage_terms", "occupancy_samples",
    }  # fmt: skip
    harmless = {
        ("bookings", "jti"), ("bookings", "grant_text"), ("bookings", "replaces"), ("gate_events", "gate"),
        ("gate_events", "jti"), ("site_orders", "value"), ("site_orders", "aspect"), ("trail", "action"),
        ("idempotency", "fingerprint"), ("access_tokens", "hash"),
    }  # fmt: skip
    ids = ("id", "_id", "state", "kind", "currency", "country", "key", "reference", "percent", "role", "method")
    for table in schema.metadata.sorted_tables:
        for column in table.columns:
            text = isinstance(column.type, (String, Text)) and not column.name.endswith(ids)
            if not text or table.name in nothing_personal:
                continue
            assert (table.name, column.name) in known | harmless
    for rule in TABLE:
        columns = schema.metadata.tables[rule.table].columns
        assert {*rule.columns, *([rule.since] if rule.since else [])} <= set(columns.keys()), rule.what
        assert (rule.days is None) == (rule.then == "keep"), rule.what


async def test_the_trail_says_who_opened_a_gate_moved_money_and_read_a_plate(world: World, garage: FakeGarage) -> None:
    await owner(world, "nl-test")
    quote = await world.quote()
    body = {"quote_id": quote["id"], "plate": "12-AB-34"}
    booking = ok(await world.http.post("/api/v1/driver/bookings", json=body), 201)
    for gate in ("entry", "exit"):
        ok(await world.call(booking, "POST", "/open", json={"gate": gate}))
    ok(await world.call(booking, "POST", "/pay"))
    boss = {"Authorization": f"Bearer {await world.token_of('boss@example.org', Role.OWNER, 'org_a')}"}
    me = (await people.caller_of(world.platform, boss["Authorization"].split()[1])).actor
    garage_path = "/api/v1/owner/garages/nl-test"
    assert ok(await world.http.get(garage_path + "/bookings", headers=boss))["items"][0]["plate"] == "12-AB-34"
    asked = {"amount_cents": 100, "reason": "sorry"}
    refund = f"{garage_path}/bookings/{booking['id']}/refunds"
    assert ok(await world.http.post(refund, json=asked, headers=boss), 201)["items"][0]["state"] == "done"
    rows = ok(await world.http.get(garage_path + "/trail?limit=200", headers=boss))["items"]
    said = {(row["actor"], row["action"]) for row in rows}
    driver = f"booking:{booking['id']}"
    assert {(driver, "open"), (driver, "order"), (driver, "taken"), (me, "plates_read"), (me, "refund")} <= said
    assert not [row for row in rows if "12-AB-34" in str(row) or "@" in str(row)]
    first = ok(await world.http.get("/api/v1/operator/trail?limit=2", headers=OPERATOR))
    second = ok(await world.http.get(f"/api/v1/operator/trail?limit=2&cursor={first['next']}", headers=OPERATOR))
    ids = [row["id"] for row in (*first["items"], *second["items"])]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 4


async def test_the_trail_says_what_opened_each_gate_and_that_a_plate_was_read(world: World, garage: FakeGarage) -> None:
    await owner(world, "nl-test")
    quote = await world.quote()
    body = {"quote_id": quote["id"], "plate": "12-AB-34"}
    booking = ok(await world.http.post("/api/v1/driver/bookings", json=body), 201)
    await garage.report("refused", "entry", detail={"reason": "unknown_plate", "by": "plate"})
    for kind in ("admitted", "opened"):
        await garage.report(kind, "entry", booking=booking["id"], detail={"by": "plate"} if kind == "admitted" else {})
    await garage.report("verify_done", "test")
    boss = {"Authorization": f"Bearer {await world.token_of('boss@example.org', Role.OWNER, 'org_a')}"}
    place = "/api/v1/owner/garages/nl-test"
    ok(await world.http.post(place + "/passback-resets", json={"booking_id": booking["id"]}, headers=boss), 202)
    ok(await world.http.post(place + "/site", json={"state": "evacuated", "on": True}, headers=boss))
    await garage.report("waved_through", "exit", detail=["not", "an", "object"])
    garage.acked = 0
    await garage.send()  # All of it again is nothing.
    rows = ok(await world.http.get(place + "/trail?limit=200", headers=boss))["items"]
    gate = "garage:nl-test"
    assert [(r["action"], r["subject"], r["detail"].get("became")) for r in reversed(rows) if r["actor"] == gate] == [
        ("plate_read", "nl-test", "unknown_plate"), ("plate_read", booking["id"], "admitted"),
        ("opened", booking["id"], None), ("waved_through", "nl-test", None),
    ]  # fmt: skip
    assert {"passback_reset", "site"} <= {r["action"] for r in rows if r["actor"].startswith("person:")}
    assert "12-AB-34" not in str(rows)
    assert "12AB34" not in str(rows)


async def test_a_document_is_read_as_pdf_and_an_invoice_names_its_buyer(world: World, garage: FakeGarage) -> None:
    await owner(world, "nl-test")
    booking = await stay(world, garage)
    buyer = {"name": "Café 漢字 BV", "address": "Dam 1\n1012 JS Amsterdam", "vat_number": "NL001"}
    assert ok(await world.call(booking, "POST", "/invoice", json=buyer))["number"] == 1
    pdf = await world.call(booking, "GET", "/documents/1.pdf")
    assert (pdf.status_code, pdf.headers["content-type"], pdf.content[:5]) == (200, "application/pdf", b"%PDF-")
    assert (await world.call(booking, "GET", "/documents/1.pdf")).content == pdf.content
    problem(await world.call(booking, "GET", "/documents/2.pdf"), 404, "not_found")
    async with world.platform.database.reading() as transaction:
        (made,) = await transaction.receipts(booking["id"])
    papers = await receipting.papers(world.platform, made)
    assert (papers.title, papers.seller.name if papers.seller else None) == ("Invoice", "Garages BV")


async def test_a_token_of_staff_is_short_and_of_a_driver_long(world: World) -> None:
    await world.garage()
    await owner(world, "nl-test")
    await people.give_role(world.platform, "boss@example.org", Role.OWNER, "org_a", None)
    boss, driver = await log_in(world, "boss@example.org"), await log_in(world)
    world.clock.forward(hours=13)
    problem(await world.http.get("/api/v1/driver/me", headers=boss), 401, "denied")
    ok(await world.http.get("/api/v1/driver/me", headers=driver))
    assert timedelta(hours=12) == people.STAFF_SESSION_LIVES
