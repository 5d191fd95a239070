"""Whether the CEL rules of a schema can be evaluated: they compile, name fields that are there, and compare only what
can be found again. Evaluates nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from parkube.controlplane.registry.cel import CelError, compiled
from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.schemas.rules import KEYWORD, VARIABLES, escaped, plain, source, transition
from parkube.kubeapi.errors import Cause, Obj

_REASONS = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
_CHAIN = re.compile(r"(?<![\w.])(?:self|oldSelf)((?:\.[A-Za-z_]\w*)+)(\s*\()?")
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_ALWAYS = {"apiVersion", "kind", "metadata"}


def rule_faults(schema: Any, path: str, *, root: bool = True, lost: str = "") -> Iterator[Cause]:
    """Every fault of the rules at and below `schema`. `lost`: the list whose items have no identity, if within one."""
    if not isinstance(schema, dict):
        return
    for index, rule in enumerate(schema.get(KEYWORD) or ()):
        yield from _rule(rule, schema, f"{path}.{KEYWORD}[{index}]", root, lost)
    for name, below in (schema.get("properties") or {}).items():
        yield from rule_faults(below, f"{path}.properties[{name}]", root=False, lost=lost)
    yield from rule_faults(schema.get("additionalProperties"), f"{path}.additionalProperties", root=False, lost=lost)
    keyed = schema.get("x-kubernetes-list-type") == "map"
    yield from rule_faults(schema.get("items"), f"{path}.items", root=False, lost=lost if keyed else lost or path)


def _rule(rule: Obj, schema: Obj, path: str, root: bool, lost: str) -> Iterator[Cause]:
    text = rule.get("rule") or ""
    if not text.strip():
        yield faults.required(f"{path}.rule", "rule is not specified")
        return
    yield from _words(rule, path)
    for key in ("rule", "messageExpression"):
        if rule.get(key):
            yield from _expression(rule, rule[key], schema, f"{path}.{key}", root)
    if transition(rule):
        if lost:
            words = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}"
            yield faults.invalid(f"{path}.rule", text, words)
    elif rule.get("optionalOldSelf") is not None:
        words = "may not be set if oldSelf is not used in rule"
        yield faults.invalid(f"{path}.optionalOldSelf", rule["optionalOldSelf"], words)


def _words(rule: Obj, path: str) -> Iterator[Cause]:
    message, reason, field = rule.get("message") or "", rule.get("reason"), rule.get("fieldPath") or ""
    if message and not message.strip():
        yield faults.invalid(f"{path}.message", message, "must be non-empty if specified")
    elif "\n" in message.strip():
        yield faults.invalid(f"{path}.message", message, "must not contain line breaks")
    elif "\n" in rule["rule"].strip() and not message:
        yield faults.required(f"{path}.message", "message must be specified if rule contains line breaks")
    if reason and reason not in _REASONS:
        yield faults.unsupported(f"{path}.reason", reason, _REASONS)
    if field and not field.startswith((".", "[")):
        yield faults.invalid(f"{path}.fieldPath", field, "must be a valid path")


def _expression(rule: Obj, text: str, schema: Obj, path: str, root: bool) -> Iterator[Cause]:
    try:
        compiled(source(rule, text), VARIABLES)
    except CelError as error:
        yield faults.invalid(path, text, f"compilation failed: {error}")
        return
    for chain in _CHAIN.finditer(plain(text)):
        names = chain[1].split(".")[1:]
        unknown = _unknown(names[:-1] if chain[2] else names, schema, root)
        if unknown and not (rule.get("optionalOldSelf") and chain[0].startswith("oldSelf")):
            yield faults.invalid(path, text, f"compilation failed: ERROR: <input>: undefined field '{unknown}'")


def _unknown(names: list[str], schema: Any, root: bool) -> str:
    """The first of the names that the schema does not have; empty when it has all, or keeps what it does not name."""
    for name in names:
        if not isinstance(schema, dict) or schema.get(_PRESERVE) or schema.get("x-kubernetes-int-or-string"):
            return ""
        if root and name in _ALWAYS:
            return ""
        root = bool(schema.get("x-kubernetes-embedded-resource")) and name in _ALWAYS
        if root:
            return ""
        properties = {escaped(key): below for key, below in (schema.get("properties") or {}).items()}
        if name in properties:
            schema = properties[name]
        elif schema.get("additionalProperties"):
            schema = schema["additionalProperties"]
        else:
            return name
    return ""
