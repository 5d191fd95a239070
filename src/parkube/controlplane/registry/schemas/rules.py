"""The CEL rules of a structural schema (`x-kubernetes-validations`) at work, transition rules too. Judges objects.

Whether a rule can be evaluated at all is checked where the definition is accepted (`registry.crd`). What was wrong
before and did not change is let pass, as the API does it. Not here: cost budgets, and CEL's own types for date-time and
duration, which stay strings: a rule says `timestamp(self.since)`.
Source: Kubernetes documentation, "Custom Resources", Validation rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from parkube.controlplane.registry.cel import CelError, compiled
from parkube.kubeapi.errors import Cause, Obj

KEYWORD = "x-kubernetes-validations"
VARIABLES = ("self", "oldSelf", "before")  # `before`: a list of the old value, or of nothing, for optional rules
_OPTIONAL = "cel.bind(oldSelf, size(before) == 0 ? optional.none() : optional.of(before[0]), {})"
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_OLD = re.compile(r"(?<![\w.])oldSelf\b")
_RESERVED = frozenset({
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
    "loop", "package", "namespace", "return", "var", "void", "while",
})  # fmt: skip
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_REASONS = {"FieldValueForbidden": "Forbidden", "FieldValueRequired": "Required value"}


def escaped(name: str) -> str:
    """What a rule calls a property whose name is not an identifier."""
    if name in _RESERVED:
        return f"__{name}__"
    for char, word in _ESCAPES:
        name = name.replace(char, word)
    return name


def plain(rule: str) -> str:
    """The rule without what its strings hold."""
    return _STRING.sub("''", rule)


def transition(rule: Obj) -> bool:
    """Whether the rule compares with what was before."""
    return bool(_OLD.search(plain(rule.get("rule") or "")))


def source(rule: Obj, text: str) -> str:
    """A rule's expression as it is compiled."""
    return _OPTIONAL.format(text) if rule.get("optionalOldSelf") else text


class Rules:
    """The rules of one node of a schema and of all below; false when there are none."""

    def __init__(self, schema: Obj, *, root: bool = True) -> None:
        self._schema = schema
        self._embeds = root or bool(schema.get("x-kubernetes-embedded-resource"))
        self._rules: list[Obj] = schema.get(KEYWORD) or []
        kept = {"metadata"} if self._embeds else set()
        properties = {key: below for key, below in (schema.get("properties") or {}).items() if key not in kept}
        nodes = {key: Rules(below, root=False) for key, below in properties.items()}
        self._properties = {key: node for key, node in nodes.items() if node}
        self._additional = _node(schema.get("additionalProperties"))
        self._items = _node(schema.get("items"))
        self._keys: list[str] = schema.get("x-kubernetes-list-map-keys") or []

    def __bool__(self) -> bool:
        return bool(self._rules or self._properties or self._additional or self._items)

    def faults(self, value: Any, old: Any = None, path: str = "") -> list[Cause]:
        """Every rule that `value` breaks; `old` is None where there was nothing to compare with."""
        if value is None:
            return []
        found = self._judged(value, old, path) if self._rules else []
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for key, below in value.items():
                node = self._properties.get(key)
                if node is not None:
                    found += node.faults(below, before.get(key), f"{path}.{key}" if path else key)
                elif self._additional is not None and key not in (self._schema.get("properties") or {}):
                    found += self._additional.faults(below, before.get(key), f"{path}[{key}]")
        elif isinstance(value, list) and self._items is not None:
            earlier = self._by_key(old)
            for at, item in enumerate(value):
                found += self._items.faults(item, earlier.get(self._key(item)), f"{path}[{at}]")
        return found

    def _key(self, item: Any) -> tuple[str, ...]:
        return tuple(repr(item.get(key)) for key in self._keys) if isinstance(item, dict) else ()

    def _by_key(self, old: Any) -> dict[tuple[str, ...], Any]:
        """Only the items of a list that is a map can be told apart from one another."""
        return {self._key(item): item for item in old} if self._keys and isinstance(old, list) else {}

    def _judged(self, value: Any, old: Any, path: str) -> list[Cause]:
        given = _given(self._schema, value, embeds=self._embeds)
        before = None if old is None else _given(self._schema, old, embeds=self._embeds)
        variables = {"self": given, "oldSelf": before, "before": [] if before is None else [before]}
        return [fault for rule in self._rules for fault in _broken(rule, variables, value, old, path)]


def _node(schema: Any) -> Rules | None:
    node = Rules(schema, root=False) if isinstance(schema, dict) else None
    return node if node else None


def _broken(rule: Obj, variables: Obj, value: Any, old: Any, path: str) -> Iterator[Cause]:
    compares = transition(rule)
    if compares and old is None and not rule.get("optionalOldSelf"):
        return
    if not compares and old is not None and old == value:
        return
    at, text = path or "<nil>", rule.get("rule") or ""
    try:
        if compiled(source(rule, text), VARIABLES).holds(variables):
            return
    except CelError as error:
        yield Cause("FieldValueInvalid", f"Invalid value: {error} evaluating rule: {rule.get('message') or text}", at)
        return
    if rule.get("fieldPath"):
        at = f"{path}{rule['fieldPath']}" if path else str(rule["fieldPath"]).removeprefix(".")
    yield _cause(rule, _message(rule, variables), value, at)


def _message(rule: Obj, variables: Obj) -> str:
    if rule.get("messageExpression"):
        try:
            said = compiled(source(rule, rule["messageExpression"]), VARIABLES).evaluate(variables)
        except CelError:
            said = None
        if isinstance(said, str) and said.strip() and "\n" not in said:
            return said.strip()
    return str(rule.get("message") or f"failed rule: {(rule.get('rule') or '').strip()}")


def _cause(rule: Obj, detail: str, value: Any, path: str) -> Cause:
    from parkube.controlplane.registry.kinds import faults

    reason = rule.get("reason") or "FieldValueInvalid"
    if reason in _REASONS:
        return Cause(reason, f"{_REASONS[reason]}: {detail}", path)
    shown = "" if isinstance(value, (dict, list)) else f": {faults.shown(value)}"
    if reason == "FieldValueDuplicate":
        return Cause(reason, f"Duplicate value{shown}", path)
    return Cause(reason, f"Invalid value{shown}: {detail}", path)


def _given(schema: Any, value: Any, *, embeds: bool = False) -> Any:
    """A value as rules see it: properties under names that CEL can write, no nulls, numbers as numbers, of metadata
    the name alone."""
    if not isinstance(schema, dict):
        return value
    if isinstance(value, dict):
        return dict(_fields(schema, value, embeds))
    if isinstance(value, list):
        return [_given(schema.get("items"), item) for item in value]
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _fields(schema: Obj, value: Obj, embeds: bool) -> Iterator[tuple[str, Any]]:
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    for key, below in value.items():
        if embeds and key == "metadata":
            known = below if isinstance(below, dict) else {}
            yield key, {name: known[name] for name in ("name", "generateName") if name in known}
        elif embeds and key in ("apiVersion", "kind"):
            yield key, below
        elif key in properties and below is not None:
            yield escaped(key), _given(properties[key], below, embeds=_embedded(properties[key]))
        elif key not in properties and additional:
            yield key, _given(additional, below)


def _embedded(schema: Any) -> bool:
    return isinstance(schema, dict) and bool(schema.get("x-kubernetes-embedded-resource"))
