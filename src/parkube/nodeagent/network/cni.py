"""The CNI configuration of a node: one bridge, addresses from the node's pod CIDR. Data only.

Masquerading and host ports are the nftables rules' business (the plugins would need iptables).
Source: CNI specification 0.4.0; plugins `bridge` and `host-local`.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from zlib import crc32

BRIDGE = "cni0"


def conflist(pod_cidr: str, state_dir: Path, mtu: int = 0) -> str:
    """The .conflist; addresses in use are kept under `state_dir`. `mtu` in bytes; 0: the plugin's own."""
    bridge: dict[str, object] = {
        "type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True,
        "ipam": {
            "type": "host-local", "ranges": [[{"subnet": pod_cidr}]], "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(state_dir),
        },
    }  # fmt: skip
    if mtu:
        bridge["mtu"] = mtu
    return json.dumps({"cniVersion": "0.4.0", "name": "parkube", "plugins": [bridge]}, indent=1)


def write_conflist(directory: Path, pod_cidr: str, state_dir: Path, mtu: int = 0) -> bool:
    """Write it where it changed; True when it did."""
    path, text = directory / "10-parkube.conflist", conflist(pod_cidr, state_dir, mtu)
    if path.exists() and path.read_text() == text:
        return False
    directory.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)
    return True


def pod_cidr_for(node_name: str, cluster_cidr: str) -> str:
    """A /24 of the cluster's CIDR, for a node that was given none. Two nodes may share it: no
    route joins them then."""
    network = ipaddress.ip_network(cluster_cidr)
    if network.prefixlen >= 24:
        return str(network)
    count = 1 << (24 - network.prefixlen)
    base = int(network.network_address) + (crc32(node_name.encode()) % count << 8)
    return f"{ipaddress.ip_address(base)}/24"
