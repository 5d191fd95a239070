"""Events: what happened to an object, told so that `kubectl describe` shows it, and never in the way of the work.

The same event again raises `count`; more than ten alike but for their message within ten minutes become one
"(combined from similar events)"; beyond 25 at once per object they trickle. Writing is in the background from a
bounded queue: when the API is slow or away, events are dropped, never waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from parkube.kubeapi.client import EVENTS, Client
from parkube.kubeapi.errors import AlreadyExists, ApiError, NotFound, Obj
from parkube.kubeapi.objects import rfc3339

_ALIKE_LIMIT, _ALIKE_WINDOW_S = 10, 600.0
_BURST, _REFILL_S = 25, 300.0
_REMEMBERED = 4096


class Reference(NamedTuple):
    """The object an event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""

    @classmethod
    def of(cls, obj: Obj) -> Reference:
        """A reference to a whole object."""
        m = obj.get("metadata", {})
        return cls(
            obj.get("apiVersion", ""),
            obj.get("kind", ""),
            m.get("namespace", ""),
            m.get("name", ""),
            m.get("uid", ""),
            m.get("resourceVersion", ""),
        )


class Voice:
    """The recorder as one component of several speaks through it."""

    def __init__(self, recorder: Recorder, component: str) -> None:
        self._recorder, self._component = recorder, component

    def normal(self, about: Reference, reason: str, message: str) -> None:
        """Say that something went as it should."""
        self._recorder.add(self._component, about, "Normal", reason, message)

    def warning(self, about: Reference, reason: str, message: str) -> None:
        """Say that something did not."""
        self._recorder.add(self._component, about, "Warning", reason, message)


class _Item(NamedTuple):
    component: str
    about: Reference
    kind: str
    reason: str
    message: str


class _Seen:
    """One Event object that was written and may be counted up."""

    __slots__ = ("count", "name")

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 1


class _Alike:
    """Events of one object and reason, whatever their message."""

    __slots__ = ("messages", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.messages: set[str] = set()


class Recorder:
    """Writes Events as one component (`source.component`)."""

    def __init__(
        self, client: Client, component: str, *, clock: Callable[[], float], host: str = "", queue: int = 2000
    ) -> None:
        self._client, self._component, self._host, self._clock = client, component, host, clock
        self._limit = queue
        self._queue: deque[_Item] = deque()
        self._wake = asyncio.Event()
        self._seen: OrderedDict[_Item, _Seen] = OrderedDict()
        self._alike: OrderedDict[tuple[str, str, str], _Alike] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._serial = 0
        self.dropped = 0

    def normal(self, about: Reference, reason: str, message: str) -> None:
        """Say that something went as it should."""
        self.add(self._component, about, "Normal", reason, message)

    def warning(self, about: Reference, reason: str, message: str) -> None:
        """Say that something did not."""
        self.add(self._component, about, "Warning", reason, message)

    def named(self, component: str) -> Voice:
        """The same recorder for another component."""
        return Voice(self, component)

    def add(self, component: str, about: Reference, kind: str, reason: str, message: str) -> None:
        """Queue an event of type `kind` (Normal, Warning)."""
        about = about._replace(resource_version="")
        message = self._combine(about, reason, message)
        if len(self._queue) >= self._limit or not self._allowed(about):
            self.dropped += 1
            return
        self._queue.append(_Item(component, about, kind, reason, message[:1024]))
        self._wake.set()

    def _combine(self, about: Reference, reason: str, message: str) -> str:
        now = self._clock()
        key = (about.uid or about.name, about.kind, reason)
        alike = self._alike.get(key)
        if alike is None or now - alike.since > _ALIKE_WINDOW_S:
            alike = self._alike[key] = _Alike(now)
            if len(self._alike) > _REMEMBERED:
                self._alike.popitem(last=False)
        if message in alike.messages:
            return message
        if len(alike.messages) >= _ALIKE_LIMIT:
            return f"(combined from similar events): {message}"
        alike.messages.add(message)
        return message

    def _allowed(self, about: Reference) -> bool:
        now, key = self._clock(), about.uid or f"{about.kind}/{about.namespace}/{about.name}"
        tokens, then = self._tokens.get(key, (float(_BURST), now))
        tokens = min(float(_BURST), tokens + (now - then) / _REFILL_S)
        self._tokens[key] = (max(0.0, tokens - 1.0), now)
        self._tokens.move_to_end(key)
        if len(self._tokens) > _REMEMBERED:
            self._tokens.popitem(last=False)
        return tokens >= 1.0

    async def run(self) -> None:
        """Write what is queued, for ever."""
        while True:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
            item = self._queue.popleft()
            with contextlib.suppress(ApiError, OSError):
                await self._write(item)

    async def flush(self) -> None:
        """Write what is queued now (for an orderly end, and for tests)."""
        while self._queue:
            with contextlib.suppress(ApiError, OSError):
                await self._write(self._queue.popleft())

    async def _write(self, item: _Item) -> None:
        combined = item.message.startswith("(combined from similar events)")
        key = item._replace(message="(combined)") if combined else item
        now = rfc3339(self._clock())
        seen = self._seen.get(key)
        if seen is not None:
            self._seen.move_to_end(key)
            change: Obj = {"count": seen.count + 1, "lastTimestamp": now, "message": item.message}
            try:
                await self._client.patch(EVENTS, seen.name, change, item.about.namespace or "default")
                seen.count += 1
                return
            except NotFound:
                del self._seen[key]
        await self._create(item, key, now)

    async def _create(self, item: _Item, key: _Item, now: str) -> None:
        about, namespace = item.about, item.about.namespace or "default"
        involved = {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
            "fieldPath": about.field_path,
        }
        for _ in range(3):
            self._serial += 1
            name = f"{about.name}.{int(self._clock() * 1e9) + self._serial:x}"
            event: Obj = {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": {k: v for k, v in involved.items() if v},
                "type": item.kind,
                "reason": item.reason,
                "message": item.message,
                "source": {"component": item.component, **({"host": self._host} if self._host else {})},
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
                "reportingComponent": item.component,
                "reportingInstance": self._host,
            }
            try:
                await self._client.create(EVENTS, event, namespace)
            except AlreadyExists:
                continue
            self._seen[key] = _Seen(name)
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            return
