"""A relay board over Modbus TCP (pymodbus). Holds one connection to the board and makes it again when it breaks.

Source: MODBUS Application Protocol V1.1b3, functions 01 (Read Coils) and 05 (Write Single Coil).
"""

from __future__ import annotations

import asyncio

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from parkube.parking.gate.errors import DeviceError


class ModbusRelay:
    """One board at one address. `timeout_s` bounds each answer."""

    def __init__(self, address: str, port: int, unit: int, timeout_s: float = 1.0) -> None:
        self._where = f"{address}:{port}"
        self._unit = unit
        self._timeout_s = timeout_s
        self._client = AsyncModbusTcpClient(address, port=port, timeout=timeout_s, retries=0, reconnect_delay=0.2)
        self._lock = asyncio.Lock()
        self._releases: dict[int, asyncio.Task[None]] = {}  # by coil: only its last pulse ends it

    async def pulse(self, coil: int, pulse_ms: int) -> None:
        try:
            await self.write(coil, True)
        finally:
            # Also where no answer came: the board may have done it all the same.
            if (older := self._releases.get(coil)) is not None:
                older.cancel()
            self._releases[coil] = asyncio.create_task(self._release(coil, pulse_ms / 1000))

    async def write(self, coil: int, on: bool) -> None:
        answer = await self._ask(lambda: self._client.write_coil(coil, on, device_id=self._unit))
        if answer.isError():
            raise DeviceError(f"the relay board {self._where} refuses coil {coil}")

    async def read(self, coil: int) -> bool:
        answer = await self._ask(lambda: self._client.read_coils(coil, count=1, device_id=self._unit))
        if answer.isError() or not answer.bits:
            raise DeviceError(f"the relay board {self._where} does not know coil {coil}")
        return bool(answer.bits[0])

    async def close(self) -> None:
        if self._releases:
            await asyncio.wait(self._releases.values(), timeout=self._timeout_s)
        self._client.close()

    async def _release(self, coil: int, after_s: float) -> None:
        await asyncio.sleep(after_s)
        for _ in range(5):
            try:
                await self.write(coil, False)
            except DeviceError:
                await asyncio.sleep(0.5)
            else:
                return

    async def _ask(self, request: object) -> ModbusPDU:
        async with self._lock:
            try:
                async with asyncio.timeout(self._timeout_s):
                    if not self._client.connected and not await self._client.connect():
                        raise DeviceError(f"the relay board {self._where} does not answer")
                    answer: ModbusPDU = await request()  # type: ignore[operator]
                    return answer
            except (ModbusException, TimeoutError, OSError) as error:
                # A late answer must not be taken for the next one's: begin again on a fresh connection.
                self._client.close()
                raise DeviceError(f"the relay board {self._where} does not answer") from error
