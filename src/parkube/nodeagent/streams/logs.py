"""Reads a container's log in the CRI's format: `<RFC 3339 time> stdout|stderr F|P <text>`; P: the line goes on.

Follows by looking again a few times a second, only while somebody follows. Source: Kubernetes CRI logging format.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_BLOCK = 64 * 1024
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class LogOptions:
    """As the API's `PodLogOptions`. `since`: seconds since the epoch; `tail`, `limit_bytes`: -1 for all."""

    follow: bool = False
    timestamps: bool = False
    since: float = 0.0
    tail: int = -1
    limit_bytes: int = -1
    stream: str = ""  # stdout, stderr; empty: both


async def read_log(
    path: Path, options: LogOptions, running: Callable[[], Awaitable[bool]], sleep: Callable[[float], Awaitable[None]]
) -> AsyncGenerator[bytes, None]:
    """The log's text in chunks; ends at the file's end, or, when following, once the container has ended too."""
    descriptor = _open(path)
    left = options.limit_bytes
    rest = b""
    last_look = False
    successor: int | None = None  # the file that took this one's place, which is read to its end first
    try:
        if descriptor is not None and options.tail >= 0:
            os.lseek(descriptor, tail_offset(descriptor, options.tail), os.SEEK_SET)
        while left:
            data = os.read(descriptor, _BLOCK) if descriptor is not None else b""
            if data:
                lines = (rest + data).split(b"\n")
                rest = lines.pop()
                chunk = b"".join(format_line(line, options) for line in lines)
                if left > 0:
                    chunk = chunk[:left]
                    left -= len(chunk)
                if chunk:
                    yield chunk
                continue
            if successor is not None:
                if descriptor is not None:
                    os.close(descriptor)
                descriptor, successor, rest = successor, None, b""
                continue
            successor = _renewed(path, descriptor)
            if successor is not None:
                continue
            if not options.follow or last_look:
                return
            # Once more after it was found ended: what it wrote last must not be lost.
            last_look = not await running()
            if not last_look:
                await sleep(_LOOK_S)
    finally:
        for opened in (descriptor, successor):
            if opened is not None:
                os.close(opened)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None


def _renewed(path: Path, descriptor: int | None) -> int | None:
    """A descriptor of the file now at `path`, when that is another one than before."""
    if descriptor is None:
        return _open(path)
    try:
        there, here = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return None
    return _open(path) if there.st_ino != here.st_ino else None


def format_line(line: bytes, options: LogOptions) -> bytes:
    """One line of the file as the client is to see it; empty when it is not to."""
    parts = line.split(b" ", 3)
    if len(parts) < 3:
        return b""
    text = parts[3] if len(parts) == 4 else b""
    if options.stream and parts[1].decode("latin-1") != options.stream:
        return b""
    if options.since and _time(parts[0]) < options.since:
        return b""
    end = b"" if parts[2].split(b":")[0] == b"P" else b"\n"
    return b"%b %b%b" % (parts[0], text, end) if options.timestamps else text + end


def _time(text: bytes) -> float:
    try:
        return datetime.fromisoformat(text.decode("latin-1")).timestamp()
    except ValueError:
        return 0.0


def tail_offset(descriptor: int, lines: int) -> int:
    """Where the last `lines` lines of the file begin."""
    end = os.fstat(descriptor).st_size
    position, found = end, 0
    while position > 0:
        start = max(0, position - _BLOCK)
        block = os.pread(descriptor, position - start, start)
        at = len(block)
        if position == end and block.endswith(b"\n"):
            at -= 1  # the end of the last line begins no further one
        if lines == 0:
            return end
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            found += 1
            if found == lines:
                return start + at + 1
        position = start
    return 0
