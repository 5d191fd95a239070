"""The generic handlers: every verb on every row of the catalogue. No kind is known here by name.

Reading answers from the watch cache's bytes where the client takes plain JSON; nothing is decoded then.
"""

from __future__ import annotations

from typing import Any

import orjson

from parkube.controlplane.apiserver import params, patching, watching
from parkube.controlplane.apiserver.http import Request, Response
from parkube.controlplane.apiserver.lists import list_body
from parkube.controlplane.apiserver.negotiation import PLAIN, Form, Unreadable, decode, encode, form
from parkube.controlplane.apiserver.protobuf import message_of
from parkube.controlplane.apiserver.router import Target
from parkube.controlplane.apiserver.special import Special
from parkube.controlplane.apiserver.tables import SCALE, Tabulator, columns_of, partial
from parkube.controlplane.registry.kinds.subresources import subresource as speaks
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import PatchType
from parkube.kubeapi.errors import BadRequest, MethodNotAllowed, NotFound, Obj

_SHOWN = 30  # bytes of a body that an error shows
_CONNECTED = ("attach", "exec", "portforward", "proxy")
_PROXY = "proxy"  # whatever the method and the path behind it, the proxied place answers


def no_such_resource() -> NotFound:
    """The answer for a path where nothing is served."""
    return NotFound("the server could not find the requested resource")


