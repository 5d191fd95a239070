"""A platform in a process of its own, on a database of its own, that SIGKILL ends in the middle of its work.

    parent  -- {"dies_at": 3, "when": "after"} -->  this module, everything imported  -- fork -->  the platform
            <-- ready 4711 / dead -9 -------------

Forked from a process that has imported everything, a platform is there in a fraction of a second. It dies at its n-th
writing transaction, counted from its start: `before` the commit, or `after` it and before anything is answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from parkube.parking.adapters.database import SqlDatabase, open_database
from parkube.parking.api.app import create_app
from parkube.parking.main.wiring import open_platform
from parkube.parking.services import keeping

OPERATOR_TOKEN = "operator-token"


class FileClock:
    """Time that lies in a file, so that a test moves it for a platform in another process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    @property
    def seconds(self) -> float:
        return float(struct.unpack("d", os.pread(self._file, 8, 0))[0])

    @seconds.setter
    def seconds(self, value: float) -> None:
        os.pwrite(self._file, struct.pack("d", value), 0)

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


class Mortal:
    """A database whose process is killed around one of its commits."""

    def __init__(self, inside: SqlDatabase, dies_at: int, when: str) -> None:
        self.inside, self.dies_at, self.when = inside, dies_at, when
        self.upgrade, self.reading, self.close = inside.upgrade, inside.reading, inside.close
        self._commits = 0

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Any]:
        self._commits += 1
        mine = self._commits == self.dies_at
        async with self.inside.writing() as transaction:
            yield transaction
            if mine and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)


def platform(url: str, port: int, clock: FileClock, dies_at: int, when: str) -> None:
    """Serves until it is killed; `POST /tick` is the minute's own work."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = Mortal(open_database(url), dies_at, when)
        app.state.platform = await open_platform(database, clock)  # type: ignore[arg-type]
        yield

    app = create_app(None, operator_token=OPERATOR_TOKEN, lifespan=lifespan)

    @app.post("/tick", include_in_schema=False)
    async def tick() -> bool:
        await keeping.tick(app.state.platform)
        return True

    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="websockets-sansio", loop="asyncio")
    )

    async def serve() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.002)
        print(f"ready {os.getpid()}", flush=True)
        await serving

    asyncio.run(serve())


def main(url: str, port: str, clock: str) -> None:
    """Forks a platform for each line on stdin, and says when it has died."""
    for line in sys.stdin:
        wanted = json.loads(line)
        child = os.fork()
        if not child:
            platform(url, int(port), FileClock(Path(clock)), wanted["dies_at"], wanted["when"])
            os._exit(1)
        _pid, status = os.waitpid(child, 0)
        print(f"dead {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
