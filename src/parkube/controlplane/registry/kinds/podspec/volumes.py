"""Rules of a pod's volumes: one source each, and what the sources that are mounted here must say."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.volumes import claim_faults
from parkube.kubeapi.errors import Cause, Obj

_HOST_PATH = frozenset((
    "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice",
))  # fmt: skip


def volume_faults(volumes: Iterable[Obj], path: str, named: dict[str, Obj]) -> list[Cause]:
    """Faults of `volumes`; each is put into `named`."""
    found: list[Cause] = []
    for at, volume in enumerate(volumes):
        here = f"{path}[{at}]"
        name = volume.get("name")
        if name is not None:
            found += checks.name(name, f"{here}.name")
            if name in named:
                found.append(faults.duplicate(f"{here}.name", name))
            named[name] = volume
        kinds = [kind for kind in volume if kind != "name" and volume[kind] is not None]
        if not kinds:
            found.append(faults.required(here, "must specify a volume type"))
        for kind in kinds[1:]:
            found.append(faults.forbidden(f"{here}.{kind}", "may not specify more than 1 volume type"))
        for kind in kinds:
            rules = _SOURCES.get(kind)
            if rules is not None:
                found += rules(volume[kind], f"{here}.{kind}")
    return found


def _mode(source: Obj, path: str, key: str = "defaultMode") -> list[Cause]:
    mode = source.get(key)
    if mode is None or 0 <= mode <= 0o777:
        return []
    return [faults.invalid(f"{path}.{key}", mode, "must be a number between 0 and 0777 (octal), both inclusive")]


def _items(source: Obj, path: str) -> list[Cause]:
    found: list[Cause] = []
    for at, item in enumerate(source.get("items") or ()):
        here = f"{path}.items[{at}]"
        found += _mode(item, here, "mode")
        if item.get("path") is not None:
            found += checks.relative_path(item["path"], f"{here}.path") if item["path"] else [
                faults.required(f"{here}.path")
            ]  # fmt: skip
    return found


def _secret(source: Obj, path: str) -> list[Cause]:
    missing = [] if source.get("secretName") else [faults.required(f"{path}.secretName")]
    return [*missing, *_mode(source, path), *_items(source, path)]


def _config_map(source: Obj, path: str) -> list[Cause]:
    missing = [] if source.get("name") else [faults.required(f"{path}.name")]
    return [*missing, *_mode(source, path), *_items(source, path)]


def _downward(source: Obj, path: str) -> list[Cause]:
    found = [*_mode(source, path), *_items(source, path)]
    for at, item in enumerate(source.get("items") or ()):
        if item.get("fieldRef") is None and item.get("resourceFieldRef") is None:
            words = "one of fieldRef and resourceFieldRef is required"
            found.append(faults.required(f"{path}.items[{at}]", words))
    return found


def _host_path(source: Obj, path: str) -> list[Cause]:
    place = source.get("path")
    if place is not None and not place:
        return [faults.required(f"{path}.path")]
    found = checks.no_backsteps(place or "", f"{path}.path")
    return found + checks.one_of(source.get("type"), f"{path}.type", _HOST_PATH)


def _empty_dir(source: Obj, path: str) -> list[Cause]:
    limit = source.get("sizeLimit")
    negative = limit is not None and str(limit).startswith("-")
    return (
        [faults.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")] if negative else []
    )


def _projected(source: Obj, path: str) -> list[Cause]:
    found = _mode(source, path)
    for at, part in enumerate(source.get("sources") or ()):
        here = f"{path}.sources[{at}]"
        kinds = [kind for kind in part if part[kind] is not None]
        if not kinds:
            found.append(faults.required(here, "must specify a volume type"))
        for kind in kinds[1:]:
            found.append(faults.forbidden(here, f"may not specify more than 1 volume type: {kind}"))
        for kind in kinds:
            found += _projection(kind, part[kind], f"{here}.{kind}")
    return found


def _projection(kind: str, source: Obj, path: str) -> list[Cause]:
    if kind == "downwardAPI":
        return _downward(source, path)
    found = _items(source, path)
    if kind in ("secret", "configMap") and not source.get("name"):
        found.append(faults.required(f"{path}.name"))
    if kind == "serviceAccountToken":
        seconds = source.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            found.append(faults.invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))  # noqa: E501  # fmt: skip
        if source.get("path"):
            found += checks.relative_path(source["path"], f"{path}.path")
    return found


def _image(source: Obj, path: str) -> list[Cause]:
    return checks.one_of(source.get("pullPolicy"), f"{path}.pullPolicy", ("Always", "IfNotPresent", "Never"))


def _claim(source: Obj, path: str) -> list[Cause]:
    return [] if source.get("claimName") else [faults.required(f"{path}.claimName")]


def _ephemeral(source: Obj, path: str) -> list[Cause]:
    here = f"{path}.volumeClaimTemplate"
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [faults.required(here)]
    return claim_faults(template.get("spec") or {}, f"{here}.spec")


_SOURCES: dict[str, Callable[[Obj, str], list[Cause]]] = {
    "secret": _secret, "configMap": _config_map, "downwardAPI": _downward, "hostPath": _host_path,
    "emptyDir": _empty_dir, "projected": _projected, "image": _image, "persistentVolumeClaim": _claim,
    "ephemeral": _ephemeral,
}  # fmt: skip
