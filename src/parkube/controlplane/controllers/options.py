"""What the controllers are told from outside: addresses, the CA, the signer, what resources there are. Data only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from parkube.kubeapi.client import GVR

SignCsr = Callable[[bytes, Sequence[str], int], bytes]


class ApiResource(NamedTuple):
    """A served resource, for those controllers that go over all of them."""

    gvr: GVR
    kind: str
    namespaced: bool
    verbs: tuple[str, ...] = ("create", "delete", "get", "list", "patch", "update", "watch")
    stored_at: GVR | None = None  # another version that holds the same objects, when this one does not


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the controllers; times in seconds."""

    api_addresses: Sequence[str] = ()  # where agents and pods reach the API server (endpoints of default/kubernetes)
    api_port: int = 6443
    service_ip: str = "10.43.0.1"  # of default/kubernetes
    service_cidr: str = "10.43.0.0/16"
    dns_ip: str = ""  # of kube-system/kube-dns; empty: there is no such Service
    cluster_cidr: str = "10.42.0.0/16"
    node_cidr_bits: int = 24
    root_ca: str = ""  # PEM, for kube-root-ca.crt
    sign_csr: SignCsr | None = None  # pem, usages, lifetime in seconds -> PEM; None: nothing is signed here
    certificate_seconds: int = 365 * 24 * 3600
    resources: Callable[[], Sequence[ApiResource]] = lambda: ()
    monitor_period: float = 5.0
    monitor_grace: float = 40.0  # a node whose lease is older is not known to be ready
    startup_grace: float = 60.0  # the same for a node that never reported
    eviction_rate: float = 0.1  # nodes a second that get a NoExecute taint
    pod_gc_period: float = 20.0
    finished_pods_kept: int = 12500
    local_storage: bool = True  # whether class local-path is there and provisioned
