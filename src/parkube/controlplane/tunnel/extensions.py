"""API servers behind Services (API aggregation): which there are, how they are reached, whether they answer and what
they serve. What a client may ask of them, and how it is passed on, is the API server's.

    APIService with a Service --put--> asked for its resources, every 30 s (every second until it answers)
                                          |
                       condition `Available` of the APIService, and what discovery tells

Source: Kubernetes documentation, "Configure the Aggregation Layer"; API reference, APIService.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from parkube.controlplane.tunnel import relay
from parkube.controlplane.tunnel.reach import Reach
from parkube.kubeapi.client import GVR, Client
from parkube.kubeapi.errors import ApiError, BadRequest, NotFound, Obj, ServiceUnavailable
from parkube.kubeapi.http import Dialer
from parkube.kubeapi.objects import rfc3339, set_condition

log = logging.getLogger(__name__)

APISERVICES = GVR("apiregistration.k8s.io", "v1", "apiservices")
_ANSWER_S = 5.0
_AGAIN_S, _SOON_S = 30.0, 1.0
_LONGEST = 8 * 1024 * 1024
_ASKING = (("x-remote-user", "system:kube-aggregator"), ("x-remote-group", "system:masters"))

Context = Callable[[bytes, bool], ssl.SSLContext]
"""(CA bundle as PEM, whether the certificate is not checked) -> TLS that shows who we are."""


class Verdict(NamedTuple):
    """The condition `Available`."""

    status: str
    reason: str
    message: str


PASSED = Verdict("True", "Passed", "all checks passed")


@dataclass(slots=True)
class Extension:
    """One group version that another server serves. `resources`: what it said it has, as APIResources."""

    name: str
    group: str
    version: str
    namespace: str
    service: str
    port: str
    bundle: bytes
    unchecked: bool
    available: bool = False
    resources: list[Obj] = field(default_factory=list)

    @property
    def host(self) -> str:
        """The name that its certificate must have."""
        return f"{self.service}.{self.namespace}.svc"

    @property
    def root(self) -> str:
        """The path below which it serves."""
        return f"/apis/{self.group}/{self.version}"


def extension_of(obj: Obj) -> Extension | None:
    """None for an APIService that this server serves itself."""
    spec = obj.get("spec") or {}
    service = spec.get("service")
    if not service:
        return None
    try:
        bundle = base64.b64decode(spec.get("caBundle") or "")
    except ValueError:
        bundle = b""
    return Extension(
        obj["metadata"]["name"], spec.get("group") or "", spec.get("version") or "", service.get("namespace") or "",
        service.get("name") or "", str(service.get("port") or 443), bundle, bool(spec.get("insecureSkipTLSVerify")),
    )  # fmt: skip


class Extensions:
    """All of them; `put` and `drop` are fed by events, `watch_over` asks and writes what it found."""

    def __init__(self, client: Client, reach: Reach, context: Context, clock: Callable[[], float]) -> None:
        self._client, self._reach, self._context, self._clock = client, reach, context, clock
        self._found: dict[str, Extension] = {}
        self._new = asyncio.Event()
        self.by_version: dict[tuple[str, str], Extension] = {}
        self.changed: Callable[[], None] = lambda: None

    def put(self, obj: Obj) -> None:
        """An APIService exists, as it now is."""
        fresh, name = extension_of(obj), obj["metadata"]["name"]
        known = self._found.get(name)
        if fresh is not None and known is not None:
            fresh.available, fresh.resources = known.available, known.resources
        if fresh == known:
            return
        if fresh is None:
            self._found.pop(name, None)
        else:
            self._found[name] = fresh
            self._new.set()
        self._order()

    def drop(self, obj: Obj) -> None:
        """It is gone."""
        if self._found.pop(obj["metadata"]["name"], None) is not None:
            self._order()

    def _order(self) -> None:
        self.by_version = {(one.group, one.version): one for _, one in sorted(self._found.items())}
        self.changed()

    async def dialer(self, one: Extension) -> Dialer:
        """Dials one of its Service's endpoints. Raises what `Reach.service` raises."""
        place = await self._reach.service(one.namespace, one.service, one.port)
        return self._reach.dialer(place, self._context(one.bundle, one.unchecked), one.host)

    async def watch_over(self) -> None:
        """Ask all of them, again and again; runs until cancelled."""
        while True:
            self._new.clear()
            await asyncio.gather(*(self.look(one) for one in list(self._found.values())))
            wait_s = _AGAIN_S if all(one.available for one in self._found.values()) else _SOON_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._new.wait()
            except TimeoutError:
                continue

    async def look(self, one: Extension) -> None:
        """Ask one what it serves, and write what that means."""
        verdict, resources = await self._asked(one)
        good = verdict == PASSED
        if (one.available, one.resources) != (good, resources or one.resources):
            one.available, one.resources = good, resources or one.resources
            self.changed()
        try:
            await self._tell(one.name, verdict)
        except ApiError as error:
            log.debug("the status of APIService %s: %s", one.name, error)  # the next look writes it

    async def _asked(self, one: Extension) -> tuple[Verdict, list[Obj]]:
        where = f'service/{one.service} in "{one.namespace}"'
        try:
            dial = await self.dialer(one)
        except NotFound:
            return Verdict("False", "ServiceNotFound", f"{where} is not present"), []
        except BadRequest:
            return Verdict("False", "ServicePortError", f"{where} is not listening on port {one.port}"), []
        except ServiceUnavailable:
            return Verdict("False", "MissingEndpoints", f"endpoints for {where} have no addresses"), []
        try:
            async with asyncio.timeout(_ANSWER_S):
                return PASSED, await self._discovered(one, dial)
        except (OSError, ValueError, ApiError, TimeoutError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            words = f"failing or missing response from https://{one.host}:{one.port}{one.root}: {why}"
            return Verdict("False", "FailedDiscoveryCheck", words), []

    async def _discovered(self, one: Extension, dial: Dialer) -> list[Obj]:
        headers = [("host", one.host), ("accept", "application/json"), *_ASKING]
        status, _, chunks = await relay.exchange(dial, "GET", one.root, headers, b"")
        body = b""
        try:
            async for chunk in chunks:
                body += chunk
                if len(body) > _LONGEST:
                    raise ValueError("the answer is too long")
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]
        if status != 200:
            raise ValueError(f"bad status from {one.root}: {status}")
        listed = orjson.loads(body)
        if not isinstance(listed, dict) or not isinstance(listed.get("resources") or [], list):
            raise ValueError("the answer is no APIResourceList")
        return [each for each in listed.get("resources") or [] if isinstance(each, dict) and each.get("name")]

    async def _tell(self, name: str, verdict: Verdict) -> None:
        service = await self._client.get(APISERVICES, name)
        conditions = [dict(c) for c in (service.get("status") or {}).get("conditions") or ()]
        before = [dict(c) for c in conditions]
        set_condition(conditions, "Available", *verdict, rfc3339(self._clock()))
        if conditions != before:
            status = {**(service.get("status") or {}), "conditions": conditions}
            await self._client.update(APISERVICES, {**service, "status": status}, subresource="status")
