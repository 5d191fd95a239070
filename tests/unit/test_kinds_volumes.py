"""A pod's volumes as the API takes them: defaults, and faults in its words."""

from __future__ import annotations

from typing import Any

import pytest

from parkube.kubeapi.client import PERSISTENTVOLUMES, PODS
from parkube.kubeapi.errors import Obj
from tests.unit.test_kinds import made, pod_spec

CLAIM: Obj = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


def with_volume(source: Obj, **mount: Any) -> tuple[Obj, list[str]]:
    mounts = [{"name": "v", "mountPath": "/v", **mount}]
    pod, found = made(PODS, {"spec": {**pod_spec(volumeMounts=mounts), "volumes": [{"name": "v", **source}]}})
    return pod["spec"]["volumes"][0], found


def test_defaults() -> None:
    assert with_volume({"image": {"reference": "h/i:1"}})[0]["image"]["pullPolicy"] == "IfNotPresent"
    assert with_volume({"image": {"reference": "h/i"}})[0]["image"]["pullPolicy"] == "Always"
    made_, found = with_volume({"ephemeral": {"volumeClaimTemplate": {"spec": dict(CLAIM)}}})
    assert (made_["ephemeral"]["volumeClaimTemplate"]["spec"]["volumeMode"], found) == ("Filesystem", [])


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ({"persistentVolumeClaim": {"claimName": ""}}, "persistentVolumeClaim.claimName: Required value"),
        ({"ephemeral": {}}, "ephemeral.volumeClaimTemplate: Required value"),
        (
            {"ephemeral": {"volumeClaimTemplate": {"spec": {**CLAIM, "accessModes": []}}}},
            "ephemeral.volumeClaimTemplate.spec.accessModes: Required value",
        ),
        (
            {"image": {"reference": "i", "pullPolicy": "Often"}},
            'image.pullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"',
        ),
    ],
)
def test_sources(source: Obj, fault: str) -> None:
    assert with_volume(source)[1] == [f"spec.volumes[0].{fault}"]


@pytest.mark.parametrize(
    ("mount", "fault"),
    [
        (
            {"mountPropagation": "Up"},
            'mountPropagation: Unsupported value: "Up": supported values: "Bidirectional", "HostToContainer", "None"',
        ),
        (
            {"mountPropagation": "Bidirectional"},
            "mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
        ),
        (
            {"recursiveReadOnly": "Enabled"},
            "recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
        ),
        (
            {"recursiveReadOnly": "IfPossible", "readOnly": True, "mountPropagation": "HostToContainer"},
            "recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified",
        ),
    ],
)
def test_mounts(mount: Obj, fault: str) -> None:
    assert with_volume({"emptyDir": {}}, **mount)[1] == [f"spec.containers[0].volumeMounts[0].{fault}"]


def test_devices() -> None:
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "e", "emptyDir": {}}]
    devices = [
        {"name": "d", "devicePath": "/dev/x"},
        {"name": "e", "devicePath": ""},
        {"name": "no", "devicePath": "/y"},
    ]
    _, found = made(PODS, {"spec": {**pod_spec(volumeDevices=devices), "volumes": volumes}})
    here = "spec.containers[0].volumeDevices"
    only = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
    assert found == [
        f'{here}[1].name: Invalid value: "e": {only}', f"{here}[1].devicePath: Required value",
        f'{here}[2].name: Not found: "no"',
    ]  # fmt: skip


def test_a_local_volume_says_on_which_nodes_it_is() -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "local": {"path": "/srv/disk"}}
    _, found = made(PERSISTENTVOLUMES, {"spec": spec})
    assert found == ["spec.nodeAffinity: Required value: Local volume requires node affinity"]
