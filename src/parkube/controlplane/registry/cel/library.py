"""The functions that Kubernetes adds to CEL, and the environment that has them. Imports the library: see the package.

Values that CEL has no type for (quantities, URLs, addresses, versions) are maps with one marked key.
Source: Kubernetes documentation, "Common Expression Language in Kubernetes", Kubernetes CEL libraries.
"""

from __future__ import annotations

import importlib
import ipaddress
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

from parkube.controlplane.registry.cel import asking
from parkube.controlplane.registry.metadata import NAME_RULES
from parkube.kubeapi import quantities

_cel: Any = importlib.import_module("cel_expr_python.cel")
_T: Any = _cel.Type
_STRING, _BOOL, _INT, _DYN, _DOUBLE = _T.STRING, _T.BOOL, _T.INT, _T.DYN, _T.DOUBLE
_LIST = _T.List(_DYN)
_MAP = _T.Map(_STRING, _DYN)
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")

Function = tuple[str, Any, list[Any], bool, Callable[..., Any]]
"""Name, type of the result, types of the arguments, whether it is called on the first, what it does."""


def _takes(parse: Callable[..., Any]) -> Callable[..., bool]:
    def fits(*arguments: Any) -> bool:
        try:
            parse(*arguments)
        except ValueError:
            return False
        return True

    return fits


def _amount(value: Any) -> Decimal:
    return quantities.parse(value["quantity"]) if isinstance(value, dict) else Decimal(value)


def _quantity(amount: Decimal | str) -> dict[str, str]:
    return {"quantity": quantities.canonical(amount if isinstance(amount, str) else f"{amount:f}")}


def _order(first: Decimal, second: Decimal) -> int:
    return (first > second) - (first < second)


def _quantities() -> Iterator[Function]:
    yield "quantity", _MAP, [_STRING], False, _quantity
    yield "isQuantity", _BOOL, [_STRING], False, _takes(quantities.parse)
    yield "sign", _INT, [_MAP], True, lambda q: _order(_amount(q), Decimal(0))
    yield "isInteger", _BOOL, [_MAP], True, lambda q: _amount(q) == _amount(q).to_integral_value()
    yield "asInteger", _INT, [_MAP], True, lambda q: int(_amount(q))
    yield "asApproximateFloat", _DOUBLE, [_MAP], True, lambda q: float(_amount(q))
    for other in (_MAP, _INT):
        yield "add", _MAP, [_MAP, other], True, lambda q, more: _quantity(_amount(q) + _amount(more))
        yield "sub", _MAP, [_MAP, other], True, lambda q, less: _quantity(_amount(q) - _amount(less))
    yield "isGreaterThan", _BOOL, [_MAP, _MAP], True, lambda a, b: _rank(a, b) > 0
    yield "isLessThan", _BOOL, [_MAP, _MAP], True, lambda a, b: _rank(a, b) < 0
    yield "compareTo", _INT, [_MAP, _MAP], True, lambda a, b: _rank(a, b)


def _rank(first: Any, second: Any) -> int:
    if "semver" in first:
        a, b = _version(first["semver"]), _version(second["semver"])
        return (a > b) - (a < b)
    return _order(_amount(first), _amount(second))


def _version(text: str) -> tuple[Any, ...]:
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a semantic version")
    parts = match[4].split(".") if match[4] else []
    rest = tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts)
    return (int(match[1]), int(match[2]), int(match[3]), not parts, rest)


def _versions() -> Iterator[Function]:
    yield "semver", _MAP, [_STRING], False, lambda text: {"semver": text} if _version(text) else {}
    yield "isSemver", _BOOL, [_STRING], False, _takes(_version)
    for at, name in enumerate(("major", "minor", "patch")):
        yield name, _INT, [_MAP], True, lambda v, at=at: _version(v["semver"])[at]


