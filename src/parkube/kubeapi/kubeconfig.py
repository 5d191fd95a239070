"""Kubeconfig files: the current context, and a client made of it. No exec plugins, no merging of files."""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from parkube.kubeapi.http import Dialer, tcp
from parkube.kubeapi.remote import RemoteClient


class KubeconfigError(Exception):
    """The file cannot be used; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """Where the server is, whom to trust and who we are. PEM as bytes; empty where the file has nothing."""

    server: str
    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    token: str = ""
    insecure: bool = False

    def ssl_context(self) -> ssl.SSLContext:
        """For connections to `server`. Raises KubeconfigError."""
        context = ssl.create_default_context(cadata=self.authority.decode() or None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            _load_pair(context, self.certificate, self.key)
        return context

    def dialer(self) -> Dialer:
        """Connects to `server`. Raises KubeconfigError."""
        url = urlsplit(self.server)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise KubeconfigError(f"the server {self.server!r} of the kubeconfig is not a URL")
        secure = url.scheme == "https"
        return tcp(url.hostname, url.port or (443 if secure else 80), self.ssl_context() if secure else None)

    def client(self, *, timeout: float = 30.0) -> RemoteClient:
        """A client of `server`. Raises KubeconfigError."""
        token = (lambda: self.token) if self.token else None
        return RemoteClient(self.dialer(), host=urlsplit(self.server).netloc, token=token, timeout=timeout)


def load(path: Path) -> Kubeconfig:
    """The file's current context. Raises KubeconfigError."""
    try:
        content = yaml.safe_load(path.read_text())
        contexts = {item["name"]: item["context"] for item in content["contexts"]}
        context = contexts[content["current-context"]]
        cluster = {item["name"]: item["cluster"] for item in content["clusters"]}[context["cluster"]]
        user = {item["name"]: item["user"] for item in content["users"]}[context["user"]]
        return Kubeconfig(
            server=cluster["server"],
            authority=_pem(cluster, "certificate-authority", path),
            certificate=_pem(user, "client-certificate", path),
            key=_pem(user, "client-key", path),
            token=_token(user, path),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
        )
    except OSError as error:
        raise KubeconfigError(f"cannot read {error.filename or path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise KubeconfigError(f"{path} is not a kubeconfig that can be used: {error!r}") from error


def _pem(entry: dict[str, Any], name: str, path: Path) -> bytes:
    if entry.get(f"{name}-data"):
        return base64.b64decode(entry[f"{name}-data"], validate=True)
    return (path.parent / entry[name]).read_bytes() if entry.get(name) else b""


def _token(user: dict[str, Any], path: Path) -> str:
    if user.get("token"):
        return str(user["token"])
    return (path.parent / user["tokenFile"]).read_text().strip() if user.get("tokenFile") else ""


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """OpenSSL reads key pairs from files alone: one that only we can read, for a moment."""
    handle, name = tempfile.mkstemp(prefix="parkube-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(name)
    except ssl.SSLError as error:
        raise KubeconfigError(f"the client certificate of the kubeconfig cannot be used: {error.reason}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)
