"""Checks that many kinds' rules share: names, ports, percentages, selectors, keys, enums. Each returns faults.

Sentences as in apimachinery's `validation` package, since people search for them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.metadata import NAME_RULES, label_faults
from parkube.kubeapi.errors import Cause, Obj

NOT_NEGATIVE = "must be greater than or equal to 0"
_PORT_NAME = re.compile(r"[a-z0-9-]+")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_PERCENT = re.compile(r"[0-9]+%")
_CONFIG_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_PERCENT_RULE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)


@lru_cache(4096)
def _name_sentences(value: str, rule: str) -> tuple[str, ...]:
    pattern, longest, words = NAME_RULES[rule]
    found = [f"must be no more than {longest} characters"] if len(value) > longest else []
    if not pattern.fullmatch(value):
        found.append(words)
    return tuple(found)


def name(value: Any, path: str, rule: str = "label") -> list[Cause]:
    """A name by the rules `label` (RFC 1123), `label1035` or `subdomain`; required."""
    if not value:
        return [faults.required(path)]
    return [faults.invalid(path, value, words) for words in _name_sentences(value, rule)]


def one_of(value: Any, path: str, allowed: Iterable[str]) -> list[Cause]:
    """An enum; absent values are for defaults to fill."""
    return [] if value in allowed else [faults.unsupported(path, "" if value is None else value, allowed)]


def not_negative(obj: Obj, path: str, *keys: str) -> list[Cause]:
    """Numbers that may be absent but not below zero."""
    return [
        faults.invalid(f"{path}.{key}", obj[key], NOT_NEGATIVE)
        for key in keys
        if key in obj and obj[key] is not None and obj[key] < 0
    ]


def positive(obj: Obj, path: str, *keys: str) -> list[Cause]:
    """Numbers that may be absent but must be above zero."""
    return [
        faults.invalid(f"{path}.{key}", obj[key], "must be greater than zero")
        for key in keys
        if key in obj and obj[key] is not None and obj[key] <= 0
    ]


def port_number(value: Any, path: str) -> list[Cause]:
    """A port number."""
    if isinstance(value, int) and 0 < value < 65536:
        return []
    return [faults.invalid(path, value, "must be between 1 and 65535, inclusive")]


def port_name(value: str, path: str) -> list[Cause]:
    """An IANA service name."""
    return [faults.invalid(path, value, words) for words in _port_name_sentences(value)]


@lru_cache(1024)
def _port_name_sentences(value: str) -> tuple[str, ...]:
    found = []
    if len(value) > 15:
        found.append("must be no more than 15 characters")
    if not _PORT_NAME.fullmatch(value):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return tuple(found)


def port_or_name(value: Any, path: str) -> list[Cause]:
    """A port by number or by name."""
    return port_name(value, path) if isinstance(value, str) else port_number(value, path)


def count_or_percent(value: Any, path: str) -> list[Cause]:
    """A number that is not negative, or a percentage up to 100 %."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            return [faults.invalid(path, value, _PERCENT_RULE)]
        return [faults.invalid(path, value, "must not be greater than 100%")] if int(value[:-1]) > 100 else []
    return [faults.invalid(path, value, NOT_NEGATIVE)] if isinstance(value, int) and value < 0 else []


def config_key(key: str, path: str) -> list[Cause]:
    """A key of a ConfigMap or Secret."""
    if _CONFIG_KEY.fullmatch(key):
        if key == "." or key.startswith(".."):
            return [faults.invalid(path, key, "must not be '.' or start with '..'")]
        return [faults.invalid(path, key, "must be no more than 253 characters")] if len(key) > 253 else []
    return [faults.invalid(path, key, _CONFIG_KEY_RULE)]


def address(value: Any, path: str) -> list[Cause]:
    """An IP address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return [faults.invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    return []


def labels(value: Any, path: str) -> list[Cause]:
    """A map of labels, or a plain selector."""
    return label_faults(value, path) if value else []


_WITH_VALUES, _WITHOUT_VALUES = ("In", "NotIn"), ("Exists", "DoesNotExist")


def label_selector(selector: Obj, path: str) -> list[Cause]:
    """A LabelSelector."""
    found = labels(selector.get("matchLabels"), f"{path}.matchLabels")
    for at, rule in enumerate(selector.get("matchExpressions") or ()):
        here, operator, values = f"{path}.matchExpressions[{at}]", rule.get("operator"), rule.get("values")
        found += [faults.required(f"{here}.{key}") for key in ("key", "operator") if not rule.get(key)]
        if operator in _WITH_VALUES and not values:
            found.append(faults.required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in _WITHOUT_VALUES and values:
            words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(faults.forbidden(f"{here}.values", words))
        elif operator and operator not in (*_WITH_VALUES, *_WITHOUT_VALUES):
            found.append(faults.invalid(f"{here}.operator", operator, "not a valid selector operator"))
        found += labels({rule.get("key") or "": ""}, f"{here}.key") if rule.get("key") else []
    return found


def relative_path(value: str, path: str) -> list[Cause]:
    """A path inside a volume."""
    if value.startswith("/"):
        return [faults.invalid(path, value, "must be a relative path")]
    return no_backsteps(value, path)


def no_backsteps(value: str, path: str) -> list[Cause]:
    """A path without `..`."""
    if ".." in value.split("/"):
        return [faults.invalid(path, value, "must not contain '..'")]
    return []
