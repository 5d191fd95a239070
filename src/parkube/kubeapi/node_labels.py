"""Which labels a node may give itself: the agent refuses others at start, the server whenever they come.

Source: Kubernetes documentation, "Admission Control", NodeRestriction.
"""

from __future__ import annotations

_OWN_LABELS = frozenset({
    "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type",
    "node.kubernetes.io/windows-build", "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
})  # fmt: skip
_OWN_SUFFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")


def may_set(label: str) -> bool:
    """Whether a node may set the label with this key on itself."""
    prefix, slash, _ = label.rpartition("/")
    if not slash:
        return True
    if prefix == "node-restriction.kubernetes.io" or prefix.endswith(".node-restriction.kubernetes.io"):
        return False
    ours = any(prefix == space or prefix.endswith("." + space) for space in ("kubernetes.io", "k8s.io"))
    if not ours or label in _OWN_LABELS:
        return True
    return any(prefix == suffix or prefix.endswith("." + suffix) for suffix in _OWN_SUFFIXES)
