"""Definitions that v1.36 no longer publishes and the field's tutorials still use: extensions/v1beta1 Deployment.

Written from the API reference of Kubernetes v1.15, whose Deployment is apps/v1's of today with `rollbackTo`, and with a
selector that may be missing. Only what differs is written; the rest is taken from the apps/v1 definitions.
"""

from __future__ import annotations

from typing import Any

from parkube.kubeapi.errors import Obj

_NEW, _APPS = "io.k8s.api.extensions.v1beta1.", "io.k8s.api.apps.v1."
_GVK = "x-kubernetes-group-version-kind"
_COPIED = (
    "Deployment", "DeploymentCondition", "DeploymentList", "DeploymentSpec", "DeploymentStatus", "DeploymentStrategy",
    "RollingUpdateDeployment",
)  # fmt: skip
_DEPRECATED = (
    "DEPRECATED - This group version of Deployment is deprecated by apps/v1/Deployment. "
    "Deployment enables declarative updates for Pods and ReplicaSets."
)


def definitions(published: dict[str, Obj]) -> dict[str, Obj]:
    """The definitions of extensions/v1beta1, made from the published ones."""
    if _APPS + "Deployment" not in published:
        return {}
    found = {_NEW + name: _moved(published[_APPS + name]) for name in _COPIED}
    found[_NEW + "Deployment"]["description"] = _DEPRECATED
    spec = found[_NEW + "DeploymentSpec"]
    spec["required"] = ["template"]
    spec["properties"]["rollbackTo"] = {
        "$ref": f"#/definitions/{_NEW}RollbackConfig",
        "description": "DEPRECATED. The config this deployment is rolling back to. Will be cleared after it.",
    }
    found[_NEW + "RollbackConfig"] = {
        "description": "DEPRECATED.",
        "type": "object",
        "properties": {
            "revision": {
                "description": "The revision to rollback to. If set to 0, rollback to the last revision.",
                "type": "integer", "format": "int64",
            }
        },
    }  # fmt: skip
    return found | _scale(published)


def _scale(published: dict[str, Obj]) -> dict[str, Obj]:
    metadata = published["io.k8s.api.autoscaling.v1.Scale"]["properties"]
    string = {"type": "string"}
    return {
        _NEW + "Scale": {
            "description": "represents a scaling request for a resource.", "type": "object",
            "properties": {
                "apiVersion": metadata["apiVersion"], "kind": metadata["kind"], "metadata": metadata["metadata"],
                "spec": {"$ref": f"#/definitions/{_NEW}ScaleSpec", "description": "defines the behavior of the scale."},
                "status": {"$ref": f"#/definitions/{_NEW}ScaleStatus", "description": "current status of the scale."},
            },
            _GVK: [{"group": "extensions", "kind": "Scale", "version": "v1beta1"}],
        },
        _NEW + "ScaleSpec": {
            "description": "describes the attributes of a scale subresource", "type": "object",
            "properties": {
                "replicas": {
                    "description": "desired number of instances for the scaled object.",
                    "type": "integer", "format": "int32",
                }
            },
        },
        _NEW + "ScaleStatus": {
            "description": "represents the current status of a scale subresource.", "type": "object",
            "required": ["replicas"],
            "properties": {
                "replicas": {
                    "description": "actual number of observed instances of the scaled object.",
                    "type": "integer", "format": "int32",
                },
                "selector": {
                    "description": "label query over pods that should match the replicas count.",
                    "type": "object", "additionalProperties": string,
                },
                "targetSelector": {"description": "label selector for pods, as a string.", **string},
            },
        },
    }  # fmt: skip


def _moved(node: Any) -> Any:
    """A copy whose references and kinds are of the old group."""
    if isinstance(node, list):
        return [_moved(item) for item in node]
    if not isinstance(node, dict):
        return node
    new = {key: _moved(value) for key, value in node.items()}
    reference = new.get("$ref")
    if isinstance(reference, str) and reference.removeprefix("#/definitions/" + _APPS) in _COPIED:
        new["$ref"] = reference.replace(_APPS, _NEW)
    if _GVK in new:
        new[_GVK] = [{**mark, "group": "extensions", "version": "v1beta1"} for mark in new[_GVK]]
    return new
