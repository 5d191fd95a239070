"""Gives the server's own node its role: an agent may not label itself control-plane, so the server does it."""

from __future__ import annotations

import asyncio
import logging
import platform

from parkube.kubeapi.client import NODES, Client
from parkube.kubeapi.errors import ApiError, NotFound

log = logging.getLogger(__name__)

LABEL, VALUE = "node-role.kubernetes.io/control-plane", "true"
UNTIL_THERE_S, LATER_S = 0.1, 30.0


def own_name(configured: str) -> str:
    """The name under which the server's own node appears."""
    return configured or platform.node().lower()


async def mark(client: Client, name: str) -> None:
    """Label the node as soon as it is there, and again after it was deleted; runs until cancelled."""
    while True:
        wait_s = LATER_S
        try:
            node = await client.get(NODES, name)
            if LABEL not in (node["metadata"].get("labels") or {}):
                await client.patch(NODES, name, {"metadata": {"labels": {LABEL: VALUE}}})
        except NotFound:
            wait_s = UNTIL_THERE_S
        except ApiError as error:
            log.warning("the server's own node could not be labelled: %s", error.message)
        await asyncio.sleep(wait_s)
