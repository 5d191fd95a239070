"""The tables of messages: which there is for a kind, and what fields it has. Read when first needed."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import NamedTuple

MAGIC = b"k8s\x00"
_COMMON = ("DeleteOptions", "PartialObjectMetadata", "PartialObjectMetadataList", "Status", "WatchEvent")
"""Kinds of `meta/v1` that every group has as its own."""
_SHORT = {"": "core", "apps": "apps", "batch": "batch", "autoscaling": "autoscaling", "policy": "policy"}


class Field(NamedTuple):
    """One field of a message. `mark`: "" one, "*" many, "%" a map by string."""

    name: str
    type: str
    mark: str
    inline: bool
    droppable: bool


def message_of(api_version: str, kind: str) -> str:
    """The message of a built-in kind; empty when there is none, as for custom resources and Tables."""
    group, _, version = api_version.rpartition("/")
    if kind in _COMMON:
        return f"meta.{kind}"
    if group == "" and f"meta.{kind}" in lines() and f"core.{kind}" not in lines():
        return f"meta.{kind}"  # APIGroupList and others that describe the API
    short = _SHORT.get(group) or (group.partition(".")[0] if group.endswith(".k8s.io") else "")
    name = f"{short}.{kind}" if version == "v1" else f"{short}/{version}.{kind}"
    return name if short and name in lines() else ""


@cache
def lines() -> dict[str, str]:
    """Message -> its line; taken apart when first needed."""
    text = resources.files(__package__).joinpath("fields.txt").read_text()
    return dict(line.partition(" ")[::2] for line in text.splitlines())


@cache
def fields_of(message: str) -> dict[int, Field]:
    """The fields of a message by number."""
    found = {}
    for item in lines()[message].split():
        left, _, kind = item.partition(":")
        name, _, number = left.partition("=")
        mark = kind[0] if kind[0] in "*%" else ""
        found[int(number.rstrip("^?"))] = Field(name, kind[len(mark) :], mark, "^" in number, "?" in number)
    return found
