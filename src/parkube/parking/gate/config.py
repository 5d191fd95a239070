"""What a garage app is told: its garage, its platform, its gates. Reads one YAML or JSON file; checks it whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parkube.parking.gate.errors import ConfigError

TEST_GATE = "test"


@dataclass(frozen=True, slots=True)
class Coil:
    """A coil of a relay board that speaks Modbus TCP."""

    address: str
    port: int = 502
    unit: int = 1
    coil: int = 0
    pulse_ms: int = 500


@dataclass(frozen=True, slots=True)
class ScannerAt:
    """A QR scanner that serves its lines on TCP."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate: its name, which way it lets through (in, out, pedestrian), its relay and its scanner."""

    name: str
    direction: str
    relay: Coil
    scanner: ScannerAt | None = None


@dataclass(frozen=True, slots=True)
class GateConfig:
    """The whole of it. `token` proves to the platform which garage this is."""

    garage: str
    platform_url: str
    token: str
    data_dir: Path
    gates: tuple[Gate, ...]
    test_coil: Coil | None = None
    app_version: str = "0.1.0"
    health_port: int = 8081
    camera_port: int = 0
    camera_token: str = ""

    def gate(self, name: str) -> Gate | None:
        """The gate of that name."""
        return next((g for g in self.gates if g.name == name), None)


def load(path: Path, environ: Mapping[str, str]) -> GateConfig:
    """Read the file. Raises ConfigError naming every fault. `PARKUBE_GARAGE_TOKEN` overrides the token."""
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"the configuration {path} must be a mapping")
    token = environ.get("PARKUBE_GARAGE_TOKEN") or _secret(raw, "token")
    return parse({**raw, "cameraToken": _secret(raw, "cameraToken")}, token)


def _secret(raw: Mapping[str, Any], name: str) -> str:
    """What is written under the name, or in the file that `<name>File` names."""
    written, file = str(raw.get(name) or ""), raw.get(f"{name}File")
    if written or not file:
        return written
    try:
        return Path(str(file)).read_text().strip()
    except OSError as error:
        raise ConfigError(f"the token file {file} cannot be read: {error.strerror}") from error


def parse(raw: Mapping[str, Any], token: str) -> GateConfig:
    """The configuration from its mapping. Raises ConfigError naming every fault at once."""
    faults: list[str] = []
    known = {
        "garage",
        "platformUrl",
        "token",
        "tokenFile",
        "dataDir",
        "gates",
        "testCoil",
        "appVersion",
        "healthPort",
        "cameraPort",
        "cameraToken",
        "cameraTokenFile",
    }
    faults += [f"{key}: not known" for key in raw if key not in known]
    for key in ("garage", "platformUrl", "dataDir"):
        if not isinstance(raw.get(key), str) or not raw[key]:
            faults.append(f"{key}: required")
    if not token:
        faults.append("token: required (token, tokenFile or PARKUBE_GARAGE_TOKEN)")
    gates = tuple(g for i, each in enumerate(_list(raw.get("gates"), "gates", faults)) if (g := _gate(each, i, faults)))
    names = [g.name for g in gates]
    faults += [f"gates: {name} is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    faults += [f"gates: the name {TEST_GATE} is reserved" for name in names if name == TEST_GATE]
    test = _coil(raw["testCoil"], "testCoil", faults) if raw.get("testCoil") else None
    camera_port, camera_token = raw.get("cameraPort", 0), str(raw.get("cameraToken") or "")
    if camera_port and not _port(camera_port):
        faults.append("cameraPort: must be a port")
    if camera_port and not camera_token:
        faults.append("cameraToken: required where there is a cameraPort")
    if faults:
        raise ConfigError("; ".join(faults))
    return GateConfig(
        garage=raw["garage"], platform_url=raw["platformUrl"].rstrip("/"), token=token, data_dir=Path(raw["dataDir"]),
        gates=gates, test_coil=test, app_version=str(raw.get("appVersion") or "0.1.0"),
        health_port=int(raw.get("healthPort", 8081)), camera_port=int(camera_port), camera_token=camera_token,
    )  # fmt: skip


def _list(value: object, where: str, faults: list[str]) -> list[Any]:
    if not isinstance(value, list) or not value:
        faults.append(f"{where}: at least one is required")
        return []
    return value


def _gate(raw: object, index: int, faults: list[str]) -> Gate | None:
    where = f"gates[{index}]"
    if not isinstance(raw, dict):
        faults.append(f"{where}: must be a mapping")
        return None
    name, direction = raw.get("name"), raw.get("direction", "in")
    if not isinstance(name, str) or not name:
        faults.append(f"{where}.name: required")
    if direction not in {"in", "out", "pedestrian"}:
        faults.append(f"{where}.direction: must be in, out or pedestrian")
    relay = _coil(raw.get("relay"), f"{where}.relay", faults)
    scanner = None
    if raw.get("scanner"):
        at = raw["scanner"]
        if not isinstance(at, dict) or not at.get("address") or not _port(at.get("port")):
            faults.append(f"{where}.scanner: address and port are required")
        else:
            scanner = ScannerAt(str(at["address"]), int(at["port"]))
    return Gate(str(name), str(direction), relay, scanner) if relay and name else None


def _coil(raw: object, where: str, faults: list[str]) -> Coil | None:
    if not isinstance(raw, dict) or not raw.get("address"):
        faults.append(f"{where}.address: required")
        return None
    port, pulse = raw.get("port", 502), raw.get("pulseMs", 500)
    if not _port(port):
        faults.append(f"{where}.port: must be a port")
    if not isinstance(pulse, int) or not 50 <= pulse <= 10_000:
        faults.append(f"{where}.pulseMs: must be between 50 and 10000")
    numbers = {key: raw.get(key, 1 if key == "unit" else 0) for key in ("unit", "coil")}
    faults += [
        f"{where}.{key}: must be a number from 0" for key, n in numbers.items() if not isinstance(n, int) or n < 0
    ]
    if any(fault.startswith(where) for fault in faults):
        return None
    return Coil(str(raw["address"]), int(port), numbers["unit"], numbers["coil"], int(pulse))


def _port(value: object) -> bool:
    return isinstance(value, int) and 0 < value < 65536
