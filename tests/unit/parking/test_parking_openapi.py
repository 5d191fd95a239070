"""The OpenAPI document and the application say the same: requests made up from it get the answers it describes.

For each operation schemathesis makes valid and invalid requests, shown by who may make them and about what is there;
none may be answered by a 500, by a status or a media type that is not described, or by a body of another shape.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from parkube.parking.adapters.database import open_database
from parkube.parking.api.app import create_app
from parkube.parking.domain.people import Organisation
from parkube.parking.domain.rights import Role
from parkube.parking.services import payouts, people
from tests.fakes.parking import OPERATOR, Letters, World, ok
from tests.fakes.providers import serving
from tests.unit.parking.test_parking_money import owner

STREAMS: Final = "/events"
EXAMPLES: Final = 10
ACTORS: Final = ("driver", "guest", "owner", "owner_staff", "operator", "support", "partner")
OF: Final = {
    "driver": {"driver"}, "guest": {"driver"}, "owner": {"owner"}, "owner_staff": {"owner"}, "support": {"owner"},
    "operator": {"operator", "owner", "provider", "staff"}, "partner": {"partner"},
}  # fmt: skip
"""Whose operations each actor calls, by tag. Each calls those of others too in the tests of rights."""

DOCUMENT: Any = create_app(None, operator_token="operator-token").openapi()
REFUSED: Final = ["400", "401", "403", "404", "405", "409", "412", "413", "415", "422", "428", "429"]
"""How bad input may be refused: 413 is for what is far too long. Never by a fault of the platform's own."""
CHECKS: Final = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}})
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=CHECKS).exclude(path_regex=f"{STREAMS}$")


@dataclass
class Place:
    """A platform over real HTTP: what its callers show, and what is there to be named in a path."""

    url: str
    tokens: dict[str, str] = field(default_factory=dict)
    bookings: dict[str, str] = field(default_factory=dict)

    def named(self, actor: str, parameters: dict[str, Any]) -> None:
        """Puts what is there into a path, where the path names such a thing."""
        there = {"garage_id": "nl-test", "organisation_id": "org_p" if actor == "partner" else "org_a"}
        there["booking_id"] = self.bookings.get(actor, self.bookings["driver"])
        parameters.update({name: value for name, value in there.items() if name in parameters})


async def prepare(world: World) -> Place:
    """A garage with an owner, a driver's and a guest's booking, a partner, and a token of each actor."""
    made = Place("")
    world.platform.mail = Letters()
    await world.garage(capacity=1000)
    await owner(world, "nl-test")
    partner = Organisation("org_p", "partner", "Sellers", "", "NL", "", "", world.clock.now)
    await payouts.put_organisation(world.platform, partner)
    made.tokens = {
        "driver": await world.token_of("driver@example.org"),
        "owner": await world.token_of("owner@example.org", Role.OWNER, "org_a"),
        "owner_staff": await world.token_of("staff@example.org", Role.OWNER_STAFF, "org_a"),
        "operator": OPERATOR["Authorization"].removeprefix("Bearer "),
        "support": await world.token_of("support@example.org", Role.SUPPORT),
        "partner": await people.new_key(world.platform, "org_p", "test"),
    }
    headers = {"Authorization": f"Bearer {made.tokens['driver']}"}
    quote = await world.quote()
    mine = await world.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]}, headers=headers)
    guests = await world.book()
    made.bookings = {"driver": ok(mine, 201)["id"], "guest": guests["id"]}
    made.tokens["guest"] = guests["secret"]
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    path = tmp_path_factory.mktemp("openapi") / "platform.sqlite"
    loop = asyncio.new_event_loop()
    database = open_database(f"sqlite:///{path}")

    async def opened() -> tuple[World, Place]:
        await database.upgrade()
        world = await World.open(database)
        made = await prepare(world)
        await world.http.aclose()
        return world, made

    world, made = loop.run_until_complete(opened())
    with serving(world.app) as made.url:
        yield made
    loop.run_until_complete(database.close())
    loop.close()
    shutil.rmtree(path.parent, ignore_errors=True)


@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_operation_answers_each_of_its_actors_as_it_is_described(case: Any, place: Place) -> None:
    (tag,) = case.operation.definition.raw["tags"]
    ends = case.path.endswith("/logout") or (case.method, case.path[-3:]) == ("DELETE", "/me")
    for actor in ACTORS:
        if tag not in OF[actor]:
            continue
        if case.path_parameters and case.meta.generation.mode.is_positive:
            place.named(actor, case.path_parameters)
        # Who is logged out, or forgotten, is somebody else.
        case.headers["Authorization"] = f"Bearer {'at_another' if ends else place.tokens[actor]}"
        # What has the right shape can still be refused for what it says: a time that is over, an address that is none.
        # Who may not is asked of every route in the tests of rights: here each caller's token is good.
        unasked = [positive_data_acceptance, ignored_auth]
        case.call_and_validate(base_url=place.url, excluded_checks=unasked)


def test_every_operation_has_an_actor_here() -> None:
    tags = {tag for operations in DOCUMENT["paths"].values() for one in operations.values() for tag in one["tags"]}
    assert tags == set().union(*OF.values())
    assert set(OF) == set(ACTORS)


def test_the_document_is_openapi_3_1_and_refusals_are_problems(place: Place) -> None:
    document = httpx.get(place.url + "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["tags"], (method, path)
            refusal = operation["responses"]["4XX"]["content"]
            assert list(refusal) == ["application/problem+json"], (method, path)
