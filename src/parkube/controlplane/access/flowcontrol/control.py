"""From a request to its lane: the FlowSchema it falls under and that one's priority level. Fed by events; no I/O.

The two mandatory levels hold even while nobody has written them: nothing is ever without a lane.
"""

from __future__ import annotations

from typing import NamedTuple

from parkube.controlplane.access.flowcontrol.defaults import FLOWSCHEMAS, MANDATORY
from parkube.controlplane.access.flowcontrol.levels import CATCH_ALL, Level, Levels, Limit, limit_of
from parkube.controlplane.access.flowcontrol.schemas import Asked, Schema, Schemas, schema_of
from parkube.controlplane.registry.resource import User
from parkube.kubeapi.errors import Obj

SEATS = 240
"""Requests that are served at once, of all levels that are limited. One thread serves them: more would only wait in
another place. The original has 600."""


class Lane(NamedTuple):
    """Where a request belongs."""

    schema: Schema
    level: Level


class FlowControl:
    """`levels` has the seats; `lane` says whose a request is."""

    def __init__(self, total: int = SEATS) -> None:
        self._schemas: dict[str, Schema] = {}
        self._limits: dict[str, Limit] = {}
        self.levels = Levels(total)
        self._stale = True
        self._sorted: Schemas
        self._lanes: dict[str, Lane] = {}

    def put_schema(self, obj: Obj) -> None:
        """A FlowSchema exists, as it now is."""
        schema = schema_of(obj)
        self._stale = self._stale or self._schemas.get(schema.name) != schema
        self._schemas[schema.name] = schema

    def drop_schema(self, obj: Obj) -> None:
        """It is gone."""
        self._stale = self._schemas.pop(obj["metadata"]["name"], None) is not None or self._stale

    def put_level(self, obj: Obj) -> None:
        """A PriorityLevelConfiguration exists, as it now is."""
        limit = limit_of(obj)
        self._stale = self._stale or self._limits.get(limit.name) != limit
        self._limits[limit.name] = limit

    def drop_level(self, obj: Obj) -> None:
        """It is gone."""
        self._stale = self._limits.pop(obj["metadata"]["name"], None) is not None or self._stale

    def lane(self, user: User, asked: Asked) -> Lane:
        """Whose the request is; never fails."""
        if self._stale:
            self._sort()
        return self._lanes[self._sorted.of(user, asked).name]

    def _sort(self) -> None:
        schemas, limits = dict(self._schemas), dict(self._limits)
        for gvr, obj in MANDATORY:
            if gvr == FLOWSCHEMAS:
                schemas.setdefault(obj["metadata"]["name"], schema_of(obj))
            else:
                limits.setdefault(obj["metadata"]["name"], limit_of(obj))
        self.levels.configure(limits.values())
        self._sorted = Schemas(schemas.values(), limits, schemas[CATCH_ALL])
        self._lanes = {
            schema.name: Lane(schema, self.levels[schema.level])
            for schema in schemas.values()
            if schema.level in limits
        }
        self._lanes.setdefault(CATCH_ALL, Lane(schemas[CATCH_ALL], self.levels[CATCH_ALL]))
        self._stale = False
