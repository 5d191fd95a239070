"""The OpenAPI document and the application say the same: requests made up from it get the answers it describes.

For each operation schemathesis makes valid and invalid requests; none may be answered by a 500, by a status or a media
type that is not described, or by a body of another shape.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from parkube.parking.adapters.database import open_database
from parkube.parking.api.app import create_app
from tests.fakes.parking import OPERATOR, Letters, World
from tests.fakes.providers import serving

STREAMS = "/events"
EXAMPLES = 12


DOCUMENT: Any = create_app(None, operator_token="operator-token").openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT).exclude(path_regex=f"{STREAMS}$")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A platform on SQLite, with a garage, an owner and a stay, over real HTTP."""
    path = tmp_path_factory.mktemp("openapi") / "platform.sqlite"
    loop = asyncio.new_event_loop()

    async def prepare() -> World:
        database = open_database(f"sqlite:///{path}")
        await database.upgrade()
        world = await World.open(database)
        world.platform.mail = Letters()
        await world.garage(capacity=1000)
        return world

    world = loop.run_until_complete(prepare())
    loop.run_until_complete(world.http.aclose())
    with serving(world.app) as url:
        yield url
    loop.run_until_complete(world.platform.database.close())  # type: ignore[attr-defined]
    loop.close()
    shutil.rmtree(path.parent, ignore_errors=True)


@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_operation_answers_as_it_is_described(case: Any, address: str) -> None:
    # What has the right shape can still be refused for what it says: a time that is over, an address that is none.
    case.call_and_validate(base_url=address, headers=OPERATOR, excluded_checks=[positive_data_acceptance])


def test_the_document_is_openapi_3_1_and_refusals_are_problems(address: str) -> None:
    document = httpx.get(address + "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["tags"], (method, path)
            refusal = operation["responses"]["4XX"]["content"]
            assert list(refusal) == ["application/problem+json"], (method, path)
