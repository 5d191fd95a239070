"""Puts a platform together from its settings: database, signer, payments, clock, cluster."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fastapi import FastAPI

from parkube.parking.adapters.database import SqlDatabase, open_database
from parkube.parking.adapters.database.engine import DEFAULT_URL
from parkube.parking.adapters.signing import load_signer
from parkube.parking.api.app import create_app
from parkube.parking.main import providers
from parkube.parking.services import keeping, privacy
from parkube.parking.services.platform import Platform

_log = logging.getLogger(__name__)
TICK_S, REFRESH_S, FORGET_S = 60.0, 5.0, 3600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the platform keeps its records, listens, and finds its pages."""

    database_url: str = DEFAULT_URL
    listen: str = "127.0.0.1:8080"
    web_dir: Path | None = None
    operator_token: str | None = None


def now() -> datetime:
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """120 random bits in lower-case letters and digits, after the prefix."""
    digits = "0123456789abcdefghjkmnpqrstvwxyz"
    text = "".join([digits[byte & 31] for byte in secrets.token_bytes(24)])
    return f"{prefix}_{text}" if prefix else text


async def open_platform(database: SqlDatabase, clock: Callable[[], datetime] = now) -> Platform:
    """A platform on a database, whose schema is brought up to date and whose garages are in the index."""
    await database.upgrade()
    payments = providers.configured(os.environ, database, clock, new_id)
    platform = Platform(
        database=database,
        signer=await load_signer(database),
        payments=payments[0],
        clock=clock,
        new_id=new_id,
        earlier=payments[1:],
        mail=providers.mail(os.environ),
        issuer=providers.issuer(os.environ),
    )
    await keeping.load(platform)
    return platform


@asynccontextmanager
async def running(platform: Platform) -> AsyncIterator[None]:
    """What goes on beside the requests: the minute's tick, and the cluster where there is one."""
    tasks = [asyncio.create_task(_ticking(platform))]
    if _cluster_in_reach():
        # Only where there is one: the client library is a tenth of the platform's memory.
        from parkube.parking.adapters.kubernetes import KubernetesCluster

        cluster = KubernetesCluster(platform.live)
        platform.cluster = cluster
        tasks.append(asyncio.create_task(cluster.run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def create(settings: Settings) -> FastAPI:
    """The application for a web server; the platform is put together when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = open_database(settings.database_url)
        try:
            platform = app.state.platform = await open_platform(database)
            # Thousands of garages that never change: the collector need not walk them while a driver waits.
            gc.collect()
            gc.freeze()
            async with running(platform):
                _log.info("%d garages, database %s", len(platform.index), _without_password(settings.database_url))
                yield
            platform.live.close()
        finally:
            await database.close()

    every = providers.every_call(os.environ)
    return create_app(
        None, operator_token=settings.operator_token, web_dir=settings.web_dir, every=every, lifespan=lifespan
    )


def add_database_option(parser: ArgumentParser) -> None:
    """--database-url, as every subcommand with a database has it."""
    default = os.environ.get("PARKUBE_DATABASE_URL", DEFAULT_URL)
    parser.add_argument(
        "--database-url", default=default, help="sqlite:///file or postgresql://user@host/name [$PARKUBE_DATABASE_URL]"
    )


def settings_of(options: Namespace) -> Settings:
    """Settings from the command line and the environment."""
    web_dir = options.web_dir or os.environ.get("PARKUBE_WEB_DIR")
    return Settings(
        database_url=options.database_url,
        listen=options.listen,
        web_dir=Path(web_dir) if web_dir else _built_pages(),
        operator_token=os.environ.get("PARKUBE_OPERATOR_TOKEN") or None,
    )


async def _ticking(platform: Platform) -> None:
    loop = asyncio.get_running_loop()
    due = forgets = loop.time()
    while True:
        try:
            await keeping.refresh(platform)
            if loop.time() >= due:
                due = loop.time() + TICK_S
                await keeping.tick(platform)
            if loop.time() >= forgets:
                forgets = loop.time() + FORGET_S
                await privacy.obey(platform)
        except Exception:
            _log.exception("the platform's own work failed, it is tried again")
        await asyncio.sleep(REFRESH_S)


def _cluster_in_reach() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST") or os.environ.get("KUBECONFIG"))


def _built_pages() -> Path | None:
    # In a source tree the pages are built beside the package.
    beside = Path(__file__).resolve().parents[4] / "web" / "dist"
    return beside if beside.is_dir() else None


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.rpartition(':')[0]}:***@{tail}" if at and head.count(":") > 1 else url
