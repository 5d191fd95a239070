"""What a claim's volume is on this node. Pure: the claim and the PersistentVolume are handed in.

A pod's volume that is a claim is a link in the pod's folder to the place that the PersistentVolume names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from parkube.kubeapi.claims import LOCAL_PATH, PROVISIONED_BY
from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.environment import Lookup
from parkube.nodeagent.volumes.project import MountFault


class Place(NamedTuple):
    """Where a PersistentVolume is. `check`: the type that hostPath demands; `owned`: fsGroup may be applied."""

    path: Path
    check: str
    owned: bool
    block: bool


def claim_name(pod: Obj, volume: Obj) -> str:
    """The claim that a pod's volume is; empty where it is none."""
    if "persistentVolumeClaim" in volume:
        return str(volume["persistentVolumeClaim"]["claimName"])
    return f"{pod['metadata']['name']}-{volume['name']}" if "ephemeral" in volume else ""


def claimed(pod: Obj) -> Iterator[str]:
    """The claims of a pod."""
    for volume in pod["spec"].get("volumes") or ():
        name = claim_name(pod, volume)
        if name:
            yield name


def persistent_volume(name: str, lookup: Lookup) -> Obj:
    """The PersistentVolume that the claim is bound to. Raises `MountFault` where it is not."""
    claim = lookup("PersistentVolumeClaim", name)
    if claim is None:
        raise MountFault(f'persistentvolumeclaim "{name}" not found')
    volume_name = (claim.get("spec") or {}).get("volumeName") or ""
    if not volume_name or (claim.get("status") or {}).get("phase") != "Bound":
        raise MountFault(f'persistentvolumeclaim "{name}" is not bound')
    volume = lookup("PersistentVolume", volume_name)
    if volume is None:
        raise MountFault(f'persistentvolume "{volume_name}" not found')
    ref = (volume.get("spec") or {}).get("claimRef") or {}
    if ref.get("uid") != claim["metadata"].get("uid"):
        raise MountFault(f'persistentvolume "{volume_name}" is bound to another claim')
    return volume


def place(volume: Obj) -> Place:
    """Where it is. Raises `MountFault` for storage that this node cannot reach."""
    spec = volume["spec"]
    block = spec.get("volumeMode") == "Block"
    if spec.get("hostPath"):
        return Place(Path(spec["hostPath"]["path"]), str(spec["hostPath"].get("type") or ""), False, block)
    if spec.get("local"):
        return Place(Path(spec["local"]["path"]), "", True, block)
    kinds = [key for key, value in spec.items() if isinstance(value, dict) and key not in _NOT_SOURCES]
    raise MountFault(f'volume type "{kinds[0] if kinds else "?"}" is not in this version')


_NOT_SOURCES = ("capacity", "claimRef", "nodeAffinity")


def own_directory(volume: Obj, root: Path) -> str:
    """The name under `root` of a local-path volume's directory; empty where the volume is none of this node's."""
    if (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY) != LOCAL_PATH:
        return ""
    path = Path((volume["spec"].get("hostPath") or {}).get("path") or "/")
    mine = path.parent == root and path.name.partition("_")[0] == volume["metadata"]["name"]
    return path.name if mine else ""
