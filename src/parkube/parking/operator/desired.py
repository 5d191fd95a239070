"""What a Garage turns into: configuration, DaemonSet, and what the platform is told. Pure: dicts in, dicts out.

One DaemonSet a garage, held to the node by the label `parkube.io/garage=<name>`: it stays through node failures, is
never started twice elsewhere, and follows the label when the edge computer is replaced.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import time
from typing import Any

from parkube.parking.operator.errors import BadGarage

Obj = dict[str, Any]

LABEL = "parkube.io/garage"
GARAGE_DATA = "/var/lib/parkube-garage"
HEALTH_PORT = 8081
DIRECTIONS = {"in": "entry", "out": "exit", "pedestrian": "pedestrian"}
_INTERVAL = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def app_name(garage: str) -> str:
    """The name of everything that belongs to one garage's app."""
    return f"garage-{garage}"


def interval_s(spec: Mapping[str, Any]) -> float:
    """How often the cycle runs, in seconds; `10m` where nothing is said. Never under 5 s."""
    found = _INTERVAL.fullmatch(str((spec.get("verify") or {}).get("interval") or "10m"))
    hours, minutes, seconds = (int(part or 0) for part in (found.groups() if found else (0, 10, 0)))
    return max(5.0, hours * 3600 + minutes * 60 + seconds) if hours or minutes or seconds else 600.0


def gate_may_move(spec: Mapping[str, Any], local: time) -> bool:
    """Whether the Garage allows the cycle to move the gate itself at this local time; windows may cross midnight."""
    hours = (spec.get("verify") or {}).get("gateHours")
    if not hours:
        return False
    start, end = time.fromisoformat(hours["from"]), time.fromisoformat(hours["to"])
    return start <= local < end if start <= end else local >= start or local < end


def gate_config(name: str, spec: Mapping[str, Any], public_url: str, *, move_gate: bool = False) -> Obj:
    """The garage app's configuration, without its token. Raises BadGarage naming every fault.

    `move_gate`: the gate that `verify.gateHours` names takes the test coil's place.
    """
    names = [gate["name"] for gate in spec["gates"]]
    faults = [f"the gate {gate} is there twice" for gate in sorted({n for n in names if names.count(n) > 1})]
    faults += ["a gate must not be called test"] if "test" in names else []
    config: Obj = {
        "garage": name, "platformUrl": public_url, "tokenFile": "/etc/parkube/link/token", "dataDir": "/data",
        "gates": [_gate(gate) for gate in spec["gates"]],
    }  # fmt: skip
    cameras = spec.get("cameras")
    if cameras:
        faults += [f"cameras.port {HEALTH_PORT} is the app's own"] if cameras["port"] == HEALTH_PORT else []
        config |= {"cameraPort": cameras["port"], "cameraTokenFile": "/etc/parkube/camera/token"}
    test: Any = spec.get("testCoil")
    hours = (spec.get("verify") or {}).get("gateHours")
    if hours and hours["gate"] not in names:
        faults.append(f"verify.gateHours names the gate {hours['gate']}, which is not there")
    elif hours and move_gate:
        test = next(gate["relay"] for gate in spec["gates"] if gate["name"] == hours["gate"])
    if faults:
        raise BadGarage("; ".join(faults))
    if test:
        config["testCoil"] = dict(test)
    return config


def _gate(gate: Mapping[str, Any]) -> Obj:
    return {key: gate[key] for key in ("name", "direction", "relay", "scanner") if gate.get(key)}


def platform_body(spec: Mapping[str, Any], tariff: Mapping[str, Any] | None, node: str | None) -> Obj:
    """What the platform is told of a garage: its `PUT /api/v1/operator/garages/{id}` body."""
    location = spec["location"]
    body: Obj = {
        "name": spec["displayName"],
        "location": {"latitude": location["latitude"], "longitude": location["longitude"]},
        "time_zone": spec.get("timeZone") or "Europe/Amsterdam",
        "bays": {bay["kind"]: bay["count"] for bay in spec["bays"]},
        "gates": [{"name": gate["name"], "direction": DIRECTIONS[gate["direction"]]} for gate in spec["gates"]],
        "bookable": True,
    }
    if location.get("city"):
        body["city"] = location["city"]
    if tariff:
        body["tariff"] = written_tariff(tariff)
    if node:
        body["node"] = node
    return body