def _strings_and_lists() -> Iterator[Function]:
    yield "find", _STRING, [_STRING, _STRING], True, lambda s, p: m[0] if (m := re.search(p, s)) else ""
    yield "findAll", _T.List(_STRING), [_STRING, _STRING], True, lambda s, p: [m[0] for m in re.finditer(p, s)]
    yield "findAll", _T.List(_STRING), [_STRING, _STRING, _INT], True, lambda s, p, n: [
        m[0] for m in re.finditer(p, s)][: n if n >= 0 else None]  # fmt: skip
    yield "isSorted", _BOOL, [_LIST], True, lambda items: all(a <= b for a, b in pairwise(items))
    yield "sum", _DYN, [_LIST], True, sum
    yield "min", _DYN, [_LIST], True, min
    yield "max", _DYN, [_LIST], True, max
    yield "sets.contains", _BOOL, [_LIST, _LIST], False, lambda a, b: all(item in a for item in b)
    yield "sets.intersects", _BOOL, [_LIST, _LIST], False, lambda a, b: any(item in a for item in b)
    yield "sets.equivalent", _BOOL, [_LIST, _LIST], False, lambda a, b: all(i in a for i in b) and all(
        i in b for i in a)  # fmt: skip


def _url(text: str) -> dict[str, str]:
    parts = urlsplit(text)
    if not (parts.scheme and parts.netloc) and not text.startswith("/"):
        raise ValueError(f"{text!r} is not an absolute URL or path")
    return {"url": text}


def _urls() -> Iterator[Function]:
    yield "url", _MAP, [_STRING], False, _url
    yield "isURL", _BOOL, [_STRING], False, _takes(_url)
    yield "getScheme", _STRING, [_MAP], True, lambda u: urlsplit(u["url"]).scheme
    yield "getHost", _STRING, [_MAP], True, lambda u: urlsplit(u["url"]).netloc.rpartition("@")[2]
    yield "getHostname", _STRING, [_MAP], True, lambda u: urlsplit(u["url"]).hostname or ""
    yield "getPort", _STRING, [_MAP], True, lambda u: str(urlsplit(u["url"]).port or "")
    yield "getEscapedPath", _STRING, [_MAP], True, lambda u: urlsplit(u["url"]).path
    yield "getQuery", _MAP, [_MAP], True, lambda u: parse_qs(urlsplit(u["url"]).query, keep_blank_values=True)


def _ip(value: Any) -> Any:
    return ipaddress.ip_address(value["ip"] if isinstance(value, dict) else value)


def _cidr(value: Any) -> Any:
    return ipaddress.ip_network(value["cidr"] if isinstance(value, dict) else value, strict=False)


def _inside(network: Any, other: Any) -> bool:
    if "/" in (other if isinstance(other, str) else next(iter(other.values()))):
        inner, outer = _cidr(other), _cidr(network)
        return bool(inner.version == outer.version and inner.subnet_of(outer))
    return _ip(other) in _cidr(network)


def _addresses() -> Iterator[Function]:
    yield "ip", _MAP, [_STRING], False, lambda text: {"ip": str(_ip(text))}
    yield "isIP", _BOOL, [_STRING], False, _takes(_ip)
    yield "ip.isCanonical", _BOOL, [_STRING], False, lambda text: str(_ip(text)) == text
    yield "family", _INT, [_MAP], True, lambda one: _ip(one).version
    yield "isUnspecified", _BOOL, [_MAP], True, lambda one: _ip(one).is_unspecified
    yield "isLoopback", _BOOL, [_MAP], True, lambda one: _ip(one).is_loopback
    yield "isLinkLocalMulticast", _BOOL, [_MAP], True, lambda one: str(_ip(one)).startswith(("224.0.0.", "ff02:"))
    yield "isLinkLocalUnicast", _BOOL, [_MAP], True, lambda one: _ip(one).is_link_local
    yield "isGlobalUnicast", _BOOL, [_MAP], True, lambda one: not (
        _ip(one).is_multicast or _ip(one).is_loopback or _ip(one).is_link_local or _ip(one).is_unspecified)  # fmt: skip
    yield "cidr", _MAP, [_STRING], False, lambda text: {"cidr": text} if _cidr(text) else {}
    yield "isCIDR", _BOOL, [_STRING], False, _takes(_cidr)
    yield "prefixLength", _INT, [_MAP], True, lambda one: _cidr(one).prefixlen
    yield "masked", _MAP, [_MAP], True, lambda one: {"cidr": str(_cidr(one))}
    for other in (_MAP, _STRING):
        yield "containsIP", _BOOL, [_MAP, other], True, _inside
        yield "containsCIDR", _BOOL, [_MAP, other], True, _inside


