"""Labels, annotations and paths by which a container is known again, as kubelet writes them. Pure."""

from __future__ import annotations

from pathlib import Path

LABEL_NAME = "io.kubernetes.pod.name"
LABEL_NAMESPACE = "io.kubernetes.pod.namespace"
LABEL_UID = "io.kubernetes.pod.uid"
LABEL_CONTAINER = "io.kubernetes.container.name"
ANNOTATION_HASH = "io.kubernetes.container.hash"


def pod_labels(namespace: str, name: str, uid: str) -> dict[str, str]:
    """The labels of a sandbox and, with the container's name added, of its containers."""
    return {LABEL_NAME: name, LABEL_NAMESPACE: namespace, LABEL_UID: uid}


def log_directory(root: Path, namespace: str, name: str, uid: str) -> str:
    """Where the logs of a pod's containers are."""
    return str(root / f"{namespace}_{name}_{uid}")


def log_file(container: str, attempt: int) -> str:
    """A container's log file, relative to the pod's log directory."""
    return f"{container}/{attempt}.log"
