"""Fields that a body names twice, which its parser does not tell: by path in JSON, by line in YAML. Pure.

Worded as the API words them under `fieldValidation`. Source: Kubernetes documentation, "Validation for unrecognized or
duplicate fields".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson
import yaml

_COLON = re.compile(rb'"\s*:')
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Pairs(list[tuple[str, Any]]):
    """An object as it stands in the text."""


def in_json(body: bytes, value: Any) -> list[str]:
    """`duplicate field "spec.replicas"` for each one; `value` is what `body` was read as. Nearly always there is none,
    which the number of keys shows: the text is only read again when it holds more of them than what was read."""
    if len(_COLON.findall(body)) == orjson.dumps(value).count(b'":'):
        return []
    return [f'duplicate field "{path}"' for path in _twice(json.loads(body, object_pairs_hook=_Pairs), "")]


def _twice(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen = set()
        for key, item in value:
            here = f"{path}.{key}" if path else key
            if key in seen:
                yield here
            seen.add(key)
            yield from _twice(item, here)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _twice(item, f"{path}[{at}]")


def in_yaml(body: bytes) -> list[str]:
    """`line 9: key "foo" already set in map` for each one."""
    return list(_again(yaml.compose(body, Loader=_Loader)))


def _again(node: Any) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                yield f'line {key.start_mark.line + 1}: key "{key.value}" already set in map'
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
            yield from _again(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _again(item)
