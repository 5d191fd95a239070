"""A DaemonSet's history: one ControllerRevision per template, which `kubectl rollout history` and `undo` read."""

from __future__ import annotations

from parkube.controlplane.controllers.daemonsets.plan import HASH_LABEL, hash_labels, revision_data
from parkube.controlplane.controllers.deployments.model import copied_annotations, safe_hash, template_digest
from parkube.controlplane.controllers.views import CONTROLLERREVISIONS
from parkube.kubeapi.client import Client
from parkube.kubeapi.errors import AlreadyExists, NotFound, Obj
from parkube.kubeapi.objects import controller_of, owner_reference
from parkube.kubeapi.selectors import LabelSelector


def _template(revision: Obj) -> Obj:
    data = ((revision.get("data") or {}).get("spec") or {}).get("template") or {}
    return {key: value for key, value in data.items() if key != "$patch"}


class History:
    """Keeps the ControllerRevisions of DaemonSets."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def revisions(self, daemonset: Obj) -> list[Obj]:
        """Its revisions, oldest first."""
        m = daemonset["metadata"]
        selector = str(LabelSelector.from_object(daemonset["spec"].get("selector")))
        found = await self._client.list(CONTROLLERREVISIONS, m["namespace"], label_selector=selector)
        owned = [r for r in found.get("items") or () if (controller_of(r) or {}).get("uid") == m["uid"]]
        return sorted(owned, key=lambda r: int(r.get("revision", 0)))

    async def current(self, daemonset: Obj) -> str:
        """The hash of the present template's revision, which is made, or moved to the top, as needed."""
        template = daemonset["spec"].get("template") or {}
        digest, known = template_digest(template), await self.revisions(daemonset)
        last = int(known[-1].get("revision", 0)) if known else 0
        notes = copied_annotations(daemonset["metadata"].get("annotations"))
        same = [r for r in known if template_digest(_template(r)) == digest]
        if same:
            top = same[-1]
            changed = copied_annotations(top["metadata"].get("annotations")) != notes
            if int(top.get("revision", 0)) < last or changed:
                number = last + 1 if int(top.get("revision", 0)) < last else last
                fresh = {**top, "revision": number, "metadata": {**top["metadata"], "annotations": notes}}
                await self._client.update(CONTROLLERREVISIONS, fresh)
            return str((top["metadata"].get("labels") or {}).get(HASH_LABEL, ""))
        return await self._create(daemonset, template, digest, last + 1, notes)

    async def _create(self, daemonset: Obj, template: Obj, digest: bytes, number: int, notes: Obj) -> str:
        m = daemonset["metadata"]
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
                    "ownerReferences": [owner_reference({**daemonset, "apiVersion": "apps/v1", "kind": "DaemonSet"})],
                },
            }
            try:
                await self._client.create(CONTROLLERREVISIONS, revision, m["namespace"])
                return hashed
            except AlreadyExists:
                continue
        raise RuntimeError(f"no free name for a revision of DaemonSet {m['namespace']}/{m['name']}")

    async def clean_up(self, daemonset: Obj, live: set[str]) -> None:
        """Forget revisions beyond the history limit that no pod is of."""
        limit = int(daemonset["spec"].get("revisionHistoryLimit", 10))
        known = await self.revisions(daemonset)
        idle = [r for r in known[:-1] if (r["metadata"].get("labels") or {}).get(HASH_LABEL) not in live]
        for revision in idle[: max(0, len(idle) - limit)]:
            m = revision["metadata"]
            try:
                await self._client.delete(CONTROLLERREVISIONS, m["name"], m["namespace"])
            except NotFound:
                continue
