"""`parkube parking platform`: the web server around the platform."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket

import uvicorn

from parkube.parking.adapters.database import open_database
from parkube.parking.domain.errors import Invalid, Unavailable
from parkube.parking.main import wiring


class _Server(uvicorn.Server):
    """Ends the event streams first: a server that waits for them to end by themselves waits for ever."""

    def handle_exit(self, sig: int, frame: object) -> None:
        platform = getattr(getattr(self.config.app, "state", None), "platform", None)
        if platform is not None:
            platform.live.close()
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def serve(argv: list[str]) -> int:
    """Runs the platform until it is told to stop."""
    parser = argparse.ArgumentParser(prog="parkube parking platform", description="Run the parking platform.")
    wiring.add_database_option(parser)
    parser.add_argument(
        "--listen",
        default=os.environ.get("PARKUBE_LISTEN", "127.0.0.1:8080"),
        help="host:port (default 127.0.0.1:8080) [$PARKUBE_LISTEN]",
    )
    parser.add_argument("--web-dir", default=None, help="where the built pages are [$PARKUBE_WEB_DIR]")
    settings = wiring.settings_of(parser.parse_args(argv))
    host, _, port = settings.listen.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) < 65536:
        raise Invalid(f"--listen {settings.listen} is not host:port")
    config = uvicorn.Config(
        wiring.create(settings),
        host=host.strip("[]") or "0.0.0.0",
        port=int(port),
        access_log=False,
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=1024 * 1024,
        ws_ping_interval=15,
        ws_ping_timeout=15,
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    server = _Server(config)
    asyncio.run(_prepare(settings.database_url))
    try:
        listener = socket.create_server(
            (config.host, config.port),
            family=socket.AF_INET6 if ":" in config.host else socket.AF_INET,
            backlog=config.backlog,
        )
    except OSError as error:
        raise Unavailable(f"the platform cannot listen on {settings.listen}") from error
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for library in ("alembic", "httpx2"):
        logging.getLogger(library).setLevel(logging.WARNING)
    print(f"parkube: the platform listens on http://{settings.listen}", flush=True)
    server.run(sockets=[listener])
    return 0 if server.started else 1


async def _prepare(database_url: str) -> None:
    # Here, and not when the server starts, so that a database that is away is one sentence.
    database = open_database(database_url)
    try:
        await database.upgrade()
    finally:
        await database.close()
