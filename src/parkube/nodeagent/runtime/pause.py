"""The pause image, made here and now: a program of a few instructions that sleeps for ever, in an OCI-layout tar.

So a node needs no image from anywhere to hold a pod's namespaces. It does not reap zombies of a shared PID
namespace.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import struct
from pathlib import Path
from typing import Any

PAUSE_IMAGE = "docker.io/parkube/pause:1"

# The pause system call (ppoll with nothing to wait for on arm64, which has no pause), again and again.
_CODE = {
    "amd64": (62, 2, bytes.fromhex("b822000000" "0f05" "ebf7")),
    "arm64": (183, 2, struct.pack(
        "<7I", 0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001, 0x17FFFFFA
    )),
    "arm": (40, 1, struct.pack("<3I", 0xE3A0701D, 0xEF000000, 0xEAFFFFFC)),
}  # fmt: skip
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm"}
_BASE = 0x10000


def architecture(machine: str = "") -> str:
    """Go's name of this machine's architecture, as images and nodes carry it."""
    machine = machine or platform.machine()
    return _MACHINES.get(machine, machine)


def elf(arch: str) -> bytes:
    """A static executable that pauses. `KeyError` for an architecture not known here."""
    machine, bits, code = _CODE[arch]
    if bits == 2:
        head, program = 64, 56
        at = head + program
        size = at + len(code)
        header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, _BASE + at, head, 0, 0, head, program, 1, 64, 0, 0)
        segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    else:
        head, program = 52, 32
        at = head + program
        size = at + len(code)
        header = struct.pack(
            "<HHIIIIIHHHHHH", 2, machine, 1, _BASE + at, head, 0, 0x05000000, head, program, 1, 40, 0, 0
        )
        segment = struct.pack("<IIIIIIII", 1, 0, _BASE, _BASE, size, size, 5, 0x10000)
    identity = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9)
    return identity + header + segment + code


def oci_image(name: str, files: dict[str, bytes], arch: str, **config: Any) -> bytes:
    """An OCI-layout tar of a one-layer image: executables by path, and Go-style config keys (Entrypoint, User, …)."""
    layer = _tar({path: (data, 0o755) for path, data in files.items()})
    config_blob = _json({
        "architecture": arch, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    })  # fmt: skip
    media = "application/vnd.oci.image."
    manifest = _json({
        "schemaVersion": 2, "mediaType": media + "manifest.v1+json",
        "config": _descriptor(media + "config.v1+json", config_blob),
        "layers": [_descriptor(media + "layer.v1.tar", layer)],
    })  # fmt: skip
    entry = _descriptor(media + "manifest.v1+json", manifest)
    tag = name.rpartition(":")[2]
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
    entry["platform"] = {"architecture": arch, "os": "linux"}
    parts = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
    }
    for blob in (layer, config_blob, manifest):
        parts["blobs/sha256/" + _digest(blob).removeprefix("sha256:")] = blob
    return _tar({path: (data, 0o644) for path, data in parts.items()})


def image_tar(arch: str) -> bytes:
    """The pause image."""
    return oci_image(PAUSE_IMAGE, {"pause": elf(arch)}, arch, Entrypoint=["/pause"])


def write_pause(path: Path) -> None:
    """Write the tar for this machine. `KeyError` where the architecture is not known."""
    path.write_bytes(image_tar(architecture()))


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    import tarfile  # needed once in a node's life, so not held in memory

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, (data, mode) in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}
