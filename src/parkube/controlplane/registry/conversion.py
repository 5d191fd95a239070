"""Objects in the version that somebody asks for: by the row's own functions, and before them by its converter, where
one is asked (a webhook). It knows no kind.

Only objects that lie under another version are given to a converter, those of a list together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import orjson

from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.stored import Stored
from parkube.controlplane.registry.watching import Sink, Subscription, WatchItem, failure
from parkube.kubeapi.errors import ApiError, BadRequest, Obj
from parkube.kubeapi.selectors import FieldSelector


async def in_version(row: Resource, stored: Stored) -> Stored:
    """The object in the row's version. Raises what the converter does."""
    if row.converter is None and row.from_storage is None:
        return stored
    return (await all_in_version(row, [stored]))[0]


async def all_in_version(row: Resource, items: Sequence[Stored]) -> list[Stored]:
    """The objects in the row's version. Raises what the converter does."""
    if row.converter is not None:
        items = await _asked(row, items)
    if row.from_storage is None:
        return list(items)
    return [one.with_value(orjson.dumps(row.from_storage(one.object()))) for one in items]


async def for_storage(row: Resource, obj: Obj) -> Obj:
    """An object of the row's version as it is to be stored. Raises what the converter does."""
    if row.converter is not None and row.stored_at != row.gvr:
        (obj,) = await row.converter.convert([obj], f"{row.stored_at.group}/{row.stored_at.version}")
    return row.to_storage(obj) if row.to_storage else obj


async def between(start: Resource, end: Resource, obj: Obj) -> Obj:
    """An object of one row's version in another's, of those that share their objects."""
    if start.converter is not None:
        (obj,) = await start.converter.convert([obj], end.api_version)
        return obj
    stored = start.to_storage(obj) if start.to_storage else obj
    return end.from_storage(stored) if end.from_storage else {**stored, "apiVersion": end.api_version}


async def _asked(row: Resource, items: Sequence[Stored]) -> list[Stored]:
    assert row.converter is not None
    objects = [one.object() for one in items]
    due = [at for at, obj in enumerate(objects) if obj["apiVersion"] != row.api_version]
    found = list(items)
    if due:
        converted = await row.converter.convert([objects[at] for at in due], row.api_version)
        for at, obj in zip(due, converted, strict=True):
            found[at] = items[at].with_value(orjson.dumps(obj))
    return found


Judge = Callable[[Stored], bool]


def apart(row: Resource, selector: FieldSelector) -> tuple[FieldSelector, Judge | None]:
    """The part of a selector that can be judged by what is stored, and a judge of objects in the row's version for the
    rest. Raises BadRequest for a field that the row does not know."""
    own = [term for term in selector.terms if not term.path.startswith("metadata.")]
    if not own or row.stored_fields or (row.converter is None and row.from_storage is None):
        return selector, None
    readers = {label.path: label.of for label in row.fields}
    for term in own:
        if term.path not in readers:
            raise BadRequest(f"field label not supported: {term.path}")

    def judge(stored: Stored) -> bool:
        obj = stored.object()
        return all((readers[term.path](obj) == term.value) is term.equal for term in own)

    return FieldSelector(tuple(term for term in selector.terms if term not in own)), judge


class ConvertedWatch:
    """A watch whose events wait for a converter; they keep their order.

    following --cancel--> ended
        \\--conversion fails--> told ERROR, ended
    """

    def __init__(self, row: Resource, sink: Sink, judge: Judge | None) -> None:
        self._row, self._sink, self._judge = row, sink, judge
        self._waiting: list[WatchItem] = []
        self._task: asyncio.Task[None] | None = None
        self._from: Subscription | None = None
        self._ended = False

    def follow(self, subscription: Subscription) -> ConvertedWatch:
        """What `take` is the sink of."""
        self._from = subscription
        return self

    def take(self, items: Sequence[WatchItem]) -> None:
        """Events as they are stored."""
        self._waiting.extend(items)
        if self._task is None and not self._ended:
            self._task = asyncio.create_task(self._run(), name=f"convert {self._row.gvr.resource}")

    def cancel(self) -> None:
        """No more events from now on."""
        self._ended = True
        self._waiting = []
        if self._from is not None:
            self._from.cancel()
        if self._task is not None:
            self._task.cancel()

    def bookmark(self) -> WatchItem:
        """Where the watch stands; see `Subscription`."""
        assert self._from is not None
        mark = self._from.bookmark()
        return mark if not self._waiting else _before(mark, self._waiting[0].revision)

    async def _run(self) -> None:
        try:
            while self._waiting and not self._ended:
                items = list(self._waiting)
                told = await self._converted(items)
                del self._waiting[: len(items)]
                if told:
                    self._sink(told)
        except ApiError as error:
            told = [failure(self._row, self._waiting[0].revision, error)]
            self._task = None
            self.cancel()
            self._sink(told)
        finally:
            self._task = None

    async def _converted(self, items: Sequence[WatchItem]) -> list[WatchItem]:
        due = [one for item in items for one in (item.stored, item.previous if self._judge else None) if one]
        made = {id(one): new for one, new in zip(due, await all_in_version(self._row, due), strict=True)}
        found: list[WatchItem] = []
        for item in items:
            if item.stored is None:
                found.append(item)
                continue
            stored, previous = made[id(item.stored)], made.get(id(item.previous))
            new = WatchItem(item.type, self._row, item.revision, stored, previous)
            found += [new] if self._judge is None else _judged(new, self._judge)
        return found


def _judged(item: WatchItem, judge: Judge) -> list[WatchItem]:
    """The event as one sees it who asks for some objects only; nothing when it is not about them."""
    stored, previous = item.stored, item.previous
    assert stored is not None
    is_, was = judge(stored), previous is not None and judge(previous)
    if item.type != "MODIFIED":
        return [item] if is_ else []
    if is_:
        return [WatchItem("MODIFIED" if was else "ADDED", item.resource, item.revision, stored, previous)]
    if was and previous is not None:
        return [WatchItem("DELETED", item.resource, item.revision, previous.at(item.revision), previous)]
    return []


def _before(mark: WatchItem, revision: int) -> WatchItem:
    obj = mark.object()
    metadata = {**obj["metadata"], "resourceVersion": str(revision - 1)}
    return WatchItem(mark.type, mark.resource, revision - 1, object={**obj, "metadata": metadata})
