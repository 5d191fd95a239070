"""`parkube parking relay-board`: a simulated gate controller for demos and tests, a process of its own.

It speaks what the hardware speaks: Modbus TCP for the coils, lines on TCP for the QR scanner. What a person does
to the hardware (show a code, look at the lamps, pull the plug) is done over HTTP. It knows no grants and no platform.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

COILS = 16
WRITE_SINGLE_COIL = 5
# ruff: noqa: E501
PAGE = """<!doctype html><meta charset="utf-8"><title>Relay board</title>
<style>body{font:16px system-ui;margin:2rem;max-width:40rem}i{display:inline-block;width:1.6rem;height:1.6rem;border-radius:50%;
background:#ccc;margin:.2rem;text-align:center;font-style:normal;font-size:.8rem;line-height:1.6rem}i.on{background:#1db954;color:#fff}</style>
<h1>Relay board</h1><div id="c"></div><h2>Show a code</h2><form id="f"><select name="gate"></select>
<input name="code" placeholder="PK1…" size="40"><button>Show</button></form><p id="a"></p><h2>Log</h2><pre id="l"></pre>
<script>
const q=s=>document.querySelector(s);let named=false;
async function look(){const b=await(await fetch('coils')).json();
q('#c').innerHTML=b.coils.map((on,n)=>`<i class="${on?'on':''}">${n}</i>`).join('');
if(!named){q('select').innerHTML=b.gates.map(g=>`<option>${g}</option>`).join('');named=true}
q('#l').textContent=b.log.slice(-15).reverse().map(e=>`${e.at} coil ${e.coil} ${e.on?'closed':'opened'}`).join('\\n')}
q('#f').onsubmit=async e=>{e.preventDefault();const d=Object.fromEntries(new FormData(e.target));
const r=await fetch('scan',{method:'POST',headers:{'content-type':'application/json'},body:JSON.stringify(d)});
q('#a').textContent=JSON.stringify(await r.json())};setInterval(look,300);look()</script>"""


class Board:
    """The state of the hardware: coils, their history, and which parts play dead."""

    def __init__(self) -> None:
        self.coils = [False] * COILS
        self.log: deque[dict[str, Any]] = deque(maxlen=1000)
        self.dead: dict[str, bool] = {"relay": False, "scanner": False}

    async def touched(
        self, function: int, _start: int, address: int, _count: int, _registers: list[int], values: Any
    ) -> ExcCodes | None:
        """What pymodbus calls for every access to the coils."""
        if self.dead["relay"]:
            return ExcCodes.DEVICE_FAILURE
        if function == WRITE_SINGLE_COIL and values is not None and 0 <= address < COILS:
            on = bool(values[0])
            self.coils[address] = on
            at = time.strftime("%H:%M:%S")
            self.log.append({"at": at, "unix": time.time(), "coil": address, "on": on})
            print(f"relay-board: {at} coil {address} {'closed' if on else 'opened'}", flush=True)
        return None


def modbus_server(board: Board, host: str, port: int) -> ModbusTcpServer:
    """The board's Modbus side: sixteen coils on unit 1."""
    bits = [SimData(0, count=COILS, values=False, datatype=DataType.BITS)]
    words = [SimData(0, count=COILS, values=0, datatype=DataType.REGISTERS)]
    return ModbusTcpServer(SimDevice(1, simdata=(bits, bits, words, words), action=board.touched), address=(host, port))


class ScannerHead:
    """The scanner of one gate: sends codes as lines to whoever is connected, and reads the answer."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._writer: asyncio.StreamWriter | None = None
        self._answer: asyncio.Future[str] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a garage app; a newer one takes over."""
        self._writer = writer
        try:
            while line := await reader.readline():
                text = line.decode(errors="replace").strip()
                if text == "PING":
                    if not self._board.dead["scanner"]:
                        writer.write(b"PONG\n")
                elif self._answer is not None and not self._answer.done():
                    self._answer.set_result(text)
        except (OSError, ValueError):
            pass
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None

    async def show(self, code: str) -> str:
        """A driver holds a code before the scanner; the app's answer, `OK` or `NO reason`."""
        if self._writer is None or self._board.dead["scanner"]:
            raise HTTPException(503, "no garage app is connected to this scanner")
        self._answer = asyncio.get_running_loop().create_future()
        self._writer.write(code.replace("\n", " ").encode() + b"\n")
        try:
            async with asyncio.timeout(5):
                return await self._answer
        except TimeoutError:
            raise HTTPException(504, "the garage app did not answer") from None


class Scan(BaseModel):
    """A code shown at a gate."""

    gate: str = "entry"
    code: str


def web(board: Board, heads: dict[str, ScannerHead]) -> FastAPI:
    """What a person can do to the board."""
    app = FastAPI(title="Relay board", docs_url=None, redoc_url=None)

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(PAGE)

    @app.get("/coils")
    def coils() -> dict[str, Any]:
        return {"coils": board.coils, "log": list(board.log), "dead": board.dead, "gates": list(heads)}

    @app.post("/scan")
    async def scan(body: Scan) -> dict[str, Any]:
        if body.gate not in heads:
            raise HTTPException(404, f"there is no scanner at {body.gate}")
        answer = await heads[body.gate].show(body.code)
        return {"ok": answer == "OK", "answer": answer}

    @app.post("/fail")
    def fail(body: dict[str, bool]) -> dict[str, bool]:
        board.dead.update({part: dead for part, dead in body.items() if part in board.dead})
        return board.dead

    return app


async def serve(host: str, modbus_port: int, scanner_port: int, http_port: int, gates: Sequence[str]) -> None:
    """Run until SIGTERM. The first gate's scanner listens on `scanner_port`, the next on the port after it."""
    board = Board()
    modbus = modbus_server(board, host, modbus_port)
    heads = {gate: ScannerHead(board) for gate in gates}
    scanners = [
        await asyncio.start_server(head.serve, host, scanner_port + number)
        for number, head in enumerate(heads.values())
    ]
    config = uvicorn.Config(web(board, heads), host=host, port=http_port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    tasks = [asyncio.create_task(modbus.serve_forever()), asyncio.create_task(server._serve())]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ports = ", ".join(f"scanner {gate} {scanner_port + n}" for n, gate in enumerate(heads))
    print(f"relay-board: Modbus {modbus_port}, {ports}, http://{host}:{http_port}/", flush=True)
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await modbus.shutdown()  # type: ignore[no-untyped-call]
    for listener in scanners:
        listener.close()
    for task in [waiting, *tasks]:
        task.cancel()
    await asyncio.gather(*tasks, waiting, return_exceptions=True)


def main(argv: Sequence[str]) -> int:
    """Entry point of `parkube parking relay-board`."""
    parser = argparse.ArgumentParser(prog="parkube parking relay-board", description="Simulate a gate controller.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--modbus-port", type=int, default=5020)
    parser.add_argument("--scanner-port", type=int, default=4001, help="of the first gate; the next gates follow")
    parser.add_argument("--http-port", type=int, default=8090)
    parser.add_argument("--gate", action="append", help="a gate with a scanner (default: entry and exit)")
    options = parser.parse_args(argv)
    gates = options.gate or ["entry", "exit"]
    try:
        asyncio.run(serve(options.host, options.modbus_port, options.scanner_port, options.http_port, gates))
    except OSError as error:
        print(f"parkube: the relay board cannot listen: {error}", file=sys.stderr)
        return 1
    return 0
