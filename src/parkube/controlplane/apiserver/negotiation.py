"""Which form a client wants its answer in, and what form its body came in. Pure functions on header values."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import orjson
import yaml

from parkube.controlplane.apiserver import duplicates, protobuf
from parkube.kubeapi.errors import BadRequest, NotAcceptable, Obj, UnsupportedMediaType

_META_VERSIONS = ("v1", "v1beta1")
_PARTIAL = ("PartialObjectMetadata", "PartialObjectMetadataList")
PROTOBUF = "application/vnd.kubernetes.protobuf"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Media(NamedTuple):
    """One media range of an Accept header, its parameters taken apart. `as_`, `group`, `version`: the API's own."""

    type: str
    as_: str = ""
    group: str = ""
    version: str = ""
    raw: str = ""


@lru_cache(maxsize=256)
def accepted(accept: str) -> tuple[Media, ...]:
    """The media ranges of an Accept header in the client's order, by falling `q`."""
    found: list[tuple[float, Media]] = []
    for part in (accept or "*/*").split(","):
        kind, *params = (piece.strip() for piece in part.split(";"))
        values = dict(p.split("=", 1) for p in params if "=" in p)
        try:
            q = float(values.get("q", "1"))
        except ValueError:
            q = 1.0
        media = Media(kind.lower(), values.get("as", ""), values.get("g", ""), values.get("v", ""), part.strip())
        found.append((-q, media))
    found.sort(key=lambda pair: pair[0])
    return tuple(media for _, media in found)


class Unreadable(BadRequest):
    """A body is not in the form that it says; `why` is its parser's sentence."""

    def __init__(self, form_: str, why: str) -> None:
        super().__init__(f"the body of the request was not valid {form_}: {why}")
        self.why = f"{form_.lower()} parse error: {why}"


class Form(NamedTuple):
    """How objects are to be written: `kind` is "", "Table", "PartialObjectMetadata" or "PartialObjectMetadataList"."""

    kind: str = ""
    version: str = ""
    yaml: bool = False
    protobuf: bool = False

    @property
    def content_type(self) -> bytes:
        """The answer's Content-Type."""
        if self.protobuf:
            return PROTOBUF.encode()
        return b"application/yaml" if self.yaml else b"application/json"


PLAIN = Form()


@lru_cache(maxsize=512)
def form(accept: str, *, tables: bool = True, typed: bool = True) -> Form:
    """The first form the client accepts that can be given. `tables`: whether there are Tables of what is asked for;
    `typed`: whether its kind has a protobuf message. Raises NotAcceptable."""
    for media in accepted(accept):
        as_protobuf = media.type == PROTOBUF
        as_yaml = media.type in ("application/yaml", "text/yaml")
        if as_protobuf and not typed:
            continue
        if not (as_protobuf or as_yaml) and media.type not in ("*/*", "application/*", "application/json"):
            continue
        if not media.as_:
            return Form("", "", as_yaml, as_protobuf)
        if media.group != "meta.k8s.io" or media.version not in _META_VERSIONS:
            continue
        if media.as_ in _PARTIAL or (media.as_ == "Table" and tables and not as_protobuf):
            return Form(media.as_, media.version, as_yaml, as_protobuf)
    raise NotAcceptable(
        "only the following media types are accepted: application/json, application/yaml"
        + (f", {PROTOBUF}" if typed else "")
    )


def decode(body: bytes, content_type: str, twice: list[str] | None = None) -> Any:
    """The value of a JSON, YAML or protobuf body; fields that it names twice go to `twice`. Raises BadRequest or
    UnsupportedMediaType."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("application/yaml", "text/yaml", "application/x-yaml", "application/apply-patch+yaml"):
        return _decode_yaml(body, twice)
    if kind in ("", "*/*", "application/json", "text/json") or kind.endswith("+json"):
        if not body.strip():
            return None
        try:
            value = orjson.loads(body)
            if twice is not None:
                twice += duplicates.in_json(body, value)
        except (orjson.JSONDecodeError, RecursionError) as error:
            raise Unreadable("JSON", str(error)) from None
        return value
    if kind == PROTOBUF:
        if not body:
            return None
        try:
            return protobuf.decode(body)
        except protobuf.ProtobufError as problem:
            raise BadRequest(f"the body of the request was not a valid protobuf object: {problem}") from None
    raise UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


def _decode_yaml(body: bytes, twice: list[str] | None) -> Any:
    try:
        if b"*" in body and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(body, Loader=_Loader)):
            raise Unreadable("YAML", "aliases are not accepted")
        if twice is not None:
            twice += duplicates.in_yaml(body)
        # through JSON, so that dates and other things YAML knows and JSON does not come out as text
        return orjson.loads(orjson.dumps(yaml.load(body, Loader=_Loader), default=str))
    except (yaml.YAMLError, orjson.JSONDecodeError, TypeError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        at = f" (line {where.line + 1})" if where is not None else ""
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise Unreadable("YAML", f"{what}{at}") from None


def encode(value: Obj, shape: Form) -> bytes:
    """An object in the client's form."""
    if shape.protobuf:
        return protobuf.encode(value)
    if shape.yaml:
        return yaml.safe_dump(value, sort_keys=True).encode()
    return orjson.dumps(value)
