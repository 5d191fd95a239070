"""A StatefulSet's pod and claims by number: names, labels, volumes, owners. Pure."""

from __future__ import annotations

from parkube.controlplane.controllers.history import HASH_LABEL
from parkube.controlplane.controllers.pods import pod_from
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import copy, owner_reference

NAME_LABEL, INDEX_LABEL = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


def pod_of(owner: Obj, template: Obj, number: int, revision: str) -> Obj:
    """The pod of a slot, of the template of `revision`."""
    pod = pod_from(owner, template)
    name = f"{owner['metadata']['name']}-{number}"
    metadata, spec = pod["metadata"], pod["spec"]
    metadata.pop("generateName")
    metadata["name"] = name
    marks = {NAME_LABEL: name, INDEX_LABEL: str(number), HASH_LABEL: revision}
    metadata["labels"] = {**(metadata.get("labels") or {}), **marks}
    spec["hostname"] = name
    if owner["spec"].get("serviceName"):
        spec["subdomain"] = owner["spec"]["serviceName"]
    own = {
        t["metadata"]["name"]: {"claimName": f"{t['metadata']['name']}-{name}"}
        for t in owner["spec"].get("volumeClaimTemplates") or ()
    }
    if own:
        others = [v for v in spec.get("volumes") or () if v.get("name") not in own]
        spec["volumes"] = [*({"name": n, "persistentVolumeClaim": c} for n, c in own.items()), *others]
    return pod


def claims_of(owner: Obj, number: int) -> list[Obj]:
    """The claims of a slot, before any is made."""
    m, selector = owner["metadata"], owner["spec"].get("selector") or {}
    made = []
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        claim = copy(template)
        claim.pop("status", None)
        given = claim.setdefault("metadata", {})
        given["name"] = f"{template['metadata']['name']}-{m['name']}-{number}"
        given["namespace"] = m["namespace"]
        given["labels"] = {**(given.get("labels") or {}), **(selector.get("matchLabels") or {})}
        claim |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        made.append(claim)
    return made


def claim_owner(owner: Obj, pod: Obj | None, *, beyond: bool) -> Obj | None:
    """Whose end takes a claim along, by the retention policy: the set's, its pod's, or nobody's.

    `beyond`: the slot is one that the set is scaled down from. Source: KEP-1847.
    """
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    if beyond and policy.get("whenScaled") == "Delete":
        kind = {"apiVersion": "v1", "kind": "Pod"}
        return None if pod is None else owner_reference({**pod, **kind}, controller=False, block=False)
    if policy.get("whenDeleted") == "Delete":
        return owner_reference(owner)
    return None
