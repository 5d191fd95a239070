"""What lists and watches can be asked for, and what they answer. Data only; parsing of queries is the API server's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from parkube.controlplane.registry.stored import Stored
from parkube.kubeapi.selectors import FieldSelector, LabelSelector

EVERYTHING = LabelSelector()
ANY_FIELD = FieldSelector()


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The query of a list; the defaults ask for everything, now."""

    label_selector: LabelSelector = EVERYTHING
    field_selector: FieldSelector = ANY_FIELD
    limit: int = 0  # 0: no paging
    continue_: str = ""
    resource_version: str = ""
    resource_version_match: str = ""  # Exact, NotOlderThan; empty: the API's legacy rules


class ListResult(NamedTuple):
    """One page, consistent at `revision`; `remaining` is None where the API does not count (with selectors)."""

    items: Sequence[Stored]
    revision: int
    continue_: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The query of a watch. Without a revision (or with "0") it opens with an ADDED for each existing object."""

    label_selector: LabelSelector = EVERYTHING
    field_selector: FieldSelector = ANY_FIELD
    resource_version: str = ""
    bookmarks: bool = False
    send_initial_events: bool | None = None  # None: not asked; True ends the initial events with a marked bookmark
