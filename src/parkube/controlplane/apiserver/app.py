"""The API server's one entrance: who asks, what for, whether they may, and who answers. Handlers know their own part.

                  request
                     |
       authenticate, impersonate   -> 401
                     |
        which path, which verb
                     |
          wait for one's turn       -> 429
                     |
                 authorize          -> 403
                     |
discovery . OpenAPI . health . mounts . resources . what other servers serve
                     |
   any error becomes a Status in the client's form
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable

from parkube.controlplane.access.authn import Authenticator
from parkube.controlplane.access.authz import Attributes, Authorizer
from parkube.controlplane.apiserver.aggregating import Aggregator
from parkube.controlplane.apiserver.connection import Connection
from parkube.controlplane.apiserver.discovery import Discovery
from parkube.controlplane.apiserver.http import Header, Request, Response
from parkube.controlplane.apiserver.impersonation import impersonated
from parkube.controlplane.apiserver.negotiation import PLAIN, PROTOBUF, Form, encode, form
from parkube.controlplane.apiserver.resources import Resources, no_such_resource
from parkube.controlplane.apiserver.router import Target, target, verb_of
from parkube.controlplane.apiserver.turns import Turns
from parkube.controlplane.registry.catalogue import Catalogue
from parkube.controlplane.registry.resource import User
from parkube.controlplane.tunnel.extensions import Extension
from parkube.kubeapi.errors import ApiError, InternalError, NotAcceptable

log = logging.getLogger(__name__)

Mount = Callable[[Request], Awaitable[Response | None]]
SWEEP = 15.0  # seconds between looks for connections that dribble or idle


class App:
    """Serves connections; `mount` puts in what is not of the Kubernetes API."""

    def __init__(
        self, catalogue: Catalogue, resources: Resources, authenticator: Authenticator, authorizer: Authorizer,
        discovery: Discovery, turns: Turns | None = None, aggregator: Aggregator | None = None,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._resources = resources
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._discovery = discovery
        self._turns = turns
        self._aggregator = aggregator
        self._exact: dict[str, Mount] = {}
        self._prefixes: list[tuple[str, Mount]] = []
        self._open: set[str] = set()
        self.connections: set[Connection] = set()

    def mount(self, path: str, handler: Mount, *, public: bool = False) -> None:
        """Answer `path` (all below it, when it ends with a slash) by `handler`. `public`: the handler itself decides
        who may; else the user needs the right on that path."""
        if path.endswith("/"):
            self._prefixes.append((path, handler))
        else:
            self._exact[path] = handler
        if public:
            self._open.add(path)

    def protocol(self, user: User | None = None) -> Connection:
        """A protocol for one new connection. `user`: who the tunnel below says it is; None: its certificate tells."""
        return Connection(self.handle, self.connections, user)

    async def handle(self, request: Request) -> Response | None:
        """Answer one request; never raises."""
        try:
            response = await self._serve(request)
        except ApiError as error:
            response = status_response(error, request)
        except ConnectionResetError:
            return None
        except Exception as error:
            log.exception("%s %s", request.method, request.path)
            response = status_response(InternalError(f"Internal error occurred: {type(error).__name__}: {error}"))
        if response is not None and request.told is not None:
            response.headers += _told(*request.told)
        return response

    async def _serve(self, request: Request) -> Response | None:
        path = request.path
        at = target(request.method, path, request.query, self._catalogue)
        if at is None and (found := self._mounted(path)) is not None and found[1]:
            request.user = self._user(request, lenient=True)
            return await found[0](request)
        user = request.user = self._user(request)
        if "impersonate-user" in request.headers or "impersonate-group" in request.headers:
            user = request.user = impersonated(user, request.headers, self._authorizer)
        verb = at.verb if at is not None else verb_of(request.method)
        mounted = self._mounted(path) if at is None else None
        if mounted is not None:
            self._authorizer.require(Attributes(user, verb, path=path))
            return await mounted[0](request)
        theirs = self._aggregator.of(path) if self._aggregator is not None else None
        if self._turns is None or (theirs is not None and verb == "watch"):
            return await self._answer(request, at, user, verb, theirs)
        ticket = await self._turns.take(request, user, at, verb)
        if ticket is None:
            return await self._answer(request, at, user, verb, theirs)
        try:
            return await self._answer(request, at, user, verb, theirs)
        finally:
            self._turns.give(ticket)

    async def _answer(
        self, request: Request, at: Target | None, user: User, verb: str, theirs: Extension | None
    ) -> Response | None:
        about = Attributes(user, verb, path=request.path) if at is None else attributes(user, at, request)
        self._authorizer.require(about)
        if theirs is not None and self._aggregator is not None:
            return await self._aggregator.serve(request, user, theirs)
        if at is not None:
            return await self._resources.handle(request, at)
        answer = self._discovery.handle(request) if request.method in ("GET", "HEAD") else None
        if answer is None:
            raise no_such_resource()
        return answer

    def _mounted(self, path: str) -> tuple[Mount, bool] | None:
        whole = path.rstrip("/")
        exact = self._exact.get(whole)
        if exact is not None:
            return exact, whole in self._open
        for prefix, handler in self._prefixes:
            if path.startswith(prefix):
                return handler, prefix in self._open
        return None

    def _user(self, request: Request, *, lenient: bool = False) -> User:
        """Who asks. A connection's certificate is looked at once; a token with every request."""
        connection = request.connection
        if connection.tunnel_user is not None:
            return connection.tunnel_user
        transport = connection.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        try:
            return self._authenticator.authenticate(request.headers.get("authorization"), certificate)
        except ApiError:
            if lenient:
                return request.user
            raise

    async def sweep(self) -> None:
        """Close connections that dribble or idle; runs until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP)
            now = loop.time()
            for connection in list(self.connections):
                connection.check(now)

    def close(self) -> None:
        """Let go of idle connections and watches; answers under way are finished."""
        for connection in list(self.connections):
            connection.close_idle()


@functools.lru_cache(maxsize=256)
def _told(schema: str, level: str) -> tuple[Header, ...]:
    """What an answer says of how its request was sorted."""
    return (
        (b"X-Kubernetes-PF-FlowSchema-UID", schema.encode()), (b"X-Kubernetes-PF-PriorityLevel-UID", level.encode())
    )  # fmt: skip


def attributes(user: User, at: Target, request: Request) -> Attributes:
    """What the authorizer is asked."""
    field_selector = request.query.get("fieldSelector", "") if at.verb in ("list", "watch", "deletecollection") else ""
    return Attributes(
        user, at.verb, at.gvr.group, at.gvr.resource, at.subresource, at.namespace, at.name, request.path,
        field_selector,
    )  # fmt: skip


def status_response(error: ApiError, request: Request | None = None) -> Response:
    """An error in the API's form: protobuf for clients that prefer it, else JSON, which every client reads."""
    shape = PLAIN
    if request is not None and (accept := request.headers.get("accept", "")).startswith(PROTOBUF):
        try:
            shape = Form(protobuf=form(accept).protobuf)
        except NotAcceptable:
            pass
    response = Response(error.code, encode(error.status(), shape), shape.content_type)
    if error.code == 401:
        response.headers.append((b"WWW-Authenticate", b'Bearer realm="parkube"'))
    soon = error.details.get("retryAfterSeconds") or (1 if error.code == 503 else 0)
    if soon:  # clients ask again by themselves then: not where only time or another's doing helps, as with a budget
        response.headers.append((b"Retry-After", b"%d" % soon))
    return response
