"""An API server on the memory store for those tests that speak to one, and a client's connection to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parkube.controlplane.main.assemble import Server
from parkube.controlplane.pki import Pki, ensure
from tests.fakes.apiserver import Line, serving


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return ensure(tmp_path_factory.mktemp("pki"), sans=["127.0.0.1"])


@pytest.fixture
async def server(pki: Pki, tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(pki, tmp_path) as made:
        yield made


@pytest.fixture
async def line(server: Server) -> Line:
    return Line(server)
