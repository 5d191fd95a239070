"""`make up`: from an empty machine to three garages whose gates provably open. Prints each step, and where to look."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from scripts.demo.cluster import PARKUBE, ROOT, Cluster
from scripts.demo.errors import exit_status
from scripts.demo.town import Town

FOLDER = ROOT / ".run"
SITES = {"garage1": 11, "garage2": 12, "garage3": 13}
IMAGES = ("platform", "garage", "nginx-unprivileged", "nginx")


def say(sentence: str) -> None:
    """One line a step."""
    print(f"up: {sentence}", flush=True)


def demo_cluster(folder: Path = FOLDER) -> Cluster:
    """The cluster that `make up` makes and `make down` removes."""
    return Cluster(folder, sites=dict(SITES))


def bring_up(cluster: Cluster) -> None:
    """All of it, in order; what stands already is kept."""
    began = time.monotonic()
    town = Town(cluster)
    say(f"starting the server at https://{cluster.address}:{cluster.port}")
    cluster.start_server(*IMAGES)
    say("putting platform and operator on the cluster (kubectl apply -k deploy/base)")
    town.deploy()
    say(f"importing car parks: {town.import_register()}")
    chosen = town.choose_garages()
    for site, garage in chosen.items():
        say(f"joining {site}, which serves {garage['name']} ({garage['city']})")
        town.open_garage(site, garage)
    say("waiting until every gate has opened in a synthetic cycle")
    for site, garage in chosen.items():

        def opens(garage_id: str = garage["id"]) -> bool:
            return town.verified(garage_id) == "True"

        cluster.wait(f"the gate of {site}", opens, f"agent-{site}", 180)
        say(f"{garage['name']}: Verified")
    print(f"""
Three garages are verified, {time.monotonic() - began:.0f} s after the start.

  drivers     {town.url}/
  operators   {town.url}/operator?token={town.operator_token}
  gates       {"  ".join(f"{site}: {town.board(site)}/" for site in chosen)}
  kubectl     export KUBECONFIG={cluster.kubeconfig}
              {PARKUBE} kubectl get nodes
              {PARKUBE} kubectl get garages -A
  take away   make down
""")


if __name__ == "__main__":
    sys.exit(exit_status(lambda: bring_up(demo_cluster())))
