"""Who may call what: every route of the application, tried with everyone who must not, and with who may.

The cases are made from the application's own routes: one that is added is tried too, or must say that it is public.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from parkube.parking.api.access import Needs
from parkube.parking.api.app import ROUTERS, create_app
from parkube.parking.domain.rights import TABLE, Membership, Right, Role, may
from parkube.parking.services import fleet, people
from tests.fakes.parking import FakeGarage, World, ok, problem
from tests.unit.parking.test_parking_money import owner, stay

PUBLIC = {
    ("GET", "/api/v1/driver/garages"), ("GET", "/api/v1/driver/garages/{garage_id}"), ("GET", "/api/v1/driver/places"),
    ("POST", "/api/v1/driver/quotes"), ("POST", "/api/v1/driver/bookings"), ("POST", "/api/v1/driver/stays"),
    ("GET", "/api/v1/driver/events"),
    ("POST", "/api/v1/driver/login"), ("POST", "/api/v1/driver/login/code"),
    ("GET", "/api/v1/staff/login"), ("GET", "/api/v1/staff/callback"),
    ("POST", "/api/v1/provider/{provider}/webhook"),
}  # fmt: skip
STREAMS = {("GET", "/api/v1/operator/events")}


def routes_of() -> list[tuple[str, str, Needs | None]]:
    found = []
    for actor, router, _ in ROUTERS:
        whole = [one.dependency for one in router.dependencies]
        for route in router.routes:
            assert isinstance(route, APIRoute)
            calls = [one.call for one in _all(route.dependant)] + whole
            needs = next((one for one in calls if isinstance(one, Needs)), None)
            found += [(method, f"/api/v1/{actor}{route.path}", needs) for method in sorted(route.methods)]
    return found


def _all(dependant: Dependant) -> Iterator[Dependant]:
    for one in dependant.dependencies:
        yield one
        yield from _all(one)


ROUTES = routes_of()
GUARDED = [(method, path, needs) for method, path, needs in ROUTES if needs is not None]
SECRET = [(m, p) for m, p, needs in ROUTES if needs is None and "{booking_id}" in p and p.startswith("/api/v1/driver/")]


def test_every_route_says_who_may_call_it() -> None:
    silent = {(m, p) for m, p, needs in ROUTES if needs is None} - PUBLIC - set(SECRET)
    assert silent == set()
    described = create_app(None).openapi()["paths"]
    assert {(m, p) for m, p, _ in ROUTES} == {(m.upper(), p) for p, methods in described.items() for m in methods}
    assert len(GUARDED) >= 25
    assert len(SECRET) >= 8


def path_of(path: str, garage_id: str = "nl-test", organisation_id: str = "org_a") -> str:
    known = {"garage_id": garage_id, "organisation_id": organisation_id}
    return re.sub(r"{(\w+)}", lambda found: known.get(found[1], "1"), path)


async def town(world: World) -> None:
    await world.garage()
    await world.garage("nl-other")
    await owner(world, "nl-test")
    await owner(world, "nl-other", name="org_b")
    for name, kind in (("org_p", "partner"), ("org_o", "operator")):
        from parkube.parking.domain.people import Organisation
        from parkube.parking.services import payouts

        made = Organisation(name, kind, "Sellers", "", "NL", "", "", world.clock.now)
        await payouts.put_organisation(world.platform, made)


def places(role: Role, ours: bool) -> list[tuple[str | None, str | None]]:
    """Where somebody of this role can be: ours is what the path names."""
    if role in (Role.OWNER, Role.OWNER_STAFF):
        return [("org_a", None), (None, "nl-test")] if ours else [("org_b", None), (None, "nl-other")]
    if role is Role.PARTNER:
        return [("org_p", None)]
    if role in (Role.OPERATOR, Role.SUPPORT):
        return [(None, None)] if ours else [("org_b", None), (None, "nl-other")]
    return [(None, None)]


async def test_every_route_is_closed_to_every_wrong_role_and_open_to_the_right_one(world: World) -> None:
    await town(world)
    callers: list[tuple[str, tuple[Membership, ...], str]] = []
    for role in Role:
        for ours in (True, False):
            for organisation_id, garage_id in places(role, ours):
                name = f"{role}.{organisation_id}.{garage_id}".lower()
                given = None if role is Role.DRIVER else role
                token = await world.token_of(f"{name}@example.org", given, organisation_id, garage_id)
                known = await people.caller_of(world.platform, token)
                callers.append((name, known.memberships, token))
    tried = 0
    for method, path, needs in GUARDED:
        for name, memberships, token in callers:
            if needs.place == "any":
                allowed = any(needs.right in TABLE[one.role] for one in memberships)
            else:
                garage_id = "nl-test" if needs.place == "garage" else None
                organisation_id = "org_a" if needs.place in ("garage", "organisation") else None
                allowed = may(memberships, needs.right, garage_id, organisation_id)
            if allowed and ((method, path) in STREAMS or "logout" in path or (method, path[-3:]) == ("DELETE", "/me")):
                continue
            headers = {"Authorization": f"Bearer {token}"}
            answer = await world.http.request(method, path_of(path), headers=headers)
            tried += 1
            if allowed:
                assert answer.status_code not in (401, 403), (method, path, name, answer.text)
            else:
                problem(answer, 403, "forbidden")
    assert tried > 300


async def test_no_route_opens_to_a_token_of_another_kind(world: World, garage: FakeGarage) -> None:
    await owner(world, "nl-test")
    booking = await world.book()
    link = await fleet.new_token(world.platform, "nl-test")
    expired = await world.token_of("late@example.org", Role.OPERATOR)
    world.clock.forward(days=2)
    for method, path, _ in GUARDED:
        problem(await world.http.request(method, path_of(path)), 401, "no_token")
        for token in (booking["secret"], link, expired, "at_guessed", "operator-token2", "é"):
            answer = await world.http.request(
                method, path_of(path), headers={"Authorization": f"Bearer {token}".encode()}
            )
            problem(answer, 401, "denied")


async def test_a_booking_opens_to_its_secret_and_its_driver_and_to_nobody_else(
    world: World, garage: FakeGarage
) -> None:
    await owner(world, "nl-test")
    mine = {"Authorization": f"Bearer {await world.token_of('me@example.org')}"}
    quote = await world.quote()
    booking = ok(await world.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]}, headers=mine), 201)
    other = await world.book()
    strangers = [
        other["secret"],
        await world.token_of("you@example.org"),
        await world.token_of("owner@example.org", Role.OWNER, "org_a"),
        "operator-token",
    ]
    for method, path in SECRET:
        place = path.replace("{booking_id}", booking["id"]).replace("{number}", "1")
        body = {} if method in ("POST", "PATCH", "PUT") else None
        if "/invoice" in path:
            body = {"name": "A", "address": "B"}
        if "/open" in path:
            body = {"gate": "entry"}
        if method == "PATCH":
            body = {"plate": "12-AB-34"}
        if "/credentials" in path:
            body = {"kind": "pin"}
        if "/guarantee" in path:
            body = {"wish": "money"}
        for token in strangers:
            answer = await world.http.request(method, place, json=body, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401, (method, path, answer.text)
        assert (await world.http.request(method, place, json=body)).status_code == 401, (method, path)
    assert ok(await world.http.get(f"/api/v1/driver/bookings/{booking['id']}", headers=mine))["id"] == booking["id"]
    listed = ok(await world.http.get("/api/v1/driver/me/bookings", headers=mine))
    assert [row["id"] for row in listed["items"]] == [booking["id"]]


async def test_an_owner_reaches_no_booking_through_a_garage_it_is_not_in(world: World, garage: FakeGarage) -> None:
    await town(world)
    theirs = await stay(world, garage)
    token = await world.token_of("b@example.org", Role.OWNER, "org_b")
    headers = {"Authorization": f"Bearer {token}"}
    path = f"/api/v1/owner/garages/nl-other/bookings/{theirs['id']}"
    body = {"amount_cents": 100, "reason": "mine now"}
    problem(await world.http.post(path + "/refunds", json=body, headers=headers), 404, "not_found")
    less = {"amount_cents": 1, "text": "x", "reference": "x"}
    problem(await world.http.post(path + "/discounts", json=less, headers=headers), 404, "not_found")
    problem(await world.http.get("/api/v1/owner/organisations/org_b/payouts/1", headers=headers), 404, "not_found")
    seen = ok(await world.http.get("/api/v1/owner/garages", headers=headers))["items"]
    assert [row["id"] for row in seen] == ["nl-other"]


async def test_staff_are_taken_on_and_let_go_within_their_organisation_alone(world: World) -> None:
    await town(world)
    boss = {"Authorization": f"Bearer {await world.token_of('a@example.org', Role.OWNER, 'org_a')}"}
    theirs = await people.give_role(world.platform, "theirs@example.org", Role.OWNER_STAFF, "org_b", None)
    staff = "/api/v1/owner/organisations/org_a/staff"
    asked = {"email": "Guard@Example.org", "role": "owner_staff", "garage_id": "nl-test"}
    member = ok(await world.http.post(staff, json=asked, headers=boss), 201)
    assert ok(await world.http.post(staff, json=asked, headers=boss), 201)["id"] == member["id"]
    problem(await world.http.post(staff, json=asked | {"garage_id": "nl-other"}, headers=boss), 403, "forbidden")
    problem(await world.http.delete(f"{staff}/{theirs.id}", headers=boss), 404, "not_found")
    assert {row["email"] for row in ok(await world.http.get(staff, headers=boss))["items"]} == {
        "a@example.org", "guard@example.org",
    }  # fmt: skip
    guard = {"Authorization": f"Bearer {await world.token_of('guard@example.org')}"}
    ok(await world.http.get("/api/v1/owner/garages/nl-test/bookings", headers=guard))
    assert (await world.http.delete(f"{staff}/{member['id']}", headers=boss)).status_code == 204
    problem(await world.http.get("/api/v1/owner/garages/nl-test/bookings", headers=guard), 403, "forbidden")


def test_the_table_names_every_role_and_no_right_is_nobodys() -> None:
    assert set(TABLE) == set(Role)
    assert {right for rights in TABLE.values() for right in rights} == set(Right)
    assert not may([Membership(Role.OWNER)], Right.SEE_GARAGE, "nl-test", "org_a")
    assert not may([Membership(Role.OPERATOR, "org_a")], Right.RUN_FLEET)


@pytest.mark.parametrize("role", [Role.OWNER, Role.OWNER_STAFF, Role.PARTNER, Role.DRIVER])
async def test_a_role_that_is_somewhere_is_not_given_everywhere(world: World, role: Role) -> None:
    from parkube.parking.domain.errors import Invalid

    with pytest.raises(Invalid):
        await people.give_role(world.platform, "x@example.org", role, None, None)
