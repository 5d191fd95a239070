"""Staff come in through an issuer: who it says they are, checked; what they may, by their roles alone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from joserfc.jwk import RSAKey

from parkube.parking.adapters.oidc import OidcIssuer
from parkube.parking.domain.rights import Role
from parkube.parking.services import people
from tests.fakes.issuer import CLIENT, SECRET, FakeIssuer, come_back
from tests.fakes.parking import World, ok, problem
from tests.fakes.providers import serving
from tests.unit.parking.test_parking_money import owner


@pytest.fixture
async def issuer(world: World) -> AsyncIterator[FakeIssuer]:
    made = FakeIssuer()
    with serving(made.app) as url:
        made.url = url
        world.platform.issuer = OidcIssuer(url, CLIENT, SECRET, "https://park.example/api/v1/staff/callback")
        await world.garage()
        await owner(world, "nl-test")
        yield made


async def test_who_has_a_role_comes_in_and_stays_the_same_person(world: World, issuer: FakeIssuer) -> None:
    problem(await come_back(world.http, issuer), 401, "no_role")
    await people.give_role(world.platform, "Boss@example.org", Role.OWNER, "org_a", None)
    shown = ok(await come_back(world.http, issuer))
    headers = {"Authorization": f"Bearer {shown['token']}"}
    assert ok(await world.http.get("/api/v1/owner/garages", headers=headers))["items"][0]["id"] == "nl-test"
    # Another subject with the same address is somebody else; the same subject with another address is not.
    issuer.claims = issuer.claims | {"sub": "u2"}
    problem(await come_back(world.http, issuer), 401, "no_role")
    issuer.claims = {"sub": "u1", "email": "new@example.org", "email_verified": False}
    assert ok(await come_back(world.http, issuer))["person_id"] == shown["person_id"]
    world.clock.forward(hours=13)
    problem(await world.http.get("/api/v1/owner/garages", headers=headers), 401, "denied")


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"email_verified": False}, "no_role"),
        ({"aud": "another"}, "login_refused"),
        ({"iss": "https://evil.example"}, "login_refused"),
        ({"exp": int(time.time()) - 3600}, "login_refused"),
        ({"nonce": "replayed"}, "login_refused"),
    ],
)
async def test_what_the_issuer_did_not_say_of_this_login_is_refused(
    world: World, issuer: FakeIssuer, claims: dict[str, object], code: str
) -> None:
    await people.give_role(world.platform, "boss@example.org", Role.OWNER, "org_a", None)
    issuer.claims = issuer.claims | claims
    problem(await come_back(world.http, issuer), 401, code)


async def test_a_token_that_another_signed_is_refused(world: World, issuer: FakeIssuer) -> None:
    await people.give_role(world.platform, "boss@example.org", Role.OWNER, "org_a", None)
    issuer.signs_with = RSAKey.generate_key(2048, {"kid": "1"})
    problem(await come_back(world.http, issuer), 401, "login_refused")


async def test_a_login_is_finished_in_the_browser_that_began_it_and_once(world: World, issuer: FakeIssuer) -> None:
    await people.give_role(world.platform, "boss@example.org", Role.OWNER, "org_a", None)
    begun = await world.http.get("/api/v1/staff/login")
    assert begun.status_code == 303
    code, state = issuer.approve(begun.headers["location"])
    asked = {"code": code, "state": state}
    world.http.cookies.clear()
    problem(await world.http.get("/api/v1/staff/callback", params=asked), 401, "other_browser")
    cookie = {"Cookie": begun.headers["set-cookie"].split(";")[0]}
    ok(await world.http.get("/api/v1/staff/callback", params=asked, headers=cookie))
    again = await world.http.get("/api/v1/staff/callback", params=asked, headers=cookie)
    problem(again, 401, "login_refused")
    world.clock.forward(minutes=11)
    late = await world.http.get("/api/v1/staff/callback", params=asked, headers=cookie)
    problem(late, 401, "login_expired")


async def test_without_an_issuer_or_with_one_that_is_away_it_is_said(world: World) -> None:
    problem(await world.http.get("/api/v1/staff/login"), 503, "no_issuer")
    world.platform.issuer = OidcIssuer("http://127.0.0.1:1", CLIENT, SECRET, "https://park.example/")
    problem(await world.http.get("/api/v1/staff/login"), 503, "issuer_unavailable")
