"""What every kind can do, by HTTP: it is made, found, followed, changed in each way, and goes, alone or with others.

A new kind fails here until it has an example.
"""

from __future__ import annotations

import pytest

from parkube.controlplane.main.assemble import Server
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.client import SERVICEACCOUNTS
from tests.fakes.apiserver import Line
from tests.fakes.examples import EXAMPLES, NAMES

ROWS = [row for row in builtin_catalogue() if not row.virtual]
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
CHOSEN = "labelSelector=chosen%3Dyes"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.api_version}-{row.kind}")
async def test_its_whole_life(server: Server, row: Resource) -> None:
    line, watcher = Line(server), Line(server)
    await server.client.create(SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")  # pods want it
    root = f"/apis/{row.api_version}" if row.gvr.group else "/api/v1"
    everywhere = f"{root}/{row.gvr.resource}"
    here = f"{root}/namespaces/default/{row.gvr.resource}" if row.namespaced else everywhere
    name = NAMES.get(row.kind, "a")
    body = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": name, "labels": {"chosen": "yes"}}}

    status, made = await line.ask("POST", here + "?fieldValidation=Strict", body | EXAMPLES[row.api_version, row.kind])
    assert status == 201, made
    assert (made["kind"], made["apiVersion"]) == (row.kind, row.api_version)
    one = f"{here}/{name}"
    status, again = await line.ask("POST", here, body | EXAMPLES[row.api_version, row.kind])
    assert (status, again["reason"]) == (409, "AlreadyExists")
    status, read = await line.ask("GET", one)
    assert (status, read["metadata"]["uid"]) == (200, made["metadata"]["uid"])
    assert read.get("spec") == made.get("spec")
    for path in {here, everywhere}:
        _, found = await line.ask("GET", f"{path}?{CHOSEN}")
        assert found["kind"] == row.list_kind
        assert [item["metadata"]["name"] for item in found["items"]] == [name]

    watcher.send("GET", f"{everywhere}?watch=1&{CHOSEN}&resourceVersion={found['metadata']['resourceVersion']}")
    status, patched = await line.ask("PATCH", one, {"metadata": {"annotations": {"a": "1"}}}, content_type=MERGE)
    assert (status, patched["metadata"]["annotations"]["a"]) == (200, "1")
    applied = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"annotations": {"b": "2"}}}
    status, patched = await line.ask("PATCH", f"{one}?fieldManager=me", applied, content_type=APPLY)
    assert (status, patched["metadata"]["annotations"]) == (200, {"a": "1", "b": "2"}), patched
    patched["metadata"]["annotations"]["c"] = "3"
    status, updated = await line.ask("PUT", one, patched)
    assert (status, updated["metadata"]["annotations"]["c"]) == (200, "3"), updated
    status, stale = await line.ask("PUT", one, made)
    assert (status, stale["reason"]) == (409, "Conflict")
    events = await watcher.events(3)
    assert [event["type"] for event in events] == ["MODIFIED"] * 3
    assert events[-1]["object"] == updated

    if "status" in row.subresources:
        changed = {"metadata": {"annotations": {"d": "4"}}}
        status, seen = await line.ask("GET", one + "/status")
        assert (status, seen) == (200, updated)
        status, said = await line.ask("PATCH", one + "/status", changed, content_type=MERGE)
        assert (status, said["metadata"]["annotations"]["d"]) == (200, "4"), said
        status, said = await line.ask("PUT", one + "/status", said)
        assert status == 200, said

    await _goes(line, row, here, one)


async def _goes(line: Line, row: Resource, here: str, one: str) -> None:
    """A dry run leaves it; a collection takes it along, at once or after what holds it."""
    assert (await line.ask("DELETE", one + "?dryRun=All"))[0] in (200, 202)
    assert (await line.ask("GET", one))[0] == 200
    none = await line.ask("DELETE", f"{here}?labelSelector=chosen%3Dno")
    assert none[0] == (200 if "deletecollection" in row.verbs else 405)
    status, gone = await line.ask("DELETE", f"{here}?{CHOSEN}" if "deletecollection" in row.verbs else one)
    assert status == 200, gone
    status, left = await line.ask("GET", one)
    if status == 200:
        assert left["metadata"]["deletionTimestamp"]
        assert left["metadata"].get("finalizers") or left["spec"].get("finalizers")
