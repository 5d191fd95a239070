"""The agent's side of joining: check the server by the token's CA hash, prove the node's name, get a certificate.

A node that has joined starts without the server. One whose certificate ran out while it was off joins again with its
token, which is why the agent keeps being given one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import httptools
import orjson

from parkube.kubeapi.files import write_file
from parkube.kubeapi.jointoken import TokenError, ca_hash, parse
from parkube.nodeagent.join.errors import JoinError, Unreachable
from parkube.nodeagent.join.identity import (
    SERVER_NAME,
    Identity,
    certificate_fault,
    load,
    server_address,
    server_context,
    store,
    trusts,
)
from parkube.nodeagent.join.keys import new_key_and_csr

TIMEOUT_S = 15.0
_LIMIT = 1024 * 1024


async def join(
    *,
    server: str,
    token: str,
    node: str,
    tls_dir: Path,
    password_file: Path,
    clock: Callable[[], float] = time.time,
) -> Identity:
    """The node's identity: the one on disk, if it is this node's, of this token's cluster, and still good; else a new
    one from the server. Raises `JoinError` (one sentence); its `Unreachable` may be tried again."""
    host, port = server_address(server)
    digest, secret = _parse(token)
    kept = load(tls_dir)
    if kept is not None and (kept.node != node or (digest and not trusts(kept, digest))):
        kept = None
    if kept is not None and kept.valid(clock()):
        return kept
    if not secret:
        if kept is not None:
            raise JoinError(f'the certificate of node "{node}" has run out: start the agent with its --token once')
        raise JoinError("the agent needs a token to join: --token, from server/node-token on the server")
    ca_pem = await _checked_ca(host, port, digest)
    return await _ask(host, port, server_context(ca_pem.decode()), ca_pem, node, token, tls_dir, password_file, clock)


async def renew(
    identity: Identity, server: str, password_file: Path, token: str = "", clock: Callable[[], float] = time.time
) -> Identity:
    """A new certificate, by the one that still holds, else by the token. Raises `JoinError`."""
    host, port = server_address(server)
    ca_pem = identity.server_ca.read_bytes()
    context = identity.ssl_context() if identity.valid(clock()) else server_context(ca_pem.decode())
    return await _ask(host, port, context, ca_pem, identity.node, token, identity.directory, password_file, clock)


async def renew_when_due(
    identity: Identity,
    server: str,
    password_file: Path,
    use: Callable[[Identity], None],
    *,
    token: str = "",
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    rng: random.Random | None = None,
) -> None:
    """Look a few times a day; hand a renewed identity to `use`. Runs until cancelled."""
    spread = (rng or random.Random()).uniform
    while True:
        await sleep(spread(3 * 3600, 6 * 3600))
        if identity.due(clock()):
            try:
                identity = await renew(identity, server, password_file, token, clock)
            except JoinError:
                continue  # the server is away, or will not; the certificate has a third of its life left
            use(identity)


def _parse(token: str) -> tuple[str, str]:
    if not token.strip():
        return "", ""
    try:
        parts = parse(token)
    except TokenError as exc:
        raise JoinError(str(exc)) from exc
    if not parts.ca_hash:
        raise JoinError(
            "the token lacks the hash of the server's CA, or is cut: copy it whole from server/node-token on the server"
        )
    return parts.ca_hash, parts.secret


async def _checked_ca(host: str, port: int, digest: str) -> bytes:
    """The server's CA, which is nobody's until its hash is the token's. Nothing secret is sent here."""
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    answer = await _request(host, port, unverified, "GET", "/cacerts", {}, b"")
    if answer.status != 200:
        raise JoinError(f"what answers at https://{host}:{port} is no parkube server (it said {answer.status})")
    if ca_hash(answer.body) != digest:
        raise JoinError(
            f"the server at https://{host}:{port} is not the one that the token was made for: the hash of its CA is "
            "another; nothing was sent to it"
        )
    return answer.body


async def _ask(
    host: str,
    port: int,
    context: ssl.SSLContext,
    ca_pem: bytes,
    node: str,
    token: str,
    tls_dir: Path,
    password_file: Path,
    clock: Callable[[], float],
) -> Identity:
    pair = await new_key_and_csr(node)
    body = orjson.dumps({"node": node, "password": _password(password_file), "csr": pair.csr.decode()})
    headers = {"authorization": f"Bearer {token.strip()}"} if token.strip() else {}
    answer = await _request(host, port, context, "POST", "/v1-parkube/join", headers, body)
    if answer.status != 200:
        kind = Unreachable if answer.status >= 500 else JoinError
        raise kind(f"the server at https://{host}:{port} does not admit this node: {_message(answer)}")
    try:
        content = orjson.loads(answer.body)
        identity = Identity(node, tls_dir, clock(), float(content["expires"]), dict(content["settings"]))
        certificate = content["certificate"].encode()
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise JoinError(f"the answer of the server at https://{host}:{port} cannot be read: {exc!r}") from exc
    try:
        store(tls_dir, identity, pair.key, certificate, ca_pem)
    except OSError as exc:
        raise JoinError(f"the node's certificate cannot be kept in {tls_dir}: {exc.strerror}") from exc
    return identity


def _password(path: Path) -> str:
    """The node's password, made at the first join."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            mine = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            write_file(mine, secrets.token_hex(16).encode())
            with contextlib.suppress(FileExistsError):  # another agent of this machine was first
                os.link(mine, path)
            mine.unlink()
        return path.read_text().strip()
    except OSError as exc:
        raise JoinError(f"the node's password cannot be kept in {path}: {exc.strerror}") from exc


class _Answer(NamedTuple):
    status: int
    body: bytes


def _message(answer: _Answer) -> str:
    try:
        return str(orjson.loads(answer.body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"it answered {answer.status}"


async def _request(
    host: str, port: int, context: ssl.SSLContext, method: str, path: str, headers: dict[str, str], body: bytes
) -> _Answer:
    """One request over a connection of its own. Raises `JoinError` with what is wrong about the server."""
    where = f"https://{host}:{port}"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=SERVER_NAME)
            try:
                lines = [f"{method} {path} HTTP/1.1", f"host: {host}:{port}", "connection: close"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                writer.write("\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body)
                return await _read(reader)
            finally:
                writer.transport.abort()
    except ssl.SSLCertVerificationError as exc:
        raise JoinError(certificate_fault(exc, where)) from exc
    except ssl.SSLError as exc:
        raise JoinError(f"what answers at {where} is no parkube server: {exc.reason or exc}") from exc
    except TimeoutError as exc:
        raise Unreachable(f"the server at {where} cannot be reached: no answer in {TIMEOUT_S:.0f} s") from exc
    except OSError as exc:
        raise Unreachable(f"the server at {where} cannot be reached: {exc.strerror or exc}") from exc
    except httptools.HttpParserError as exc:
        raise JoinError(f"what answers at {where} is no parkube server: {exc}") from exc


async def _read(reader: asyncio.StreamReader) -> _Answer:
    parts: list[bytes] = []
    done = False

    class Sink:
        def on_body(self, chunk: bytes) -> None:
            parts.append(chunk)

        def on_message_complete(self) -> None:
            nonlocal done
            done = True

    parser = httptools.HttpResponseParser(Sink())
    size = 0
    while not done and size < _LIMIT:
        data = await reader.read(65536)
        if not data:
            break
        size += len(data)
        parser.feed_data(data)
    if not done:
        raise ConnectionResetError(os.strerror(104))
    return _Answer(parser.get_status_code(), b"".join(parts))