def written_tariff(spec: Mapping[str, Any]) -> Obj:
    """A Tariff's spec in the platform's written form: the same fields in snake case."""

    def snake(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), key): snake(each) for key, each in value.items()}
        return [snake(each) for each in value] if isinstance(value, list) else value

    made: Obj = snake(spec)
    return made


def config_map(name: str, namespace: str, config: Obj) -> Obj:
    """The ConfigMap that holds the configuration."""
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta(name, namespace),
        "data": {"garage.yaml": json.dumps(config, indent=2, sort_keys=True) + "\n"},
    }  # fmt: skip


def secret(name: str, namespace: str, token: str) -> Obj:
    """The Secret with which the garage proves who it is."""
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": _meta(name, namespace),
        "stringData": {"token": token},
    }  # fmt: skip


def daemon_set(
    name: str, namespace: str, config: Obj, image: str, data: str = GARAGE_DATA, camera_secret: str = ""
) -> Obj:
    """The DaemonSet that runs the app on the garage's node; a changed configuration restarts it.

    `data`: the folder on the node under which each garage's journal has its own. `camera_secret`: where the cameras'
    token is, if the configuration has a port for them, which is then one of the node's.
    """
    labels = {"app": "garage", LABEL: name}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
    mounts: list[Obj] = [
        {"name": "data", "mountPath": "/data"},
        {"name": "config", "mountPath": "/etc/parkube/garage", "readOnly": True},
        {"name": "link", "mountPath": "/etc/parkube/link", "readOnly": True},
    ]
    health = {"path": "/", "port": "health"}
    ports: list[Obj] = [{"name": "health", "containerPort": HEALTH_PORT}]
    volumes: list[Obj] = [
        {"name": "data", "hostPath": {"path": f"{data}/{name}", "type": "DirectoryOrCreate"}},
        {"name": "config", "configMap": {"name": app_name(name)}},
        {"name": "link", "secret": {"secretName": app_name(name)}},
    ]
    if config.get("cameraPort"):
        ports.append({"name": "cameras", "containerPort": config["cameraPort"], "hostPort": config["cameraPort"]})
        mounts.append({"name": "camera", "mountPath": "/etc/parkube/camera", "readOnly": True})
        volumes.append({"name": "camera", "secret": {"secretName": camera_secret}})
    pod = {
        "nodeSelector": {LABEL: name},
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "tolerations": [{"operator": "Exists"}],
        "initContainers": [{
            "name": "own-the-journal", "image": image, "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", "import os; os.chown('/data', 10001, 10001)"],
            "securityContext": {"runAsUser": 0}, "volumeMounts": mounts[:1],
        }],
        "containers": [{
            "name": "garage", "image": image, "imagePullPolicy": "IfNotPresent",
            "args": ["parking", "gate", "--config", "/etc/parkube/garage/garage.yaml"],
            "ports": ports,
            "livenessProbe": {"httpGet": health, "initialDelaySeconds": 10, "periodSeconds": 10},
            "readinessProbe": {"httpGet": health, "periodSeconds": 2},
            "resources": {"requests": {"cpu": "10m", "memory": "40Mi"}, "limits": {"memory": "160Mi"}},
            "volumeMounts": mounts,
        }],
        "volumes": volumes,
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": _meta(name, namespace),
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": {"parkube.io/config": digest}}, "spec": pod},
        },
    }  # fmt: skip


def _meta(name: str, namespace: str) -> Obj:
    return {"name": app_name(name), "namespace": namespace, "labels": {"app": "garage", LABEL: name}}
