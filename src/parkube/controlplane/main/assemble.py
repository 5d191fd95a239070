"""Builds one server's parts in the order in which they need each other. Starts nothing, listens nowhere."""

from __future__ import annotations

import ipaddress
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from parkube.controlplane.access.access import Access
from parkube.controlplane.access.feed import Route
from parkube.controlplane.apiserver import node_streams, pods, proxying, site, wellknown
from parkube.controlplane.apiserver.aggregating import Aggregator
from parkube.controlplane.apiserver.app import App
from parkube.controlplane.apiserver.discovery import Discovery
from parkube.controlplane.apiserver.local import LocalClient
from parkube.controlplane.apiserver.resources import Resources
from parkube.controlplane.apiserver.special import Create, Special
from parkube.controlplane.apiserver.turns import Turns
from parkube.controlplane.controllers.options import ApiResource, Options
from parkube.controlplane.main.config import ServerConfig
from parkube.controlplane.pki import Pki
from parkube.controlplane.registry.crd.definitions import DefinitionStrategy
from parkube.controlplane.registry.crd.served import CustomResources
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.resource import Context, Resource
from parkube.controlplane.storage.port import Store
from parkube.controlplane.tunnel.extensions import APISERVICES, Extensions
from parkube.controlplane.tunnel.hooks import Hooks
from parkube.controlplane.tunnel.reach import Reach
from parkube.controlplane.tunnel.site import Site
from parkube.controlplane.tunnel.tunnels import Tunnels
from parkube.kubeapi.client import GVR, SERVICEACCOUNTS
from parkube.kubeapi.errors import Obj


@dataclass
class Health:
    """What /readyz says beside ping."""

    waiting: dict[str, str] = field(default_factory=dict)

    def check(self, name: str) -> Callable[[], str]:
        """A check that fails until `done(name)`."""
        self.waiting[name] = "not yet"
        return lambda: self.waiting.get(name, "")

    def done(self, name: str) -> None:
        """That part is up."""
        self.waiting.pop(name, None)


@dataclass
class Server:
    """The parts, for whoever runs them."""

    config: ServerConfig
    pki: Pki
    store: Store
    registry: Registry
    custom_resources: CustomResources
    access: Access
    special: Special
    client: LocalClient
    address: str  # at which agents and pods reach it
    tunnels: Tunnels
    extensions: Extensions
    app: App
    health: Health


def first_service_address(config: ServerConfig) -> str:
    """The cluster IP of `default/kubernetes`: the first of the service range."""
    return str(next(ipaddress.ip_network(config.service_cidr).hosts()))


def dns_address(config: ServerConfig) -> str:
    """The cluster IP of `kube-system/kube-dns`: as told, or the tenth of the service range."""
    return config.cluster_dns or str(ipaddress.ip_network(config.service_cidr)[10])


def assemble(
    config: ServerConfig, pki: Pki, store: Store, address: str, *, clock: Callable[[], float] = time.time
) -> Server:
    """All parts of a server that clients reach at `address`."""
    host_port = f"{address}:{config.https_listen_port}"
    access = Access(
        pki.service_account_key, service_cidr=config.service_cidr, node_ports=config.service_node_port_range,
        clock=clock, authentication=pki.authentication(),
    )  # fmt: skip
    catalogue = builtin_catalogue(DefinitionStrategy())
    registry = Registry(store, catalogue, access.admissions, clock=clock, new_uid=lambda: str(uuid.uuid4()))
    creates: dict[tuple[GVR, str], Create] = {(SERVICEACCOUNTS, "token"): _token(access)}
    creates.update(pods.handlers(registry, clock))
    app: App

    tunnels = Tunnels(lambda user: app.protocol(user))
    raws = node_streams.handlers(registry, tunnels)
    special = Special(creates, raws, access.reviews)
    client = LocalClient(registry, special)
    reach = Reach(client, tunnels)
    special.answer(proxying.handlers(reach, tunnels))
    hooks = Hooks(reach)
    access.webhooks.call = hooks.post
    extensions = Extensions(client, reach, pki.extension_ssl_context, clock)
    discovery = Discovery(catalogue, host_port, lambda: extensions.by_version.values())
    extensions.changed = discovery.changed
    access.more_routes.append(Route(APISERVICES, extensions.put, extensions.drop))
    turns = Turns(access.flows, lambda row: len(registry.caches.of(row)))
    app = App(
        catalogue, Resources(registry, special), access.authenticator, access.authorizer, discovery, turns,
        Aggregator(extensions),
    )  # fmt: skip
    health = Health()
    checks = {name: health.check(name) for name in ("store", "caches", "rbac/bootstrap-roles")}
    wellknown.mount_version(app)
    wellknown.mount_health(app, checks)
    wellknown.OpenApi(catalogue).mount(app)
    wellknown.mount_openid(app, access.tokens, host_port)
    settings = {
        "cluster_cidr": config.cluster_cidr, "service_cidr": config.service_cidr,
        "cluster_domain": config.cluster_domain, "kubernetes_service": first_service_address(config),
        "cluster_dns": dns_address(config), "flannel_backend": config.flannel_backend,
    }  # fmt: skip
    site.mount_site(app, Site(pki, client, config.images_dir, settings), tunnels)
    return Server(
        config,
        pki,
        store,
        registry,
        CustomResources(registry, clock=clock, call=hooks.post),
        access,
        special,
        client,
        address,
        tunnels,
        extensions,
        app,
        health,
    )


def controller_options(server: Server) -> Options:
    """What the controllers are told of this server."""
    config, catalogue, pki = server.config, server.registry.catalogue, server.pki

    def resources() -> list[ApiResource]:
        return [
            ApiResource(row.gvr, row.kind, row.namespaced, row.verbs, row.storage)
            for row in catalogue
            if not row.virtual
        ]

    return Options(
        api_addresses=(server.address,), api_port=config.https_listen_port,
        service_ip=first_service_address(config), service_cidr=config.service_cidr,
        dns_ip=dns_address(config),
        cluster_cidr=config.cluster_cidr, root_ca=pki.server_ca.decode(),
        sign_csr=pki.sign_csr, resources=resources, local_storage=config.local_storage,
    )  # fmt: skip


def _token(access: Access) -> Create:
    async def create(row: Resource, namespace: str, name: str, obj: Obj, context: Context) -> Obj:
        return await access.token_requests.create(namespace, name, obj, context)

    return create
