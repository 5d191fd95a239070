"""A history of templates: one ControllerRevision each, which `kubectl rollout history` and `undo` read."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from parkube.controlplane.controllers.deployments.model import copied_annotations, safe_hash, template_digest
from parkube.controlplane.controllers.views import CONTROLLERREVISIONS
from parkube.kubeapi.client import Client
from parkube.kubeapi.errors import AlreadyExists, NotFound, Obj
from parkube.kubeapi.objects import controller_of, owner_reference
from parkube.kubeapi.selectors import LabelSelector

HASH_LABEL = "controller-revision-hash"


def revision_data(template: Obj) -> Obj:
    """What a ControllerRevision holds: a patch that puts this template back.

    Keys are in their order, so that who makes the patch of the same template compares equal by its bytes.
    """
    patch = {"spec": {"template": {**template, "$patch": "replace"}}}
    ordered: Obj = orjson.loads(orjson.dumps(patch, option=orjson.OPT_SORT_KEYS))
    return ordered


def hash_labels(template: Obj, revision_hash: str) -> Mapping[str, str]:
    """A pod's labels: the template's and the revision's hash."""
    return {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: revision_hash}


def template_of(revision: Obj) -> Obj:
    """The template that a revision holds."""
    data = ((revision.get("data") or {}).get("spec") or {}).get("template") or {}
    return {key: value for key, value in data.items() if key != "$patch"}


class History:
    """Keeps the ControllerRevisions of DaemonSets and StatefulSets. Owners carry their apiVersion and kind."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def revisions(self, owner: Obj) -> list[Obj]:
        """Its revisions, oldest first."""
        m = owner["metadata"]
        selector = str(LabelSelector.from_object(owner["spec"].get("selector")))
        found = await self._client.list(CONTROLLERREVISIONS, m["namespace"], label_selector=selector)
        owned = [r for r in found.get("items") or () if (controller_of(r) or {}).get("uid") == m["uid"]]
        return sorted(owned, key=lambda r: int(r.get("revision", 0)))

    async def current(self, owner: Obj) -> str:
        """The hash of the present template's revision, which is made, or moved to the top, as needed."""
        template = owner["spec"].get("template") or {}
        digest, known = template_digest(template), await self.revisions(owner)
        last = int(known[-1].get("revision", 0)) if known else 0
        notes = copied_annotations(owner["metadata"].get("annotations"))
        same = [r for r in known if template_digest(template_of(r)) == digest]
        if same:
            top = same[-1]
            changed = copied_annotations(top["metadata"].get("annotations")) != notes
            if int(top.get("revision", 0)) < last or changed:
                number = last + 1 if int(top.get("revision", 0)) < last else last
                fresh = {**top, "revision": number, "metadata": {**top["metadata"], "annotations": notes}}
                await self._client.update(CONTROLLERREVISIONS, fresh)
            return str((top["metadata"].get("labels") or {}).get(HASH_LABEL, ""))
        return await self._create(owner, template, digest, last + 1, notes)

    async def _create(self, owner: Obj, template: Obj, digest: bytes, number: int, notes: Obj) -> str:
        m = owner["metadata"]
        for collision in range(5):
            hashed = safe_hash(digest, collision)
            revision: Obj = {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "revision": number,
                "data": revision_data(template),
                "metadata": {
                    "name": f"{m['name']}-{hashed}",
                    "namespace": m["namespace"],
                    "annotations": notes,
                    "labels": dict(hash_labels(template, hashed)),
                    "ownerReferences": [owner_reference(owner)],
                },
            }
            try:
                await self._client.create(CONTROLLERREVISIONS, revision, m["namespace"])
                return hashed
            except AlreadyExists:
                continue
        raise RuntimeError(f"no free name for a revision of {owner['kind']} {m['namespace']}/{m['name']}")

    async def clean_up(self, owner: Obj, live: set[str]) -> None:
        """Forget revisions beyond the history limit that no pod is of."""
        limit = int(owner["spec"].get("revisionHistoryLimit", 10))
        known = await self.revisions(owner)
        idle = [r for r in known[:-1] if (r["metadata"].get("labels") or {}).get(HASH_LABEL) not in live]
        for revision in idle[: max(0, len(idle) - limit)]:
            m = revision["metadata"]
            try:
                await self._client.delete(CONTROLLERREVISIONS, m["name"], m["namespace"])
            except NotFound:
                continue
