"""Reads `/etc/parkube/registries.yaml` (K3s's form) and makes of it what containerd reads: a hosts.toml a registry.

    mirrors:
      docker.io:
        endpoint: ["https://mirror.example:5000"]
    configs:
      "mirror.example:5000":
        auth: {username: …, password: …}
        tls: {ca_file: …, cert_file: …, key_file: …, insecure_skip_verify: true}

Pure but for reading the file and writing the folder. The agent's own mirror comes before all others, for every
registry.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from parkube.nodeagent.join.errors import RegistriesError

_TLS = {"ca_file", "cert_file", "key_file", "insecure_skip_verify"}
_AUTH = {"username", "password", "auth", "identity_token", "token"}
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\*")


@dataclass(frozen=True, slots=True)
class Registries:
    """What the file says. `auths`: by host, what a pull is to log in with (`username`, `password`)."""

    mirrors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tls: dict[str, dict[str, Any]] = field(default_factory=dict)
    auths: dict[str, dict[str, str]] = field(default_factory=dict)


def load(path: Path) -> Registries:
    """The file's content; empty when there is none. Raises `RegistriesError` naming every fault."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Registries()
    except (OSError, UnicodeDecodeError) as exc:
        raise RegistriesError(f"{path} cannot be read: {exc}") from exc
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as exc:
        raise RegistriesError(f"{path} is not YAML: {' '.join(str(exc).split())}") from exc
    return parse(content, str(path))


def parse(content: Any, path: str = "registries.yaml") -> Registries:
    """From the YAML's value. Raises `RegistriesError` naming every fault."""
    faults: list[str] = []
    if not isinstance(content, dict):
        raise RegistriesError(f"{path} must hold `mirrors` and `configs`")
    faults += [f'"{key}" is not known' for key in content if key not in ("mirrors", "configs")]
    mirrors = {str(h): _endpoints(str(h), v, faults) for h, v in _mapping(content, "mirrors", faults).items()}
    tls: dict[str, dict[str, Any]] = {}
    auths: dict[str, dict[str, str]] = {}
    for host, value in _mapping(content, "configs", faults).items():
        _config(str(host), value, tls, auths, faults)
    if faults:
        raise RegistriesError(f"{path} cannot be used: {'; '.join(faults)}")
    return Registries(mirrors, tls, auths)


def _mapping(content: dict[str, Any], key: str, faults: list[str]) -> dict[str, Any]:
    value = content.get(key) or {}
    if not isinstance(value, dict):
        faults.append(f"{key} must be a mapping by registry host")
        return {}
    for host in value:
        if not _HOST.fullmatch(str(host)):
            faults.append(f'{key}: "{host}" is not a registry host')
    return value


def _endpoints(host: str, value: Any, faults: list[str]) -> tuple[str, ...]:
    endpoints = value.get("endpoint") if isinstance(value, dict) else None
    if not isinstance(endpoints, list) or not all(isinstance(e, str) for e in endpoints):
        faults.append(f"mirrors.{host}.endpoint must be a list of URLs")
        return ()
    for key in value:
        if key == "rewrite":
            faults.append(f"mirrors.{host}.rewrite is not in this version")
        elif key != "endpoint":
            faults.append(f"mirrors.{host}.{key} is not known")
    for endpoint in endpoints:
        if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc:
            faults.append(f'mirrors.{host}.endpoint: "{endpoint}" is not an http(s) URL')
    return tuple(endpoints)


def _config(
    host: str, value: Any, tls: dict[str, dict[str, Any]], auths: dict[str, dict[str, str]], faults: list[str]
) -> None:
    if not isinstance(value, dict):
        faults.append(f"configs.{host} must be a mapping")
        return
    for section, known in (("tls", _TLS), ("auth", _AUTH)):
        part = value.get(section) or {}
        if not isinstance(part, dict):
            faults.append(f"configs.{host}.{section} must be a mapping")
            continue
        faults += [f"configs.{host}.{section}.{key} is not known" for key in part if key not in known]
        if section == "tls" and part:
            tls[host] = dict(part)
        elif part:
            auths[host] = _login({key: str(item) for key, item in part.items()})
    faults += [f"configs.{host}.{key} is not known" for key in value if key not in ("tls", "auth")]


def _login(auth: dict[str, str]) -> dict[str, str]:
    """`auth` is user and password in base64, as Docker keeps them."""
    if "auth" in auth and "username" not in auth:
        user, _, password = base64.b64decode(auth.pop("auth")).decode("utf-8", "replace").partition(":")
        auth |= {"username": user, "password": password}
    return auth


def hosts_files(registries: Registries, mirror_port: int) -> dict[str, str]:
    """hosts.toml by folder name under containerd's `config_path`; `_default` is for every other registry."""
    files = {}
    for host in {"*": (), **dict.fromkeys(registries.tls, ()), **registries.mirrors}:
        endpoints = registries.mirrors.get(host, registries.mirrors.get("*", ()))
        lines = _host(f"http://127.0.0.1:{mirror_port}", {}, {}) if mirror_port else []
        for endpoint in endpoints:
            at = urlsplit(endpoint).netloc
            lines += _host(endpoint, registries.tls.get(at, {}), registries.auths.get(at, {}))
        own = registries.tls.get(host)
        if own:  # the registry itself, reached with its own TLS settings
            lines += _host(f"https://{host}", own, {})
        files["_default" if host == "*" else host] = "\n".join(lines) + "\n"
    return files


def _host(url: str, tls: dict[str, Any], auth: dict[str, str]) -> list[str]:
    lines = [f"[host.{json.dumps(url)}]", '  capabilities = ["pull", "resolve"]']
    if urlsplit(url).path.strip("/"):
        lines.append("  override_path = true")
    if tls.get("ca_file"):
        lines.append(f"  ca = {json.dumps(str(tls['ca_file']))}")
    if tls.get("cert_file"):
        pair = [str(tls["cert_file"]), *([str(tls["key_file"])] if tls.get("key_file") else [])]
        lines.append(f"  client = [{json.dumps(pair)}]")
    if tls.get("insecure_skip_verify"):
        lines.append("  skip_verify = true")
    if auth.get("username"):
        login = base64.b64encode(f"{auth['username']}:{auth.get('password', '')}".encode()).decode()
        lines += [f"  [host.{json.dumps(url)}.header]", f"    Authorization = {json.dumps('Basic ' + login)}"]
    return lines


def write(directory: Path, files: dict[str, str]) -> None:
    """Make `directory` hold exactly these files. Raises `RegistriesError`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            folder = directory / name
            folder.mkdir(exist_ok=True)
            (folder / "hosts.toml").write_text(text)
            (folder / "hosts.toml").chmod(0o600)
        for folder in directory.iterdir():
            if folder.is_dir() and folder.name not in files:
                shutil.rmtree(folder)
    except OSError as exc:
        raise RegistriesError(f"{directory} cannot be written: {exc.strerror}") from exc
