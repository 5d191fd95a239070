"""The controllers: loops that move the cluster towards what its objects ask for.

They see a `Client` and nothing else of the server, so they may run inside it or in a process of their own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from parkube.controlplane.controllers.csr import CsrController
from parkube.controlplane.controllers.daemonsets.controller import DaemonSetController
from parkube.controlplane.controllers.deployments.controller import DeploymentController
from parkube.controlplane.controllers.disruption import DisruptionController
from parkube.controlplane.controllers.endpoints.addresses import ServiceAddresses
from parkube.controlplane.controllers.endpoints.apiserver import ApiServerEndpoints
from parkube.controlplane.controllers.endpoints.controller import EndpointsController
from parkube.controlplane.controllers.endpoints.mirror import EndpointSliceMirroring
from parkube.controlplane.controllers.expiry import Expiry
from parkube.controlplane.controllers.flowschemas import FlowSchemaController
from parkube.controlplane.controllers.garbage import GarbageCollector
from parkube.controlplane.controllers.jobs.controller import JobController
from parkube.controlplane.controllers.jobs.cronjobs import CronJobController
from parkube.controlplane.controllers.namespaces import NamespaceController
from parkube.controlplane.controllers.nodes.eviction import TaintEviction
from parkube.controlplane.controllers.nodes.ipam import NodeIpam
from parkube.controlplane.controllers.nodes.lifecycle import NodeLifecycle
from parkube.controlplane.controllers.nodes.podgc import PodGc
from parkube.controlplane.controllers.options import ApiResource, Options
from parkube.controlplane.controllers.policies import PolicyController
from parkube.controlplane.controllers.quotas import QuotaController
from parkube.controlplane.controllers.replicasets import ReplicaSetController, ReplicationController
from parkube.controlplane.controllers.runner import Controller, Env
from parkube.controlplane.controllers.serviceaccounts import ServiceAccountController
from parkube.controlplane.controllers.statefulsets.controller import StatefulSetController
from parkube.controlplane.controllers.views import Views
from parkube.controlplane.controllers.volumes.binder import VolumeBinder
from parkube.controlplane.controllers.volumes.ephemeral import EphemeralVolumes
from parkube.controlplane.controllers.volumes.local_path import LocalPath
from parkube.controlplane.controllers.volumes.protection import VolumeProtection
from parkube.kubeapi.client import Client
from parkube.kubeapi.recorder import Recorder

__all__ = ["ApiResource", "Controller", "Options", "Views", "controllers", "run_all"]
log = logging.getLogger(__name__)


def controllers(
    client: Client, views: Views, options: Options, *, clock: Callable[[], float], recorder: Recorder
) -> list[Controller]:
    """Every controller, not yet running. `clock` is wall time, s since 1970."""
    env = Env(client, views, clock, recorder)
    return [
        EndpointSliceMirroring(env), ServiceAddresses(env),
        ApiServerEndpoints(env, options), NamespaceController(env, options), ServiceAccountController(env, options),
        DeploymentController(env), ReplicaSetController(env), DaemonSetController(env), EndpointsController(env),
        ReplicationController(env), StatefulSetController(env), JobController(env), CronJobController(env),
        NodeLifecycle(env, options), TaintEviction(env), NodeIpam(env, options), PodGc(env, options),
        GarbageCollector(env, options), CsrController(env, options), Expiry(env),
        DisruptionController(env), QuotaController(env, options), PolicyController(env),
        FlowSchemaController(env),
        VolumeBinder(env), VolumeProtection(env), EphemeralVolumes(env), LocalPath(env, options),
    ]  # fmt: skip


async def run_all(
    client: Client, options: Options, *, views: Views | None = None, clock: Callable[[], float] = time.time
) -> None:
    """Run all controllers until cancelled. `views`: given when shared (then whoever made them runs them)."""
    recorder = Recorder(client, "controller-manager", clock=clock)
    async with asyncio.TaskGroup() as group:
        if views is None:
            views = Views(client)
            group.create_task(views.run(), name="views")
        group.create_task(recorder.run(), name="controllers' events")
        for controller in controllers(client, views, options, clock=clock, recorder=recorder):
            group.create_task(_for_ever(controller.name, controller.run), name=f"controller {controller.name}")


async def _for_ever(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """One controller's fault must not end the others: it is told and the controller starts over."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("controller %s failed, starting over", name)
            await asyncio.sleep(1.0)
