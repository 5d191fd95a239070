"""One probe, asked once: exec, HTTP, TCP or gRPC. What follows from the answer is `judge`'s.

Source: Kubernetes documentation, "Configure Liveness, Readiness and Startup Probes"; gRPC health checking protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import urljoin, urlsplit

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.runtime.cri.wire import Codec
from parkube.nodeagent.runtime.port import ExecResult, RuntimeFault

_MAX_BODY = 10 * 1024
_MAX_REDIRECTS, _REDIRECTS = 10, (301, 302, 303, 307, 308)
_HEALTH = Codec({"Request": "service=1:string", "Response": "status=1:int"})


class Outcome(NamedTuple):
    """Whether it went well, and kubelet's words for what did not."""

    ok: bool
    message: str = ""
    warning: str = ""  # what to tell of one that went well


class Target(NamedTuple):
    """The container to ask."""

    ip: str
    ports: dict[str, int]  # by name
    run: Callable[[Sequence[str], float], Awaitable[ExecResult]]


def port_number(value: Any, ports: dict[str, int]) -> int:
    """A port by number or name; `KeyError` when there is no such name."""
    if isinstance(value, int):
        return value
    return int(value) if str(value).isdigit() else ports[str(value)]


async def check(probe: Obj, target: Target) -> Outcome:
    """Ask once, within `timeoutSeconds`."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        if "exec" in probe:
            return await _exec(probe["exec"].get("command") or (), target, timeout)
        async with asyncio.timeout(timeout):
            if "httpGet" in probe:
                return await _http(probe["httpGet"], target)
            if "tcpSocket" in probe:
                return await _tcp(probe["tcpSocket"], target)
            if "grpc" in probe:
                return await _grpc(probe["grpc"], target)
    except KeyError as error:
        return Outcome(False, f"couldn't find port: {error.args[0]}")
    except TimeoutError:
        return Outcome(False, "context deadline exceeded")
    except (OSError, RuntimeFault, ssl.SSLError, ValueError, asyncio.IncompleteReadError) as error:
        return Outcome(False, str(error) or type(error).__name__)
    return Outcome(True)


async def _exec(command: Sequence[str], target: Target, timeout: float) -> Outcome:
    try:
        result = await target.run(command, timeout)
    except TimeoutError:
        return Outcome(False, f"command timed out: {' '.join(command)!r} timed out after {timeout:g}s")
    output = (result.stdout + result.stderr)[:_MAX_BODY].decode("utf-8", "replace")
    return Outcome(result.exit_code == 0, output)


async def _tcp(handler: Obj, target: Target) -> Outcome:
    host, port = handler.get("host") or target.ip, port_number(handler["port"], target.ports)
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: {_words(error)}")
    writer.close()
    return Outcome(True)


def _words(error: OSError) -> str:
    text = error.strerror or str(error)
    return "connect: connection refused" if "Connect call failed" in text or error.errno == 111 else text.lower()


class _Answer(NamedTuple):
    status: int
    location: str
    body: bytes


async def http_get(handler: Obj, target: Target) -> tuple[int, bytes]:
    """Status and the beginning of the body of one GET; certificates are not checked, as kubelet does not."""
    answer = await _get(_url(handler, target), handler)
    return answer.status, answer.body


def _url(handler: Obj, target: Target) -> str:
    scheme, path = str(handler.get("scheme") or "HTTP").lower(), str(handler.get("path") or "/")
    host, port = str(handler.get("host") or target.ip), port_number(handler["port"], target.ports)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path if path.startswith('/') else '/' + path}"


async def _get(url: str, handler: Obj) -> _Answer:
    parts = urlsplit(url)
    context = None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = parts.port or (443 if context else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=_MAX_BODY * 2)
    try:
        headers = {"Host": parts.netloc, "User-Agent": "kube-probe/1.36", "Accept": "*/*", "Connection": "close"}
        for header in handler.get("httpHeaders") or ():
            headers[str(header["name"]).title()] = str(header["value"])
        path = parts.path or "/"
        lines = [f"GET {path}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        words = (await reader.readline()).split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            raise ValueError("malformed HTTP response")
        location = ""
        while (line := await reader.readline()).strip():
            name, _, value = line.decode("latin-1").partition(":")
            if name.lower() == "location":
                location = value.strip()
        return _Answer(int(words[1]), location, await reader.read(_MAX_BODY))
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


async def _http(handler: Obj, target: Target) -> Outcome:
    """A redirect is followed on the same host; one that leads elsewhere counts as well, and is warned of."""
    first = url = _url(handler, target)
    for _ in range(_MAX_REDIRECTS):
        try:
            answer = await _get(url, handler)
        except OSError as error:
            return Outcome(False, f'Get "{url}": dial tcp {urlsplit(url).netloc}: {_words(error)}')
        if answer.status not in _REDIRECTS or not answer.location:
            break
        url = urljoin(url, answer.location)
        if urlsplit(url).hostname != urlsplit(first).hostname:
            break
    else:
        return Outcome(False, f'Get "{url}": stopped after {_MAX_REDIRECTS} redirects')
    if 300 <= answer.status < 400:
        text = answer.body.decode("utf-8", "replace")
        return Outcome(True, warning=f"Probe terminated redirects, Response body: {text}")
    if 200 <= answer.status < 300:
        return Outcome(True)
    return Outcome(False, f"HTTP probe failed with statuscode: {answer.status}")


class _HealthCodec:
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return _HEALTH.encode(message_type, message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return _HEALTH.decode(message_type, data)


async def _grpc(handler: Obj, target: Target) -> Outcome:
    from grpclib.client import Channel, UnaryUnaryMethod
    from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

    port = port_number(handler["port"], target.ports)
    channel = Channel(target.ip, port, codec=cast(Any, _HealthCodec()))
    try:
        method: Any = UnaryUnaryMethod(
            channel, "/grpc.health.v1.Health/Check", cast(Any, "Request"), cast(Any, "Response")
        )
        reply = await method({"service": handler.get("service") or ""})
    except (GRPCError, ProtocolError, StreamTerminatedError) as error:
        return Outcome(False, f"error: health rpc probe failed: {error}")
    except OSError as error:
        return Outcome(False, f'timeout: failed to connect service "{target.ip}:{port}": {_words(error)}')
    finally:
        channel.close()
    if reply.get("status") == 1:
        return Outcome(True)
    return Outcome(False, f'service unhealthy (responded with "{_grpc_status(reply.get("status", 0))}")')


def _grpc_status(number: int) -> str:
    return {0: "UNKNOWN", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}.get(number, str(number))
