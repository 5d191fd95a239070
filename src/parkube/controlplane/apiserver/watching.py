"""WATCH: events of the registry onto a chunked answer, by callbacks alone: an idle watch holds no task.

A client that reads too slowly is cut off, never waited for.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

import orjson

from parkube.controlplane.apiserver.http import Request, Stream
from parkube.controlplane.apiserver.negotiation import Form
from parkube.controlplane.apiserver.params import watch_options
from parkube.controlplane.apiserver.protobuf import encode_event
from parkube.controlplane.apiserver.tables import Tabulator, columns_of, partial
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.watching import Subscription, WatchItem, failure
from parkube.kubeapi.errors import ApiError, Expired, Obj

log = logging.getLogger(__name__)

SLOW = 8 * 1024 * 1024  # bytes that may wait beyond what the first answer held
SHORTEST = 1800.0  # seconds a watch lasts at least when the client names no time, as the API does it
Encode = Callable[[Sequence[WatchItem]], bytes]


def lines(items: Sequence[WatchItem]) -> bytes:
    """The plain form: each event was encoded once for all who watch."""
    return items[0].line() if len(items) == 1 else b"".join([item.line() for item in items])


def frame(item: WatchItem) -> bytes:
    """One event in protobuf."""
    return encode_event(item.type, item.object())


def frames(items: Sequence[WatchItem]) -> bytes:
    """The form of typed clients: encoded once for all who watch, too."""
    return b"".join([item.once(frame) for item in items])


class Shaped:
    """Events as Tables or as partial metadata."""

    def __init__(self, row: Resource, form: Form, include: str) -> None:
        self._tables = Tabulator(columns_of(row), form.version, include) if form.kind == "Table" else None
        self._version, self._protobuf = form.version, form.protobuf
        self._first = True

    def __call__(self, items: Sequence[WatchItem]) -> bytes:
        """One line or frame an event."""
        if self._protobuf:
            return b"".join(encode_event(i.type, self._shape(i)) for i in items)
        return b"".join(orjson.dumps({"type": i.type, "object": self._shape(i)}) + b"\n" for i in items)

    def _shape(self, item: WatchItem) -> Obj:
        obj = item.object()
        if item.type == "ERROR":
            return obj
        if self._tables is None:
            return partial(obj, self._version)
        metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        bookmark = item.type == "BOOKMARK"
        if bookmark and obj["metadata"].get("annotations"):
            metadata["annotations"] = obj["metadata"]["annotations"]
        table = self._tables.table([] if bookmark else [obj], metadata, headers=self._first)
        self._first = False
        return table


class Watch:
    """One running watch."""

    __slots__ = ("_content_type", "_early", "_encode", "_limit", "_stream", "_subscription", "_timer")

    def __init__(self, encode: Encode, content_type: bytes = b"application/json") -> None:
        self._encode, self._content_type = encode, content_type
        self._early: list[WatchItem] | None = []  # what comes before the answer has begun
        self._stream: Stream | None = None
        self._limit = SLOW

    def start(self, registry: Registry, row: Resource, namespace: str, request: Request, name: str) -> None:
        """Subscribe and begin the answer. Raises what is wrong with the request; Expired goes onto the stream."""
        options = watch_options(request, name)
        timeout = _seconds(request)
        error: ApiError | None = None
        self._subscription: Subscription | None = None
        try:
            self._subscription = registry.watch(row, namespace, options, self.deliver)
        except Expired as expired:
            error = expired
        stream = self._stream = request.stream(200, self._content_type)
        if error is not None:
            stream.write(self._encode((failure(row, 0, error),)))
            stream.end()
            return
        self._timer = asyncio.get_running_loop().call_later(timeout, self.end)
        stream.on_close(self.stop)
        early, self._early = self._early, None
        if early:
            self.deliver(early)
        self._limit = SLOW + 2 * stream.buffered

    def deliver(self, items: Sequence[WatchItem]) -> None:
        """The registry's sink: called once a tick at most."""
        stream = self._stream
        if stream is None or self._early is not None:
            if self._early is not None:
                self._early.extend(items)
            return
        if stream.buffered > self._limit:
            log.warning("a watcher reads too slowly and is cut off: %d bytes wait", stream.buffered)
            self.stop()
            stream.abort()
            return
        try:
            stream.write(self._encode(items))
        except Exception:
            log.exception("an event could not be written")
            self.stop()
            stream.abort()
            return
        if items and items[-1].type == "ERROR":
            self.end()

    def end(self) -> None:
        """The watch's time is over."""
        self.stop()
        if self._stream is not None:
            self._stream.end()

    def stop(self) -> None:
        """Hear nothing more."""
        self._timer.cancel()
        if self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None


def _seconds(request: Request) -> float:
    text = request.query.get("timeoutSeconds", "")
    if text.isdigit() and int(text) > 0:
        return float(text)
    return SHORTEST * (1 + random.random())


def start(registry: Registry, row: Resource, namespace: str, name: str, request: Request, form: Form) -> None:
    """Answer a WATCH request."""
    encode: Encode = frames if form.protobuf else lines
    if form.kind:
        encode = Shaped(row, form, request.query.get("includeObject", ""))
    content_type = form.content_type + b";stream=watch" if form.protobuf else b"application/json"
    Watch(encode, content_type).start(registry, row, namespace, request, name)
