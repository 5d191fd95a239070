"""Server-side apply: a configuration laid over the live object, the fields it no longer names taken out, conflicts
named. Pure.

What an applier named before and names no more goes, unless somebody else manages it too.
"""

from __future__ import annotations

from typing import Any

import orjson

from parkube.controlplane.registry.managed.entries import (
    APPLY,
    STRIPPED,
    UPDATE,
    Entry,
    Writer,
    decode,
    encode,
    touched_by_others,
)
from parkube.controlplane.registry.managed.fieldset import Fields, difference, paths, union
from parkube.controlplane.registry.managed.nodes import Node
from parkube.controlplane.registry.managed.walk import Unfit, compare, fields_of, merge, remove, with_parents
from parkube.kubeapi.errors import BadRequest, Cause, Conflict, Obj

BEFORE = "before-first-apply"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_KUBECTL = "kubectl"


class ApplyConflict(Conflict):
    """Others manage fields that the configuration would change."""


def applied(
    live: Obj, config: Obj, node: Node, writer: Writer, *, force: bool = False, ignored: Fields | None = None
) -> tuple[Obj, list[Obj]]:
    """The object with `config` applied, without managedFields, and the entries to be put there. `live` holds only type
    and name when the object is new; `ignored` are fields that this endpoint does not write. Raises BadRequest,
    ApplyConflict."""
    try:
        wanted = fields_of(config, node)
    except Unfit as error:
        raise BadRequest(f"failed to create typed patch object ({_named(config)}): {error}") from None
    wanted = difference(wanted, STRIPPED)
    if ignored:
        wanted = {key: below for key, below in wanted.items() if key not in ignored}
    bare = {**live, "metadata": {k: v for k, v in live.get("metadata", {}).items() if k != "managedFields"}}
    entries = _entries(live, bare, node, writer)
    mine = Entry(writer.manager, APPLY, writer.api_version, writer.subresource, {}, writer.time)
    for entry in entries:
        if entry.identity == mine.identity:
            mine = entry
    others = [entry for entry in entries if entry is not mine]
    last, mine.fields, mine.api_version = mine.fields, wanted, writer.api_version
    new = merge(bare, config, node)
    new = _pruned(new, last, [mine, *others], node)
    removed, modified, added = compare(bare, new, node)
    conflicts = touched_by_others(others, mine, union(modified, added))
    if conflicts and not force:
        left = _unforced(conflicts, bare, node, writer)
        if left:
            raise conflict(left)
    for entry in others:
        entry.fields = difference(difference(entry.fields, union(modified, added)), removed)
    if writer.manager == _KUBECTL:
        _refresh_last_applied(new, config)
    after = encode([mine, *others])
    before = live.get("metadata", {}).get("managedFields") or []
    if new == bare and after == before:
        return new, before
    mine.time = writer.time
    return new, encode([mine, *others])


def _entries(live: Obj, bare: Obj, node: Node, writer: Writer) -> list[Entry]:
    """The live object's entries; what was there before anything was tracked belongs to one that stands for all."""
    entries = decode(live.get("metadata", {}).get("managedFields")) or []
    if entries or not live.get("metadata", {}).get("uid"):
        return entries
    _, _, there = compare({}, bare, node)
    return [Entry(BEFORE, UPDATE, writer.api_version, "", difference(there, STRIPPED), writer.time)]


def _pruned(new: Obj, last: Fields, entries: list[Entry], node: Node) -> Obj:
    if not difference(last, entries[0].fields):  # nothing that was named before is missing now
        return new
    owned: Fields = {}
    for entry in entries:
        owned = union(owned, entry.fields)
    gone = difference(with_parents(last, node), with_parents(owned, node))
    found: Obj = remove(new, gone, node) if gone else new
    return found


def conflict(conflicts: list[tuple[Entry, Fields]]) -> ApplyConflict:
    """The answer that names every field and who manages it."""
    causes, lines, count = [], [], 0
    for entry, fields in sorted(conflicts, key=lambda pair: _shown(pair[0])):
        listed = list(paths(fields))
        count += len(listed)
        causes += [Cause("FieldManagerConflict", f"conflict with {_shown(entry)}", path) for path in listed]
        lines += [f"conflicts with {_shown(entry)}:", *[f"- {path}" for path in listed]]
    if count == 1:
        return ApplyConflict(f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}", causes=causes)
    return ApplyConflict(f"Apply failed with {count} conflicts: " + "\n".join(lines), causes=causes)


def _shown(entry: Entry) -> str:
    text = f'"{entry.manager}"'
    if entry.subresource:
        text += f' with subresource "{entry.subresource}"'
    return text + (f" using {entry.api_version}" if entry.operation == UPDATE else "")


def _unforced(
    conflicts: list[tuple[Entry, Fields]], live: Obj, node: Node, writer: Writer
) -> list[tuple[Entry, Fields]]:
    """The conflicts that stand: kubectl takes over what it applied from the client's side before, as it is noted in
    the object's annotation, where the object still has it so."""
    text = (live.get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED)
    if writer.manager != _KUBECTL or not text:
        return conflicts
    try:
        before: Any = orjson.loads(text)
        if not isinstance(before, dict) or before.get("apiVersion") != writer.api_version:
            return conflicts
        owned = fields_of(before, node)
    except (orjson.JSONDecodeError, Unfit):
        return conflicts
    for changed in compare(before, live, node):
        owned = difference(owned, changed)
    return [(entry, left) for entry, fields in conflicts if (left := difference(fields, owned))]


def _refresh_last_applied(new: Obj, config: Obj) -> None:
    """Clients that apply from their side go on where this one stopped."""
    annotations = new.get("metadata", {}).get("annotations") or {}
    if annotations.get(LAST_APPLIED):
        metadata = dict(config.get("metadata") or {})
        if LAST_APPLIED in (metadata.get("annotations") or {}):
            metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != LAST_APPLIED}
        text = orjson.dumps({**config, "metadata": metadata}, option=orjson.OPT_SORT_KEYS).decode() + "\n"
        new["metadata"] = {**new["metadata"], "annotations": {**annotations, LAST_APPLIED: text}}


def _named(config: Obj) -> str:
    metadata = config.get("metadata") or {}
    group, _, version = str(config.get("apiVersion", "")).rpartition("/")
    name = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
    return f"{name}; {group}/{version}, Kind={config.get('kind', '')}"
