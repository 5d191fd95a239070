"""The relay port's contract, on the simulated relay and on Modbus TCP against a real board process's server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from parkube.parking.gate.devices.modbus import ModbusRelay
from parkube.parking.gate.devices.port import Relay
from parkube.parking.gate.devices.simulated import SimulatedRelay
from parkube.parking.gate.errors import DeviceError
from parkube.parking.gate.relay_board import Board, modbus_server


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(params=["simulated", "modbus"])
async def relay(request: pytest.FixtureRequest) -> AsyncIterator[Relay]:
    if request.param == "simulated":
        simulated = SimulatedRelay()
        yield simulated
        await simulated.close()
        return
    board, port = Board(), free_port()
    server = modbus_server(board, "127.0.0.1", port)
    serving = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0)
    modbus = ModbusRelay("127.0.0.1", port, 1)
    for _ in range(50):
        try:
            await modbus.read(0)
            break
        except DeviceError:
            await asyncio.sleep(0.02)
    yield modbus
    await modbus.close()
    await server.shutdown()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_a_coil_is_set_and_read_back(relay: Relay) -> None:
    await relay.write(7, True)
    assert await relay.read(7) is True
    assert await relay.read(0) is False
    await relay.write(7, False)
    assert await relay.read(7) is False


async def test_a_pulse_answers_at_once_and_opens_the_coil_again(relay: Relay) -> None:
    await relay.pulse(0, 60)
    assert await relay.read(0) is True
    for _ in range(100):
        if not await relay.read(0):
            return
        await asyncio.sleep(0.01)
    pytest.fail("the coil stayed closed")


async def test_a_coil_that_is_not_there_is_said(relay: Relay) -> None:
    with pytest.raises(DeviceError):
        await relay.write(99, True)


async def test_a_board_that_is_not_there_is_said_in_time() -> None:
    relay = ModbusRelay("127.0.0.1", free_port(), 1, timeout_s=0.2)
    with pytest.raises(DeviceError, match="does not answer"):
        await relay.read(0)
    await relay.close()


async def test_a_second_pulse_while_the_first_runs_has_its_whole_length(relay: Relay) -> None:
    await relay.pulse(0, 60)
    await asyncio.sleep(0.03)
    await relay.pulse(0, 200)
    await asyncio.sleep(0.1)
    assert await relay.read(0) is True


async def test_a_board_that_answers_too_late_is_not_left_with_a_closed_coil() -> None:
    async def late(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(12):
            written.append(request[10])

    written: list[int] = []
    server = await asyncio.start_server(late, "127.0.0.1", 0)
    relay = ModbusRelay("127.0.0.1", server.sockets[0].getsockname()[1], 1, timeout_s=0.1)
    with pytest.raises(DeviceError):
        await relay.pulse(0, 10)
    async with asyncio.timeout(5):
        while written[:2] != [0xFF, 0]:
            await asyncio.sleep(0.01)
    await relay.close()
    server.close()
