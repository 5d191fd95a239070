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
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from parkube.parking.adapters.database import open_database
from parkube.parking.api import events
from parkube.parking.api.app import create_app
from parkube.parking.domain.people import Organisation
from parkube.parking.domain.rights import Role
from parkube.parking.services import payouts, people
from tests.fakes.parking import OPERATOR, Letters, World, ok
from tests.fakes.providers import serving
from tests.unit.parking.test_parking_money import owner

STREAMS: Final = "/events"
EXAMPLES: Final = 25
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
EVERYTHING = schemathesis.openapi.from_dict(DOCUMENT, config=CHECKS)
SCHEMA = EVERYTHING.exclude(path_regex=f"{STREAMS}$")
STREAMED = EVERYTHING.include(path_regex=f"{STREAMS}$")


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


made_up = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def called(case: Any, place: Place) -> Iterator[dict[str, str]]:
    """For each actor whose operation it is: the case made to name what is there, and the headers to send it with."""
    (tag,) = case.operation.definition.raw["tags"]
    ends = case.path.endswith("/logout") or (case.method, case.path[-3:]) == ("DELETE", "/me")
    for actor in ACTORS:
        if tag not in OF[actor]:
            continue
        if case.path_parameters and case.meta.generation.mode.is_positive:
            place.named(actor, case.path_parameters)
        # Who is logged out, or forgotten, is somebody else; a token beside headers made wrong would make them right.
        token = "at_another" if ends else place.tokens[actor]
        yield {} if case.meta.is_negative_at(ParameterLocation.HEADER) else {"Authorization": f"Bearer {token}"}


@SCHEMA.parametrize()
@made_up
def test_every_operation_answers_each_of_its_actors_as_it_is_described(case: Any, place: Place) -> None:
    for headers in called(case, place):
        # What has the right shape can still be refused for what it says: a time that is over, an address that is none.
        case.call_and_validate(base_url=place.url, headers=headers, excluded_checks=[positive_data_acceptance])


@STREAMED.parametrize()
@made_up
def test_every_stream_begins_as_it_is_described_or_is_refused_so(case: Any, place: Place) -> None:
    for headers in called(case, place):
        request = case.as_transport_kwargs(base_url=place.url, headers=headers)
        with requests.request(**request, stream=True, timeout=10) as answered:
            if answered.status_code == 200:
                # It has no end: what comes first tells that it is one.
                assert answered.headers["Content-Type"].startswith(events.MEDIA_TYPE)
                assert next(answered.iter_lines(chunk_size=1)) == b"retry: 2000"
            else:
                case.validate_response(answered)


def test_a_stream_is_described_as_one() -> None:
    for path, operations in DOCUMENT["paths"].items():
        described = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        assert (events.MEDIA_TYPE in described) == path.endswith(STREAMS), path


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
