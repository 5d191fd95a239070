"""The little that access must know of the cluster at every request: who exists. Fed by events, asked in memory.

Only uids and phases, never objects: a cluster of 6,000 nodes costs about a megabyte here.
"""

from __future__ import annotations

from parkube.kubeapi.errors import Obj

UID_KINDS = ("serviceaccounts", "secrets", "nodes")
"""Plurals whose uids are kept. A uid never changes, so updates of these need not be looked at."""


class Facts:
    """uids by (plural, namespace, name), and the namespaces with their phase."""

    def __init__(self) -> None:
        self._uids: dict[tuple[str, str, str], str] = {}
        self._namespaces: dict[str, bool] = {}

    def put(self, resource: str, obj: Obj) -> None:
        """The object exists, as it now is."""
        meta = obj["metadata"]
        if resource == "namespaces":
            self._namespaces[meta["name"]] = "deletionTimestamp" in meta
        else:
            self._uids[resource, meta.get("namespace", ""), meta["name"]] = meta.get("uid", "")

    def drop(self, resource: str, namespace: str, name: str) -> None:
        """The object is gone."""
        if resource == "namespaces":
            self._namespaces.pop(name, None)
        else:
            self._uids.pop((resource, namespace, name), None)

    def uid(self, resource: str, namespace: str, name: str) -> str | None:
        """The uid of that object, None if there is none."""
        return self._uids.get((resource, namespace, name))

    def namespace_exists(self, name: str) -> bool:
        """Whether the namespace exists, terminating or not."""
        return name in self._namespaces

    def namespace_terminating(self, name: str) -> bool:
        """Whether the namespace is on its way out."""
        return self._namespaces.get(name, False)
