"""What is in a folder of image archives: OCI layouts and docker archives, as tar files. Reads headers, not layers.

A blob is a byte range of a tar, so serving it is reading a file. A docker archive has no manifest: one is made here
from its configuration, whose `diff_ids` are the digests of the layers when they lie there uncompressed.
"""

from __future__ import annotations

import hashlib
import logging
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

log = logging.getLogger(__name__)

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
_GZIP = b"\x1f\x8b"
_SMALL = 4 * 1024 * 1024  # JSON in an archive is never bigger


class ArchiveError(Exception):
    """The file is no image archive; the text says why."""


class Blob(NamedTuple):
    """A byte range of a file."""

    path: Path
    offset: int
    size: int


@dataclass(slots=True)
class Archive:
    """The content of one tar."""

    images: dict[str, str] = field(default_factory=dict)  # docker.io/library/nginx:latest -> manifest digest
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)  # digest -> bytes, media type
    blobs: dict[str, Blob] = field(default_factory=dict)


class Library:
    """All archives of a folder; looks again only at files that changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._archives: dict[Path, tuple[tuple[int, int], Archive]] = {}

    def refresh(self) -> None:
        """Take note of files that came, changed or went. A file that cannot be read is named in the log once."""
        current: dict[Path, tuple[tuple[int, int], Archive]] = {}
        paths = sorted(self._directory.glob("*.tar")) if self._directory.is_dir() else []
        for path in paths:
            try:
                stat = path.stat()
            except OSError:
                continue
            stamp = (stat.st_mtime_ns, stat.st_size)
            known = self._archives.get(path)
            current[path] = known if known is not None and known[0] == stamp else (stamp, _try_read(path))
        self._archives = current

    def manifest(self, name: str, reference: str) -> tuple[bytes, str, str] | None:
        """A manifest's bytes, media type and digest, by repository and tag or digest."""
        for _, archive in self._archives.values():
            digest = reference if ":" in reference else archive.images.get(f"{name}:{reference}", "")
            if digest in archive.manifests:
                return (*archive.manifests[digest], digest)
        return None

    def blob(self, digest: str) -> Blob | None:
        """Where a blob lies."""
        return next((a.blobs[digest] for _, a in self._archives.values() if digest in a.blobs), None)

    def tags(self, name: str) -> list[str]:
        """The tags of a repository."""
        names = {image for _, archive in self._archives.values() for image in archive.images}
        return sorted(image.rpartition(":")[2] for image in names if image.rpartition(":")[0] == name)


def normalise(reference: str) -> str:
    """`nginx` -> `docker.io/library/nginx:latest`: names as containerd spells them."""
    name, _, digest = reference.partition("@")
    head, slash, rest = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in head and ":" not in head and head != "localhost":
        name = f"docker.io/{name}"
    elif head == "docker.io" and "/" not in rest:
        name = f"docker.io/library/{rest}"
    if digest:
        return f"{name}@{digest}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _try_read(path: Path) -> Archive:
    try:
        return read(path)
    except (ArchiveError, tarfile.TarError, OSError, ValueError, KeyError, TypeError) as exc:
        log.warning("%s is not served: %s", path, exc)
        return Archive()


def read(path: Path) -> Archive:
    """Read one archive's table of contents. Raises `ArchiveError`."""
    with tarfile.open(path, "r:") as tar:
        members = {_clean(m.name): m for m in tar if m.isfile() or m.issym() or m.islnk()}
        archive = Archive()
        if "index.json" in members:
            _read_layout(path, tar, members, archive)
        elif "manifest.json" in members:
            _read_docker(path, tar, members, archive)
        else:
            raise ArchiveError("it has neither an index.json (OCI layout) nor a manifest.json (docker archive)")
    return archive


def _clean(name: str) -> str:
    return name.removeprefix("./")


def _json(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    return orjson.loads(_bytes(tar, member))


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > _SMALL:
        raise ArchiveError(f"{member.name} is too big to be what its name says")
    file = tar.extractfile(member)
    if file is None:
        raise ArchiveError(f"{member.name} is not a file")
    return file.read()


def _read_layout(path: Path, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], archive: Archive) -> None:
    for name, member in members.items():
        parts = name.split("/")
        if len(parts) == 3 and parts[0] == "blobs":
            archive.blobs[f"{parts[1]}:{parts[2]}"] = Blob(path, member.offset_data, member.size)
    docker = _json(tar, members["manifest.json"]) if "manifest.json" in members else []
    by_config = {_digest_of(entry["Config"]): entry.get("RepoTags") or [] for entry in docker}

    def follow(descriptor: dict[str, Any], names: list[str]) -> None:
        digest = descriptor["digest"]
        member = members.get("blobs/" + digest.replace(":", "/"))
        if member is None:
            return  # an index may name platforms that were not saved
        content = _bytes(tar, member)
        manifest = orjson.loads(content)
        default = OCI_INDEX if "manifests" in manifest else OCI_MANIFEST
        media_type = descriptor.get("mediaType") or manifest.get("mediaType") or default
        archive.manifests[digest] = (content, media_type)
        names = names or by_config.get(manifest.get("config", {}).get("digest", ""), [])
        archive.images.update({normalise(name): digest for name in names})
        for child in manifest.get("manifests") or ():
            follow(child, [])

    for descriptor in _json(tar, members["index.json"]).get("manifests") or ():
        notes = descriptor.get("annotations") or {}
        full = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or ""
        # A bare tag names no repository; it is then in manifest.json, or nowhere.
        follow(descriptor, [full] if "/" in full or ":" in full else [])


def _digest_of(config_path: str) -> str:
    parts = config_path.split("/")
    return ":".join(parts[-2:]) if len(parts) == 3 else f"sha256:{parts[-1].removesuffix('.json')}"


def _read_docker(path: Path, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], archive: Archive) -> None:
    for entry in _json(tar, members["manifest.json"]):
        config_member = members[_clean(entry["Config"])]
        config = _bytes(tar, config_member)
        config_digest = _sha256(config)
        archive.blobs[config_digest] = Blob(path, config_member.offset_data, config_member.size)
        layers = []
        for name, diff_id in zip(entry["Layers"], orjson.loads(config)["rootfs"]["diff_ids"], strict=True):
            layers.append(_docker_layer(path, tar, members, name, diff_id, archive))
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": config_digest, "size": len(config)},
            "layers": layers,
        }
        content = orjson.dumps(manifest)
        digest = _sha256(content)
        archive.manifests[digest] = (content, OCI_MANIFEST)
        archive.images.update({normalise(name): digest for name in entry.get("RepoTags") or ()})


def _docker_layer(
    path: Path,
    tar: tarfile.TarFile,
    members: dict[str, tarfile.TarInfo],
    name: str,
    diff_id: str,
    archive: Archive,
) -> dict[str, Any]:
    """The descriptor of one layer, whose blob is put on record."""
    member = members[_clean(name)]
    while member.issym() or member.islnk():  # docker saves a layer that two images share once
        base = Path(member.name).parent if member.issym() else Path()
        member = members[_clean(_resolve(base / member.linkname))]
    file = tar.extractfile(member)
    if file is None:
        raise ArchiveError(f"layer {name} is not a file")
    gzipped = file.read(2) == _GZIP
    digest = diff_id
    if gzipped:
        file.seek(0)
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    archive.blobs[digest] = Blob(path, member.offset_data, member.size)
    return {"mediaType": OCI_LAYER + ("+gzip" if gzipped else ""), "digest": digest, "size": member.size}


def _resolve(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            if parts:
                parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
