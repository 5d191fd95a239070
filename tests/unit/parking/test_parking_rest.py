"""The conventions of the REST interface on both databases: idempotency keys, cursors, ETags, problems."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from sqlalchemy import text

from parkube.parking.api.app import create_app
from parkube.parking.api.rates import Rate
from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.people import Organisation
from parkube.parking.domain.refunds import Refund, RefundMove, moved
from parkube.parking.domain.rights import Role
from parkube.parking.main.providers import every_call
from parkube.parking.services import payouts, refunds
from tests.fakes.parking import OPERATOR, FakeGarage, World, ok, problem
from tests.unit.parking.test_parking_money import owner, stay, sums

ORGANISATION = {"kind": "owner", "name": "Garages BV", "address": "Dam 1"}
PATH = "/api/v1/operator/organisations/org_a"


async def test_a_post_with_a_key_is_done_once_and_answered_the_same(world: World, garage: FakeGarage) -> None:
    await owner(world, "nl-test")
    booking = await stay(world, garage)
    boss = {"Authorization": f"Bearer {await world.token_of('a@example.org', Role.OWNER, 'org_a')}"}
    path = f"/api/v1/owner/garages/nl-test/bookings/{booking['id']}/refunds"
    keyed = boss | {"Idempotency-Key": "k-1"}
    asked = {"amount_cents": 100, "reason": "sorry"}
    answers = await asyncio.gather(*(world.http.post(path, json=asked, headers=keyed) for _ in range(5)))
    assert {ok(answer, 201)["items"][0]["id"] for answer in answers} == {ok(answers[0], 201)["items"][0]["id"]}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 4
    assert (await sums(world))["provider:builtin"] == 500
    other = await world.http.post(path, json=asked | {"amount_cents": 50}, headers=keyed)
    problem(other, 409, "idempotency_key_reused")
    another = {"Authorization": f"Bearer {await world.token_of('b@example.org', Role.OWNER, 'org_a')}"}
    ok(await world.http.post(path, json=asked, headers=another | {"Idempotency-Key": "k-1"}), 201)
    assert (await sums(world))["provider:builtin"] == 400
    long = boss | {"Idempotency-Key": "k" * 200}
    problem(await world.http.post(path, json=asked, headers=long), 422, "invalid")


async def test_a_failure_is_not_kept_under_its_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.garage()
    path, keyed = "/api/v1/operator/garages/nl-test/token", OPERATOR | {"Idempotency-Key": "k-1"}
    stranger = {"Authorization": "Bearer at_none", "Idempotency-Key": "k-1"}
    problem(await world.http.post(path, headers=stranger), 401, "denied")
    first = ok(await world.http.post(path, headers=keyed), 201)
    assert ok(await world.http.post(path, headers=keyed), 201) == first
    assert ok(await world.http.post(path, headers=OPERATOR), 201) != first


async def test_what_has_not_changed_is_not_sent_again_and_what_has_is_not_overwritten(world: World) -> None:
    ok(await world.http.put(PATH, json=ORGANISATION, headers=OPERATOR))
    seen = await world.http.get(PATH, headers=OPERATOR)
    tag = seen.headers["etag"]
    again = await world.http.get(PATH, headers=OPERATOR | {"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    ok(await world.http.put(PATH, json=ORGANISATION | {"name": "New"}, headers=OPERATOR | {"If-Match": tag}))
    stale = await world.http.put(PATH, json=ORGANISATION, headers=OPERATOR | {"If-Match": tag})
    problem(stale, 412, "changed")
    fresh = await world.http.get(PATH, headers=OPERATOR | {"If-None-Match": tag})
    assert ok(fresh)["name"] == "New"
    none = PATH.replace("org_a", "org_none")
    problem(await world.http.put(none, json=ORGANISATION, headers=OPERATOR | {"If-Match": "*"}), 412, "changed")


async def test_terms_and_bookings_that_have_changed_meanwhile_are_not_overwritten(
    world: World, garage: FakeGarage
) -> None:
    await owner(world, "nl-test")
    boss = {"Authorization": f"Bearer {await world.token_of('a@example.org', Role.OWNER, 'org_a')}"}
    path = "/api/v1/owner/garages/nl-test/terms"
    tag = (await world.http.get(path, headers=boss)).headers["etag"]
    ok(await world.http.put(path, json={"in_out": True}, headers=boss | {"If-Match": tag}))
    problem(await world.http.put(path, json={"in_out": False}, headers=boss | {"If-Match": tag}), 412, "changed")
    assert ok(await world.http.get(path, headers=boss))["in_out"] is True
    booking = await world.book()
    mine = {"Authorization": f"Bearer {booking['secret']}"}
    there = f"/api/v1/driver/bookings/{booking['id']}"
    tag = (await world.http.get(there, headers=mine)).headers["etag"]
    for plate, status in (("12-AB-34", 200), ("34-CD-56", 412)):
        said = await world.http.patch(there, json={"plate": plate}, headers=mine | {"If-Match": tag})
        assert said.status_code == status
    assert ok(await world.http.get(there, headers=mine))["plate"] == "12-AB-34"
    looked = mine | {"If-Match": (await world.http.get(there, headers=mine)).headers["etag"]}
    both = [world.http.patch(there, json={"plate": plate}, headers=looked) for plate in ("56-EF-78", "78-GH-90")]
    assert sorted(said.status_code for said in await asyncio.gather(*both)) == [200, 412]


def test_every_post_of_somebody_known_says_that_it_takes_a_key(world: World) -> None:
    for path, operations in world.app.openapi()["paths"].items():
        names = {one["name"].lower() for one in operations.get("post", {}).get("parameters", ())}
        if "security" in operations.get("post", {}) and "/login" not in path:
            assert "idempotency-key" in names, path


async def test_pages_show_every_row_once_also_while_rows_are_added(world: World, garage: FakeGarage) -> None:
    await owner(world, "nl-test")
    boss = {"Authorization": f"Bearer {await world.token_of('a@example.org', Role.OWNER, 'org_a')}"}
    kept = [await stay(world, garage) for _ in range(3)]
    path = "/api/v1/owner/garages/nl-test/ledger"
    seen: list[int] = []
    cursor = ""
    while True:
        page = ok(await world.http.get(f"{path}?limit=2{cursor}", headers=boss))
        seen += [row["id"] for row in page["items"]]
        if len(seen) == 4:
            await refunds.give_back(world.platform, kept[0]["id"], 100, "sorry", None)
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == sorted(set(seen))
    assert len(seen) == 3 * 2 + 2  # charges and commissions, then the credit and what it took of the commission
    for wrong in ("x", "az0", "k:1", "%F0%9F%9A%97"):
        problem(await world.http.get(f"{path}?cursor={wrong}", headers=boss), 422, "invalid")


async def test_every_list_in_pages_shows_each_row_once_whatever_the_page(world: World, garage: FakeGarage) -> None:
    await owner(world, "nl-test")
    await world.garage("nl-two")
    mine = {"Authorization": f"Bearer {await world.token_of('me@example.org')}"}
    boss = {"Authorization": f"Bearer {await world.token_of('a@example.org', Role.OWNER, 'org_a')}"}
    made = Organisation("org_p", "partner", "Sellers", "", "NL", "", "", world.clock.now)
    await payouts.put_organisation(world.platform, made)
    seller = {"Authorization": f"Bearer {await world.token_of('p@example.org', Role.PARTNER, 'org_p')}"}
    for driver, actor in ((mine, "driver"), (seller, "partner")):
        for _ in range(2):
            body = {"quote_id": (await world.quote())["id"]}
            ok(await world.http.post(f"/api/v1/{actor}/bookings", json=body, headers=driver), 201)
            world.clock.forward(hours=3)
    for number in range(2):
        booking = await stay(world, garage)
        ok(await world.http.post("/api/v1/operator/organisations/org_a/payouts", headers=OPERATOR), 201)
        async with world.platform.database.writing() as transaction:
            order = (await transaction.orders(booking["id"]))[0]
            left = Refund(f"rf_{number}", booking["id"], order.id, 1, "EUR", "sorry", world.clock.now)
            await transaction.add_refund(moved(left, RefundMove.REFUSE, world.clock.now))
        world.clock.forward(hours=3)
    callers = {"driver": mine, "owner": boss, "partner": seller, "operator": OPERATOR}

    async def walk(path: str, limit: int) -> list[str]:
        seen, cursor = [], ""
        while True:
            page = ok(await world.http.get(f"{path}?limit={limit}{cursor}", headers=callers[path.split("/")[3]]))
            assert len(page["items"]) <= limit
            seen += [json.dumps(row, sort_keys=True) for row in page["items"]]
            if page["next"] is None:
                return seen
            assert len(page["items"]) == limit
            cursor = f"&cursor={page['next']}"

    described = world.app.openapi()["paths"].items()
    paged = [path for path, said in described if "cursor" in str(said.get("get", {}).get("parameters"))]
    assert len(paged) == 10
    for template in paged:
        path = template.format(garage_id="nl-test", organisation_id="org_a")
        whole = await walk(path, 200)
        assert len(whole) >= 2, path
        assert len(set(whole)) == len(whole), path
        # Reading a list can itself be a row of the next: the trail of who read plates grows at its beginning.
        assert [row for row in await walk(path, 1) if row in whole] == whole, path
        bad = await world.http.get(f"{path}?cursor=x", headers=callers[path.split("/")[3]])
        problem(bad, 422, "invalid")
    # What is left open here is not the provider's refusal, so that the books are whole again.
    async with world.platform.database.writing() as transaction:
        await transaction.connection.execute(text("DELETE FROM refunds"))  # type: ignore[attr-defined]


async def test_what_is_too_large_or_of_another_kind_is_a_problem(world: World) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"):
        sent = await world.http.post("/api/v1/driver/quotes", content=b"{}", headers={"Content-Type": kind})
        problem(sent, 415, "unsupported_media_type")
        assert sent.headers["accept"] == "application/json"
    for kind in ("application/json", "application/json; charset=utf-8", "application/merge-patch+json"):
        sent = await world.http.post("/api/v1/driver/quotes", content=b"{}", headers={"Content-Type": kind})
        problem(sent, 422, "invalid")
    large = {"garage_id": "x" * 300_000}
    problem(await world.http.post("/api/v1/driver/quotes", json=large), 413, "body_too_large")
    wrong = await world.http.patch("/api/v1/driver/bookings", json={})
    assert problem(wrong, 405, "method_not_allowed")["detail"] == "PATCH is not possible here, only POST"
    assert wrong.headers["allow"] == "POST"


async def test_an_address_that_is_not_text_or_not_there_is_a_problem(world: World) -> None:
    problem(await world.http.get("/api/v1/driver/garages/a%00b"), 400, "not_text")
    problem(await world.http.get("/api/v1/driver/garages?q=%00"), 400, "not_text")
    problem(await world.http.get("/api/v1/none"), 404, "not_found")
    wrong = await world.http.get("/api/v1/driver/quotes")
    problem(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"
    body = {"kind": "owner", "name": "a\0b"}
    problem(await world.http.put(PATH, json=body, headers=OPERATOR), 422, "invalid")


async def test_an_address_that_calls_too_often_waits_and_others_do_not(world: World) -> None:
    app = create_app(world.platform, every=Rate(burst=2, per_s=0.5))

    async def call(address: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://platform") as http:
            return await http.get("/api/v1/driver/garages")

    for _ in range(2):
        ok(await call("192.0.2.1"))
    late = await call("192.0.2.1")
    problem(late, 429, "too_many")
    assert late.headers["retry-after"] == "3"
    ok(await call("192.0.2.2"))
    world.clock.forward(seconds=2)
    ok(await call("192.0.2.1"))
    problem(await call("192.0.2.1"), 429, "too_many")


def test_an_address_is_limited_unless_the_configuration_says_otherwise() -> None:
    assert every_call({}) == Rate(500, 50)
    assert every_call({"PARKUBE_RATE_PER_S": "3"}) == Rate(30, 3)
    assert every_call({"PARKUBE_RATE_PER_S": "0"}) is None
    with pytest.raises(Invalid, match="a number of calls a second"):
        every_call({"PARKUBE_RATE_PER_S": "many"})


async def test_the_operators_program_tells_of_thousands_of_garages_at_once(world: World) -> None:
    app = create_app(world.platform, operator_token="operator-token", every=Rate(burst=1, per_s=0.1))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://platform") as http:
        for _ in range(3):
            ok(await http.get("/api/v1/operator/trail", headers=OPERATOR))
