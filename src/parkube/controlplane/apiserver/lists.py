"""Lists in the form asked for, written a slice at a time: others are served in between, and no tree of the whole is
ever held. Plain JSON is the watch cache's bytes as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson

from parkube.controlplane.apiserver.negotiation import Form, encode
from parkube.controlplane.apiserver.protobuf import encode_items, encode_list
from parkube.controlplane.apiserver.tables import Tabulator, columns_of, partial
from parkube.controlplane.registry.options import ListResult
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Obj

_SLICE = 250  # objects written in one go: some 15 ms
_Write = Callable[[list[Obj]], bytes]


def list_metadata(result: ListResult) -> Obj:
    """A list's own metadata."""
    metadata: Obj = {"resourceVersion": str(result.revision)}
    if result.continue_:
        metadata["continue"] = result.continue_
        if result.remaining is not None:
            metadata["remainingItemCount"] = result.remaining
    return metadata


async def list_body(row: Resource, result: ListResult, shape: Form, include: str = "") -> bytes:
    """The body of a list."""
    metadata = list_metadata(result)
    if shape.kind == "Table":
        tabulator = Tabulator(columns_of(row), shape.version, include)
        rows = await _written(result, lambda objects: _joined(tabulator.lines(objects)))
        body = _closed(tabulator.table([], metadata), b",".join(rows))
    elif shape.kind:
        api, kind = f"meta.k8s.io/{shape.version}", "PartialObjectMetadata"
        if shape.protobuf:
            return await _protobuf(result, api, kind, kind + "List", metadata, lambda obj: partial(obj, shape.version))
        parts = await _written(result, lambda objects: _joined([partial(obj, shape.version) for obj in objects]))
        body = _closed({"kind": kind + "List", "apiVersion": api, "metadata": metadata, "items": []}, b",".join(parts))
    elif shape.protobuf:
        return await _protobuf(result, row.api_version, row.kind, row.list_kind, metadata, lambda obj: obj)
    else:
        head = {"kind": row.list_kind, "apiVersion": row.api_version, "metadata": metadata, "items": []}
        body = _closed(head, b",".join([stored.value for stored in result.items]))
    return encode(orjson.loads(body), shape) if shape.yaml else body


async def _protobuf(
    result: ListResult, api_version: str, kind: str, list_kind: str, metadata: Obj, change: Callable[[Obj], Obj]
) -> bytes:
    def write(objects: list[Obj]) -> bytes:
        return encode_items(api_version, kind, map(change, objects))

    return encode_list(api_version, list_kind, metadata, b"".join(await _written(result, write)))


async def _written(result: ListResult, write: _Write) -> list[bytes]:
    """What `write` makes of the objects, slice by slice."""
    parts = []
    for start in range(0, len(result.items), _SLICE):
        if start:
            await asyncio.sleep(0)
        parts.append(write([stored.object() for stored in result.items[start : start + _SLICE]]))
    return parts


def _joined(values: list[Obj]) -> bytes:
    """JSON values with commas between them."""
    return orjson.dumps(values)[1:-1]


def _closed(head: Obj, items: bytes) -> bytes:
    """A JSON object whose last field is an empty list, with `items` in it."""
    return b"".join((orjson.dumps(head)[:-2], items, b"]}"))
