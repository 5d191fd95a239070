"""A read-only OCI registry over the image archives that lie in `server/images`. Pulls only; nothing is unpacked.

Source: OCI Distribution Specification 1.1, "Pull". The registry that an image's name begins with comes as `?ns=`, as
containerd sends it to mirrors.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

from parkube.controlplane.tunnel.answers import Answer, Ask, json_answer
from parkube.controlplane.tunnel.archives import Blob, Library

CHUNK = 256 * 1024
_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<what>manifests|blobs|tags)/(?P<reference>[^/]+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Mirror:
    """Serves `GET` and `HEAD` under `/v2/`."""

    def __init__(self, directory: Path) -> None:
        self._library = Library(directory)
        self._scanning = asyncio.Lock()

    async def handle(self, ask: Ask) -> Answer:
        """Answer one pull."""
        if ask.path in ("/v2", "/v2/"):
            return _registry(json_answer(200, {}))
        match = _PATH.fullmatch(ask.path)
        if match is None:
            return _fault(404, "UNSUPPORTED", "this registry only answers pulls")
        async with self._scanning:
            await asyncio.to_thread(self._library.refresh)
        name = f"{ask.query.get('ns') or 'docker.io'}/{match['name']}"
        reference = match["reference"]
        if match["what"] == "tags":
            tags = self._library.tags(name)
            return _registry(json_answer(200, {"name": match["name"], "tags": tags})) if tags else _unknown(name)
        if match["what"] == "manifests":
            found = self._library.manifest(name, reference)
            return _whole(*found, ask.method) if found else _unknown(f"{name}:{reference}")
        blob = self._library.blob(reference)
        if blob is None:
            return _fault(404, "BLOB_UNKNOWN", f"no blob {reference}")
        return await _streamed(blob, reference, ask)


def _registry(answer: Answer) -> Answer:
    answer.headers.append((b"Docker-Distribution-Api-Version", b"registry/2.0"))
    return answer


def _fault(status: int, code: str, message: str) -> Answer:
    return _registry(json_answer(status, {"errors": [{"code": code, "message": message}]}))


def _unknown(what: str) -> Answer:
    return _fault(404, "MANIFEST_UNKNOWN", f"{what} is in none of this server's images")


def _whole(content: bytes, media_type: str, digest: str, method: str) -> Answer:
    headers = [(b"Docker-Content-Digest", digest.encode()), (b"Docker-Distribution-Api-Version", b"registry/2.0")]
    return Answer(200, content, media_type.encode(), headers)


async def _streamed(blob: Blob, digest: str, ask: Ask) -> Answer:
    headers = [(b"Docker-Content-Digest", digest.encode()), (b"Accept-Ranges", b"bytes")]
    first, last, status = 0, blob.size - 1, 200
    wanted = _RANGE.fullmatch(ask.headers.get("range", ""))
    if wanted is not None:
        first = int(wanted[1])
        last = min(last, int(wanted[2])) if wanted[2] else last
        if first > last:
            return _fault(416, "RANGE_INVALID", f"the blob has {blob.size} bytes")
        status = 206
        headers.append((b"Content-Range", f"bytes {first}-{last}/{blob.size}".encode()))
    answer = Answer(status, b"", b"application/octet-stream", headers)
    size = last - first + 1
    if size <= CHUNK:
        answer.body = b"".join([chunk async for chunk in _read(blob.path, blob.offset + first, size)])
    elif ask.method == "GET":
        answer.chunks = _read(blob.path, blob.offset + first, size)
    return answer


async def _read(path: Path, offset: int, size: int) -> AsyncIterator[bytes]:
    descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY)
    try:
        while size:
            chunk = await asyncio.to_thread(os.pread, descriptor, min(size, CHUNK), offset)
            if not chunk:
                raise ConnectionResetError(f"{path} was cut short while it was read")
            offset, size = offset + len(chunk), size - len(chunk)
            yield chunk
    finally:
        os.close(descriptor)