def _formats() -> Iterator[Function]:
    names = {"dns1123Label": "label", "dns1123Subdomain": "subdomain", "dns1035Label": "label1035"}
    for called, rule in names.items():
        yield f"format.{called}", _MAP, [], False, lambda rule=rule: {"format": rule}
    yield "validate", _LIST, [_MAP, _STRING], True, lambda rule, text: _unfit(rule["format"], text)
    yield "jsonpatch.escapeKey", _STRING, [_STRING], False, lambda text: text.replace("~", "~0").replace("/", "~1")


def _rights() -> Iterator[Function]:
    """`authorizer.group("apps").resource("deployments").namespace("shop").check("create").allowed()` and its like."""
    for part in ("path", "group", "resource", "subresource", "namespace", "name"):
        yield part, _MAP, [_MAP, _STRING], True, lambda check, text, part=part: _asked(check, part, text)
    yield "serviceAccount", _MAP, [_MAP, _STRING, _STRING], True, lambda check, namespace, name: _asked(
        check, "account", f"{namespace}:{name}")  # fmt: skip
    yield "check", _MAP, [_MAP, _STRING], True, _decided
    yield "allowed", _BOOL, [_MAP], True, lambda decision: bool(decision["allowed"])
    yield "reason", _STRING, [_MAP], True, lambda decision: decision["reason"]
    yield "errored", _BOOL, [_MAP], True, lambda decision: False
    yield "error", _STRING, [_MAP], True, lambda decision: ""


def _asked(check: Any, part: str, text: str) -> dict[str, str]:
    kept = {key: value for key, value in check.items() if key != "requestResource"}
    return {**kept, part: text}


def _decided(check: Any, verb: str) -> dict[str, Any]:
    allowed, reason = asking.get()({**check, "verb": verb})
    return {"allowed": "yes" if allowed else "", "reason": reason}


def _unfit(rule: str, text: str) -> list[str]:
    pattern, longest, words = NAME_RULES[rule]
    return [words] if len(text) > longest or not pattern.fullmatch(text) else []


@lru_cache(maxsize=1)
def _functions() -> list[Any]:
    overloads: dict[str, list[Any]] = {}
    groups = (_quantities(), _versions(), _strings_and_lists(), _urls(), _addresses(), _formats(), _rights())
    for group in groups:
        for name, result, arguments, member, run in group:
            found = overloads.setdefault(name, [])
            found.append(_cel.Overload(
                f"parkube_{name.replace('.', '_')}_{len(found)}", result, arguments, is_member=member, impl=run
            ))  # fmt: skip
    return [_cel.FunctionDecl(name, found) for name, found in overloads.items()]


@lru_cache(maxsize=64)
def environment(variables: tuple[str, ...]) -> Any:
    """An environment in which these variables are dynamic."""
    extensions = [
        getattr(importlib.import_module(f"cel_expr_python.ext.ext_{name.lower()}"), f"Ext{name}")()
        for name in ("Strings", "Optional", "Math", "Bindings", "Encoders")
    ]
    return _cel.NewEnv(variables=dict.fromkeys(variables, _DYN), functions=_functions(), extensions=extensions)
