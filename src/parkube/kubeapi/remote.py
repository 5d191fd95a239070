"""The API's client over HTTP: the verbs as requests, watches as streams of lines. It retries and caches nothing."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from parkube.kubeapi.client import GVR, PatchType, WatchEvent
from parkube.kubeapi.errors import ApiError, Obj, from_status
from parkube.kubeapi.http import Dialer, HttpClient

_JSON = {"Content-Type": "application/json"}
_WATCH_MIN_S, _WATCH_MAX_S = 1800, 3600


class RemoteClient:
    """Implements `kubeapi.client.Client`. Raises ApiError for what the server answers, ConnectionError and
    TimeoutError for what keeps it from answering."""

    def __init__(
        self,
        dial: Dialer,
        *,
        host: str = "parkube",
        token: Callable[[], str] | None = None,
        user_agent: str = "parkube",
        timeout: float = 30.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        fixed = {"Accept": "application/json", "User-Agent": user_agent}
        self._http = HttpClient(dial, host=host, headers=fixed)
        self._token, self._timeout, self._jitter = token, timeout, jitter

    async def close(self) -> None:
        """Close every connection; running watches end with an error."""
        await self._http.close()

    async def get(self, gvr: GVR, name: str, namespace: str = "", *, subresource: str = "") -> Obj:
        """See `Client`."""
        return await self._call("GET", _path(gvr, namespace, name, subresource))

    async def list(
        self,
        gvr: GVR,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> Obj:
        """See `Client`."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector, "continue": continue_}
        return await self._call("GET", _path(gvr, namespace), {**query, "limit": str(limit) if limit else ""})

    async def create(self, gvr: GVR, obj: Obj, namespace: str = "", *, name: str = "", subresource: str = "") -> Obj:
        """See `Client`."""
        namespace = namespace or (obj.get("metadata") or {}).get("namespace") or ""
        return await self._call("POST", _path(gvr, namespace, name, subresource), body=orjson.dumps(obj))

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        """See `Client`."""
        metadata = obj["metadata"]
        path = _path(gvr, metadata.get("namespace") or "", metadata["name"], subresource)
        return await self._call("PUT", path, body=orjson.dumps(obj))

    async def patch(
        self, gvr: GVR, name: str, patch: Obj | Sequence[Obj], namespace: str = "", *,
        kind: PatchType = PatchType.MERGE, subresource: str = "",
    ) -> Obj:  # fmt: skip
        """See `Client`."""
        path = _path(gvr, namespace, name, subresource)
        return await self._call("PATCH", path, body=orjson.dumps(patch), headers={"Content-Type": kind.value})

    async def delete(self, gvr: GVR, name: str, namespace: str = "", *, options: Obj | None = None) -> Obj:
        """See `Client`."""
        body = orjson.dumps({"kind": "DeleteOptions", "apiVersion": "v1", **options}) if options else b""
        return await self._call("DELETE", _path(gvr, namespace, name), body=body)

    async def watch(
        self,
        gvr: GVR,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """See `Client`. The server is asked to end it after half an hour to an hour, so that watches spread again."""
        seconds = _WATCH_MIN_S + int(self._jitter() * (_WATCH_MAX_S - _WATCH_MIN_S))
        query = {
            "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": resource_version,
            "labelSelector": label_selector, "fieldSelector": field_selector, "timeoutSeconds": str(seconds),
        }  # fmt: skip
        stream = await self._http.stream(
            "GET", _with_query(_path(gvr, namespace), query), headers=self._authorization(), timeout=self._timeout
        )
        try:
            if stream.status != 200:
                raise _error(stream.status, await stream.read())
            rest = b""
            async for piece in stream.chunks():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line:
                        event = orjson.loads(line)
                        if event["type"] == "ERROR":
                            raise from_status(event["object"])
                        yield WatchEvent(event["type"], event["object"])
        finally:
            stream.close()

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token()}"} if self._token is not None else {}

    async def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes = b"",
        headers: Mapping[str, str] = _JSON,
    ) -> Obj:  # fmt: skip
        answer = await self._http.request(
            method, _with_query(path, query or {}), body=body, timeout=self._timeout,
            headers={**(headers if body else {}), **self._authorization()},
        )  # fmt: skip
        if answer.status >= 300:
            raise _error(answer.status, answer.body)
        result: Obj = orjson.loads(answer.body)
        return result


def _path(gvr: GVR, namespace: str, name: str = "", subresource: str = "") -> str:
    return gvr.path(quote(namespace, safe=""), quote(name, safe=""), subresource)


def _with_query(path: str, query: Mapping[str, str]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def _error(code: int, body: bytes) -> ApiError:
    status: Any
    try:
        status = orjson.loads(body)
    except ValueError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return from_status({"code": code, **status})
    words = body[:200].decode("utf-8", "replace").strip() or f"the server answered {code}"
    return from_status({"code": code, "message": words})
