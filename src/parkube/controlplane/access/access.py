"""Puts the parts of this package together, and keeps them fed from the registry's watch caches.

The registry wants the admissions and this wants the registry, so it is built first and brought to life later:

    access = Access(key, clock=…)
    registry = Registry(store, catalogue, access.admissions, …)
    await registry.start()
    await access.start(registry)

What any part decides is its own affair.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random, SystemRandom

from parkube.controlplane.access.admission.certificates import CertificateRequests
from parkube.controlplane.access.admission.chain import Chain
from parkube.controlplane.access.admission.dynamic.attributes import GROUP as ADMISSION_GROUP
from parkube.controlplane.access.admission.dynamic.params import Parameters
from parkube.controlplane.access.admission.dynamic.plugin import Dynamic
from parkube.controlplane.access.admission.dynamic.policies import Policies
from parkube.controlplane.access.admission.dynamic.webhooks import Webhooks
from parkube.controlplane.access.admission.escalation import EscalationCheck
from parkube.controlplane.access.admission.lifecycle import NamespaceLifecycle
from parkube.controlplane.access.admission.limits import LimitRanger
from parkube.controlplane.access.admission.nodes import NodeRestriction
from parkube.controlplane.access.admission.pools import ip_pool, port_pool
from parkube.controlplane.access.admission.priorities import Priorities
from parkube.controlplane.access.admission.quotas import Quotas
from parkube.controlplane.access.admission.runtimeclasses import RuntimeClasses
from parkube.controlplane.access.admission.serviceaccounts import ServiceAccounts
from parkube.controlplane.access.admission.services import ServiceAllocation
from parkube.controlplane.access.admission.storage import Storage
from parkube.controlplane.access.admission.tolerations import DefaultTolerations
from parkube.controlplane.access.authn import Authenticator, TokenSource
from parkube.controlplane.access.authz import Authorizer
from parkube.controlplane.access.bootstrap import Bootstrap
from parkube.controlplane.access.facts import UID_KINDS, Facts
from parkube.controlplane.access.feed import Feed, Route
from parkube.controlplane.access.flowcontrol.control import FlowControl
from parkube.controlplane.access.flowcontrol.defaults import FLOWSCHEMAS, PRIORITYLEVELS
from parkube.controlplane.access.graph import NodeGraph
from parkube.controlplane.access.nodes import NodeAuthorizer
from parkube.controlplane.access.rbac import Rbac
from parkube.controlplane.access.reviews import Reviews
from parkube.controlplane.access.token_requests import TokenRequests
from parkube.controlplane.access.tokens import DEFAULT_ISSUER, ServiceAccountTokens
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.options import ListOptions
from parkube.controlplane.registry.resource import SYSTEM, Admission, Context, Resource
from parkube.kubeapi.client import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    GVR,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMES,
    PODS,
    ROLEBINDINGS,
    ROLES,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
)
from parkube.kubeapi.errors import Obj, ServiceUnavailable

_UIDS = {"serviceaccounts": SERVICEACCOUNTS, "secrets": SECRETS, "nodes": NODES}


class Access:
    """Everything of this package that a server has one of.

    `signing_key` is the service accounts' private key (PEM); `older_keys` are still believed. `token_sources` know
    other bearer tokens (joining nodes). `clock` gives Unix seconds.
    """

    def __init__(
        self, signing_key: bytes, *, older_keys: Sequence[bytes] = (), issuer: str = DEFAULT_ISSUER,
        audiences: Sequence[str] = (), service_cidr: str = "10.43.0.0/16", node_ports: tuple[int, int] = (30000, 32767),
        token_sources: Sequence[TokenSource] = (), authentication: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()), random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        random = random or SystemRandom()
        self._registry: Registry | None = None
        self._authentication = dict(authentication or {})
        self.more_routes: list[Route] = []  # what else is to hear of objects in step with access
        self._feed: Feed | None = None
        self._bootstrap: Bootstrap | None = None
        self.facts, self.graph, self.rbac = Facts(), NodeGraph(), Rbac()
        self.flows = FlowControl()
        self.tokens = ServiceAccountTokens(
            signing_key, clock=clock, new_id=new_id, issuer=issuer, audiences=audiences, older_keys=older_keys
        )
        self.authenticator = Authenticator(self.tokens, self.facts, self.graph, clock=clock, sources=token_sources)
        self.authorizer = Authorizer([NodeAuthorizer(self.graph), self.rbac])
        self.reviews = Reviews(self.authenticator, self.authorizer, self.rbac).handlers()
        self.token_requests = TokenRequests(self.tokens, self.read)
        self._services = ServiceAllocation(ip_pool(service_cidr, random, clock), port_pool(node_ports, random, clock))
        self.webhooks = Webhooks(new_id)
        self.policies = Policies(Parameters(self.kind, self.find))
        plugins = [
            NamespaceLifecycle(self.facts, self.read),
            NodeRestriction(self.graph),
            EscalationCheck(self.rbac, self.authorizer),
            CertificateRequests(self.authorizer),
            ServiceAccounts(self.read, random, sleep),
            DefaultTolerations(),
            Priorities(self.find),
            RuntimeClasses(self.read),
            LimitRanger(self.find),
            Storage(self.find),
            Dynamic(self.webhooks, self.policies, self._versions, self.read, self.authorizer),
            self._services,
            Quotas(self.find, self._mutate, clock),
        ]
        self.admissions: list[Admission] = [Chain(plugins)]

    async def start(self, registry: Registry) -> None:
        """Fill the indices, then make sure that the cluster's own namespaces and roles are there."""
        self._registry = registry
        self._feed = Feed(registry, [*self._routes(), *self.more_routes])
        await self._feed.start()
        self._bootstrap = Bootstrap(registry, self.rbac, self._authentication)
        await self._bootstrap.start()

    async def stop(self) -> None:
        """End the subscriptions and background work."""
        if self._feed is not None:
            self._feed.stop()
        if self._bootstrap is not None:
            await self._bootstrap.stop()

    async def read(self, gvr: GVR, namespace: str, name: str) -> Obj:
        """An object out of the registry, for admissions. Raises NotFound."""
        registry, resource = self._row(gvr)
        return (await registry.get(resource, namespace, name)).object()

    async def find(self, gvr: GVR, namespace: str) -> list[Obj]:
        """The objects of a namespace, or all, for admissions; none while the server starts."""
        if self._registry is None:
            return []
        registry, resource = self._row(gvr)
        return [stored.object() for stored in (await registry.list(resource, namespace, ListOptions())).items]

    async def _mutate(self, gvr: GVR, namespace: str, name: str, change: Callable[[Obj], Obj], subresource: str) -> Obj:
        registry, resource = self._row(gvr)
        return await registry.mutate(resource, namespace, name, change, Context(SYSTEM), subresource)

    def kind(self, api_version: str, kind: str) -> GVR | None:
        """Where objects of that kind are served."""
        row = self._registry.catalogue.by_kind(api_version, kind) if self._registry is not None else None
        return row.gvr if row is not None else None

    def _versions(self, row: Resource) -> list[Resource]:
        return self._registry.catalogue.sharing(row.stored_at) if self._registry is not None else [row]

    def _row(self, gvr: GVR) -> tuple[Registry, Resource]:
        resource = self._registry.catalogue.get(gvr) if self._registry is not None else None
        if self._registry is None or resource is None:
            raise ServiceUnavailable("the server is starting")
        return self._registry, resource

    def _routes(self) -> list[Route]:
        graph, services = self.graph, self._services
        routes = [self._rbac_route(gvr) for gvr in (ROLES, ROLEBINDINGS, CLUSTERROLES, CLUSTERROLEBINDINGS)]
        routes.append(self._fact_route("namespaces", NAMESPACES, settled=False))
        routes.extend(self._fact_route(kind, _UIDS[kind], settled=True) for kind in UID_KINDS)
        routes.append(Route(
            PODS, graph.put, lambda pod: graph.drop(pod["metadata"]["namespace"], pod["metadata"]["name"]),
            settled=lambda namespace, name: graph.pod(namespace, name) is not None,
        ))  # fmt: skip
        routes.append(Route(PERSISTENTVOLUMES, graph.put_volume, graph.drop_volume))
        routes.append(Route(SERVICES, services.put, services.drop))
        flows = self.flows
        routes.append(Route(FLOWSCHEMAS, self._kept(flows.put_schema), self._kept(flows.drop_schema)))
        routes.append(Route(PRIORITYLEVELS, self._kept(flows.put_level), self._kept(flows.drop_level)))
        hooks, policies = self.webhooks, self.policies
        for kind, holder in (
            ("mutatingwebhookconfigurations", hooks.mutating), ("validatingwebhookconfigurations", hooks.validating),
            ("mutatingadmissionpolicies", policies.mutating), ("mutatingadmissionpolicybindings", policies.mutating),
            ("validatingadmissionpolicies", policies.validating),
            ("validatingadmissionpolicybindings", policies.validating),
        ):  # fmt: skip
            routes.append(Route(GVR(ADMISSION_GROUP, "v1", kind), holder.put, holder.drop))
        return routes

    def _kept(self, call: Callable[[Obj], None]) -> Callable[[Obj], None]:
        """`call`, and a look at whether what must be there is still so."""

        def heard(obj: Obj) -> None:
            call(obj)
            if self._bootstrap is not None:
                self._bootstrap.changed()

        return heard

    def _rbac_route(self, gvr: GVR) -> Route:
        rbac, plural = self.rbac, gvr.resource

        def put(obj: Obj) -> None:
            rbac.put(plural, obj)
            if plural == "clusterroles" and self._bootstrap is not None:
                self._bootstrap.changed()

        def drop(obj: Obj) -> None:
            rbac.drop(plural, obj)
            if plural == "clusterroles" and self._bootstrap is not None:
                self._bootstrap.changed()

        return Route(gvr, put, drop)

    def _fact_route(self, plural: str, gvr: GVR, *, settled: bool) -> Route:
        facts = self.facts

        def drop(obj: Obj) -> None:
            facts.drop(plural, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])

        return Route(gvr, lambda obj: facts.put(plural, obj), drop, settled=lambda namespace, name: settled)
