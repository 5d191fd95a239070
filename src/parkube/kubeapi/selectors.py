"""Label and field selectors: parsing, printing, matching. Pure; they know no kind and no store.

Source: Kubernetes documentation, "Labels and Selectors" and "Field Selectors".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from parkube.kubeapi.errors import BadRequest, Obj

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_REQUIREMENT = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<absent_key>{_KEY})"
    rf"|(?P<key>{_KEY})\s*(?:(?P<op>==|!=|=|>|<)\s*(?P<value>{_VALUE})"
    rf"|\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)
_VALUE_ONLY = re.compile(_VALUE)


class Requirement(NamedTuple):
    """One term: `operator` is `=`, `!=`, `in`, `notin`, `exists`, `!`, `gt` or `lt`."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy this term."""
        have = labels.get(self.key)
        operator = self.operator
        if operator in ("=", "in"):
            return have is not None and have in self.values
        if operator in ("!=", "notin"):
            return have is None or have not in self.values
        if operator == "exists":
            return have is not None
        if operator == "!":
            return have is None
        try:
            return have is not None and _compare(operator, int(have), int(self.values[0]))
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.operator == "exists":
            return self.key
        if self.operator == "!":
            return f"!{self.key}"
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({','.join(self.values)})"
        sign = {"gt": ">", "lt": "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{self.values[0]}"


def _compare(operator: str, left: int, right: int) -> bool:
    return left > right if operator == "gt" else left < right


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All of its requirements must hold; the empty selector matches everything, `NOTHING` nothing."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """From the query form: `a=b,c!=d,e in (f,g),h,!i`. Raises BadRequest."""
        requirements = []
        position = 0
        while position < len(text):
            match = _REQUIREMENT.match(text, position)
            if match is None or (match.end() == len(text) and text.rstrip().endswith(",")):
                raise BadRequest(f"unable to parse requirement: {text[position:].strip()!r} in selector {text!r}")
            requirements.append(_requirement(match, text))
            position = match.end()
        return cls(tuple(requirements))

    @classmethod
    def from_object(cls, obj: Obj | None) -> LabelSelector:
        """From a `meta/v1` LabelSelector; None matches nothing, an empty one everything. Raises BadRequest."""
        if obj is None:
            return NOTHING
        requirements = [Requirement(k, "=", (v,)) for k, v in sorted((obj.get("matchLabels") or {}).items())]
        for term in obj.get("matchExpressions") or ():
            operator = _OPERATORS.get(term.get("operator", ""))
            if operator is None:
                raise BadRequest(f"{term.get('operator')!r} is not a valid label selector operator")
            requirements.append(Requirement(term.get("key", ""), operator, tuple(term.get("values") or ())))
        return cls(tuple(requirements))

    @property
    def empty(self) -> bool:
        """Whether everything matches."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy every requirement."""
        if self.nothing:
            return False
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


NOTHING = LabelSelector(nothing=True)


def _requirement(match: re.Match[str], text: str) -> Requirement:
    if match["absent"]:
        return Requirement(match["absent_key"], "!")
    key, operator = match["key"], match["op"]
    if match["set"]:
        values = tuple(sorted({value.strip() for value in match["values"].split(",")}))
        if not all(_VALUE_ONLY.fullmatch(value) for value in values):
            raise BadRequest(f"invalid value in selector {text!r}")
        return Requirement(key, match["set"], values)
    if operator is None:
        return Requirement(key, "exists")
    if operator in "<>":
        if not re.fullmatch(r"-?\d+", match["value"]):
            raise BadRequest(f"for 'Gt', 'Lt' operators, the value must be an integer: {text!r}")
        return Requirement(key, "gt" if operator == ">" else "lt", (match["value"],))
    return Requirement(key, "!=" if operator == "!=" else "=", (match["value"],))


_TERM = re.compile(r"(?:^|(?<=,))((?:[^\\,]|\\.|\\$)*)(?:,|$)", re.DOTALL)


class FieldTerm(NamedTuple):
    """One term of a field selector: a path, whether it must equal, and the value."""

    path: str
    equal: bool
    value: str


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All of its terms must hold."""

    terms: tuple[FieldTerm, ...] = field(default=())

    @classmethod
    def parse(cls, text: str) -> FieldSelector:
        """From the query form: `metadata.name=web,spec.nodeName!=`. `\\,` `\\=` `\\\\` escape. Raises BadRequest."""
        terms = []
        for part in filter(None, _TERM.findall(text)):
            match = re.match(r"((?:[^=!\\]|\\.)+?)(==|!=|=)(.*)$", part, re.DOTALL)
            if match is None:
                raise BadRequest(f"invalid selector: {text!r}; can't understand {part!r}")
            value = re.sub(r"\\([\\,=])", r"\1", match[3])
            terms.append(FieldTerm(match[1].strip(), match[2] != "!=", value))
        return cls(tuple(terms))

    @property
    def empty(self) -> bool:
        """Whether everything matches."""
        return not self.terms

    def required(self, path: str) -> str | None:
        """The value that `path` must equal, when a term says so."""
        for term in self.terms:
            if term.equal and term.path == path:
                return term.value
        return None

    def matches(self, value_of: Callable[[str], str]) -> bool:
        """Whether the fields, read through `value_of`, satisfy every term."""
        return all((value_of(term.path) == term.value) == term.equal for term in self.terms)

    def __str__(self) -> str:
        return ",".join(f"{t.path}{'=' if t.equal else '!='}{_escape(t.value)}" for t in self.terms)


def _escape(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)