class Resources:
    """Answers requests for resources, once they are authorised."""

    def __init__(self, registry: Registry, special: Special) -> None:
        self._registry = registry
        self._special = special

    async def handle(self, request: Request, at: Target) -> Response | None:
        """The answer; None when it went onto a stream or was taken over."""
        row = at.row
        if row is None:
            raise no_such_resource()
        namespace = at.namespace if row.namespaced else ""
        if at.subresource:
            self._known(row, at)
        elif at.verb not in row.verbs or (not at.name and at.verb in ("update", "patch")):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        verb = at.verb
        if at.subresource and (raw := self._special.raw(row, at.subresource)) is not None:
            if at.subresource in _CONNECTED:
                about = speaks(row, at.subresource)
                options = params.connect_options(request, row.api_version, about.kind)
                if at.rest:
                    options["path"] = f"/{at.rest}"
                context = Context(request.user)
                await self._registry.connect(row, namespace, at.name, options, context, at.subresource)
            return await raw(request, row, namespace, at.name)
        if verb == "get":
            return await self._get(request, row, namespace, at)
        if verb == "list":
            return await self._list(request, row, namespace)
        if verb == "watch":
            watching.start(self._registry, row, namespace, at.name, request, _form(request, row))
            return None
        if verb in ("create", "update", "patch"):
            return await self._write(request, row, namespace, at)
        if verb == "delete":
            return await self._delete(request, row, namespace, at.name)
        if verb == "deletecollection":
            return await self._delete_collection(request, row, namespace)
        raise MethodNotAllowed("the server does not allow this method on the requested resource")

    def _known(self, row: Resource, at: Target) -> None:
        if at.subresource not in row.subresources or (at.rest and at.subresource != _PROXY):
            raise no_such_resource()
        verbs = speaks(row, at.subresource).verbs
        if at.verb not in verbs and at.subresource != _PROXY:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")

    async def _get(self, request: Request, row: Resource, namespace: str, at: Target) -> Response:
        shape = _form(request, row)
        if at.subresource == "scale":
            scale = await self._registry.get_scale(row, namespace, at.name)
            return self._one(shape, row, scale, request)
        stored = await self._registry.get(row, namespace, at.name)
        if shape == PLAIN:
            return Response(200, stored.value)
        return self._one(shape, row, stored.object(), request)

    def _one(self, shape: Form, row: Resource, obj: Obj, request: Request, status: int = 200) -> Response:
        if shape.kind == "Table" and obj.get("kind") in (row.kind, "Scale"):
            meta = {"resourceVersion": (obj.get("metadata") or {}).get("resourceVersion", "")}
            columns = columns_of(row) if obj["kind"] == row.kind else SCALE
            obj = Tabulator(columns, shape.version, request.query.get("includeObject", "")).table([obj], meta)
        elif shape.kind.startswith("Partial"):
            obj = partial(obj, shape.version)
        return Response(status, encode(obj, shape), shape.content_type)

    async def _list(self, request: Request, row: Resource, namespace: str) -> Response:
        shape = _form(request, row)
        result = await self._registry.list(row, namespace, params.list_options(request))
        return Response(
            200, await list_body(row, result, shape, request.query.get("includeObject", "")), shape.content_type
        )

    async def _write(self, request: Request, row: Resource, namespace: str, at: Target) -> Response:
        shape = _form(request, row)
        context = params.context(request)
        kind = request.headers.get("content-type", "")
        if at.verb == "patch":
            patch_kind = patching.kind_of(kind, row)
            force, patch = params.force(request, apply=patch_kind is PatchType.APPLY), self._read(request, row, context)
            if patch_kind is PatchType.APPLY and at.subresource != "scale":
                if context.duplicates and context.field_validation == "Strict":
                    raise BadRequest(
                        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  "
                        + "\n  ".join(context.duplicates)
                    )
                config = patching.configuration(row, at.name, patch)
                registry = self._registry
                obj, new = await registry.apply(row, namespace, at.name, config, context, at.subresource, force=force)
                return self._written(shape, row, obj, request, context, 201 if new else 200)
            change = patching.change(row, patch_kind, patch)
            obj = await self._registry.mutate(row, namespace, at.name, change, context, at.subresource)
            return self._written(shape, row, obj, request, context, 200)
        obj = self._body(row, at.subresource, self._read(request, row, context))
        if at.verb == "update":
            obj = await self._registry.update(row, namespace, at.name, obj, context, at.subresource)
            return self._written(shape, row, obj, request, context, 200)
        answer = self._special.create(row, at.subresource)
        if answer is not None:
            obj = await answer(row, namespace, at.name, obj, context)
        elif at.name and not at.subresource:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        else:
            obj = await self._registry.create(row, namespace, obj, context, at.subresource)
        return self._written(shape, row, obj, request, context, 201)

    @staticmethod
    def _read(request: Request, row: Resource, context: Context) -> Any:
        """The body's value; `context` learns what it names twice."""
        kind = request.headers.get("content-type", "")
        try:
            return decode(request.body, kind, None if context.field_validation == "Ignore" else context.duplicates)
        except Unreadable as error:
            if request.method == "PATCH":
                raise BadRequest(f"error decoding patch: {error.why}") from None
            raise BadRequest(
                f"the object provided is unrecognized (must be of type {row.kind}): couldn't get version/kind; "
                f"{error.why} ({_beginning(request.body)})"
            ) from None

    def _written(
        self, shape: Form, row: Resource, obj: Obj, request: Request, context: Context, status: int
    ) -> Response:
        if shape == PLAIN:
            response = Response(status, orjson.dumps(obj))
        else:
            response = self._one(shape, row, obj, request, status)
        if context.warnings:
            response.headers.extend(warning(text) for text in context.warnings)
        return response

    def _body(self, row: Resource, subresource: str, value: Any) -> Obj:
        """The object of a POST or PUT; its kind and version are those of the path."""
        if not isinstance(value, dict):
            raise BadRequest("the body of the request is not an object" if value is not None else "the body is empty")
        kind, group_version = row.kind, row.api_version
        if subresource:
            about = speaks(row, subresource)
            kind = about.kind
            if about.group or about.version:
                group_version = f"{about.group}/{about.version}" if about.group else about.version
        if not value.get("kind"):
            value["kind"] = kind
        if not value.get("apiVersion"):
            value["apiVersion"] = group_version
        if value["kind"] != kind:
            raise BadRequest(
                f'{value["kind"]} in version "{group_version.rpartition("/")[2]}" cannot be handled as a {kind}: '
                f"the kind in the data does not match the resource of the path"
            )
        if value["apiVersion"] != group_version and not self._special.takes(subresource, str(value["apiVersion"])):
            raise BadRequest(
                f"the API version in the data ({value['apiVersion']}) does not match the expected API version "
                f"({group_version})"
            )
        return value

    async def _delete(self, request: Request, row: Resource, namespace: str, name: str) -> Response:
        shape = _form(request, row)
        options = params.delete_options(request, decode(request.body, request.headers.get("content-type", "")))
        context = params.delete_context(request, options)
        obj = await self._registry.delete(row, namespace, name, options, context)
        if obj.get("kind") == "Status":
            return Response(200, encode(obj, shape), shape.content_type)
        return self._written(shape, row, obj, request, context, 200)

    async def _delete_collection(self, request: Request, row: Resource, namespace: str) -> Response:
        shape = _form(request, row)
        options = params.delete_options(request, decode(request.body, request.headers.get("content-type", "")))
        context = params.delete_context(request, options)
        chosen = params.list_options(request)
        result = await self._registry.delete_collection(row, namespace, chosen, options, context)
        return Response(
            200, await list_body(row, result, shape, request.query.get("includeObject", "")), shape.content_type
        )


def _beginning(body: bytes) -> str:
    """What a body that cannot be read begins with: as text where it looks like an object, else in hex."""
    if not body:
        return "<empty>"
    shown = body[:_SHOWN].decode(errors="replace") if body.startswith(b"{") else body[:_SHOWN].hex()
    return shown + (" ..." if len(body) > _SHOWN else "")


def _form(request: Request, row: Resource) -> Form:
    """The form of the answer: Tables of what is listed, protobuf for kinds that have a message."""
    typed = not row.crd and bool(message_of(row.api_version, row.kind))
    return form(request.headers.get("accept", ""), tables=not row.virtual, typed=typed)


def warning(text: str) -> tuple[bytes, bytes]:
    """A Warning header as kubectl prints it."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", " ")
    return b"Warning", f'299 - "{quoted}"'.encode()
