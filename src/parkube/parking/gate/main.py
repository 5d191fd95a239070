"""`parkube parking gate`: puts a garage app together from its configuration and runs it until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from parkube.parking.domain.credentials import PLATE
from parkube.parking.gate.access import AccessList
from parkube.parking.gate.app import Garage
from parkube.parking.gate.camera import Camera, serve_camera
from parkube.parking.gate.config import Coil, GateConfig, load
from parkube.parking.gate.devices.modbus import ModbusRelay
from parkube.parking.gate.devices.port import OnCode, Relay, Scanner
from parkube.parking.gate.devices.scanner import TcpScanner
from parkube.parking.gate.errors import GateError
from parkube.parking.gate.health import serve_health
from parkube.parking.gate.journal import Journal
from parkube.parking.gate.lane import Lane
from parkube.parking.gate.link import Link, decode_keys
from parkube.parking.gate.timekeeping import Timekeeper

RELEASE_S = 1.5  # how long a start waits for boards that do not answer


def check_signature(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature (RFC 8032) is right."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def say(sentence: str) -> None:
    """One line of the container's log."""
    print(f"garage: {sentence}", flush=True)


def assemble(config: GateConfig) -> tuple[Garage, Link]:
    """The app and its link. Raises JournalError."""
    journal = Journal(config.data_dir / "journal.sqlite", lambda: keeper())
    keeper = Timekeeper(time.time, time.monotonic, float(journal.fact("clock_offset_s") or 0), journal.last_at)
    access = AccessList(config.data_dir / "access.sqlite")
    lane = Lane(config.garage, {g.name: g.direction for g in config.gates}, check_signature)
    lane.keys = decode_keys(json.loads(journal.fact("keys") or "{}"))
    boards: dict[tuple[str, int, int], Relay] = {}

    def board(coil: Coil) -> Relay:
        at = (coil.address, coil.port, coil.unit)
        return boards.setdefault(at, ModbusRelay(*at))

    relays = {gate.name: board(gate.relay) for gate in config.gates}
    scanners: dict[str, Scanner] = {
        g.name: TcpScanner(g.scanner.address, g.scanner.port) for g in config.gates if g.scanner
    }
    test_relay = board(config.test_coil) if config.test_coil else None
    garage = Garage(
        config, lane, journal, relays, test_relay, scanners, clock=keeper, access=access,
        time_known=lambda: keeper.trusted,
    )  # fmt: skip

    def told_time(now: float) -> bool:
        news = keeper.told(now)
        if news:
            journal.remember("clock_offset_s", str(keeper.offset_s))
            say(f"this machine's clock is wrong by {-keeper.offset_s:.0f} s, the platform's time is used")
        return news

    return garage, Link(garage, uuid.uuid4().hex, clock=keeper, log=say, told_time=told_time)


async def hold_gates(garage: Garage, every_s: float = 1.0) -> None:
    """Keeps the gates up while the garage is evacuated, and lets go of them afterwards, boards that come back too."""
    while True:
        await garage.hold()
        await asyncio.sleep(every_s)


async def serve(config: GateConfig) -> None:
    """Run until SIGTERM or SIGINT."""
    garage, link = assemble(config)
    garage.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def shown_at(gate: str) -> OnCode:
        async def on_code(code: str) -> tuple[bool, str]:
            ok, reason = await garage.scan(gate, code)
            say(f"gate {gate}: {'opened' if ok else 'refused: ' + reason}")
            return ok, reason

        return on_code

    releasing = asyncio.create_task(garage.release())
    await asyncio.wait([releasing], timeout=RELEASE_S)
    health = await serve_health(config.health_port, lambda: {"connected": link.connected, **garage.devices()})
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(hold_gates(garage))]
    cameras = await _cameras(config, garage)
    tasks += [asyncio.create_task(scanner.run(shown_at(gate))) for gate, scanner in garage.scanners.items()]
    say(f"{config.garage} is ready with {len(config.gates)} gates, platform {config.platform_url}")
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in tasks if task.done()]
    for task in [*tasks, waiting, releasing]:
        task.cancel()
    await asyncio.gather(*tasks, waiting, releasing, return_exceptions=True)
    health.close()
    if cameras is not None:
        cameras.close()
    for relay in garage.relays.values():
        await relay.close()
    garage.journal.close()
    for task in failed:
        task.result()


async def _cameras(config: GateConfig, garage: Garage) -> asyncio.Server | None:
    if not config.camera_port:
        return None

    async def on_plate(gate: str, plate: str) -> tuple[bool, str]:
        return await garage.present(gate, PLATE, plate)

    gates = frozenset(gate.name for gate in config.gates)
    return await serve_camera(config.camera_port, Camera(config.camera_token, gates, on_plate, time.monotonic))


def main(argv: Sequence[str]) -> int:
    """Entry point of `parkube parking gate`."""
    parser = argparse.ArgumentParser(prog="parkube parking gate", description="Run the garage app.")
    parser.add_argument(
        "--config", type=Path, default=Path("/etc/parkube/garage/garage.yaml"), help="YAML or JSON file"
    )
    options = parser.parse_args(argv)
    try:
        asyncio.run(serve(load(options.config, os.environ)))
    except GateError as error:
        print(f"parkube: {error}", file=sys.stderr)
        return 1
    return 0
