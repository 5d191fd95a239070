"""What a joined node has on disk: its key and certificate, the server's CA, and what the server told it. Files only.

<data-dir>/agent/tls/client.key  client.crt  server-ca.crt  identity.json
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from parkube.kubeapi.files import write_file
from parkube.kubeapi.jointoken import ca_hash
from parkube.nodeagent.join.errors import JoinError

SERVER_NAME = "kubernetes.default.svc"
"""The name that every API server's certificate carries. The agent asks for it whatever address it dials: the CA, pinned
by the token's hash, signs nothing but API servers, so the server may live behind an address and a port it does not own.
"""
_NOT_YET_VALID, _EXPIRED = 9, 10  # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and ..._HAS_EXPIRED
RENEW_SHARE = 1 / 3  # of a certificate's life: what is left when it is renewed


@dataclass(frozen=True, slots=True)
class Identity:
    """A joined node. Times are seconds since the epoch."""

    node: str
    directory: Path
    joined: float
    expires: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        return self.directory / "client.key"

    @property
    def certificate(self) -> Path:
        return self.directory / "client.crt"

    @property
    def server_ca(self) -> Path:
        return self.directory / "server-ca.crt"

    def valid(self, now: float) -> bool:
        """Whether the server will take the certificate."""
        return now < self.expires - 60

    def due(self, now: float) -> bool:
        """Whether it is time for a new one."""
        return now > self.expires - (self.expires - self.joined) * RENEW_SHARE

    def ssl_context(self) -> ssl.SSLContext:
        """TLS towards the server, as this node. Raises `JoinError` when the files are damaged."""
        try:
            context = server_context(self.server_ca.read_text())
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError, ValueError) as exc:
            raise JoinError(f"the node's certificate in {self.directory} cannot be used: {exc}") from exc
        return context


def server_context(ca_pem: str) -> ssl.SSLContext:
    """TLS that trusts this CA alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_pem)
    return context


def certificate_fault(exc: ssl.SSLCertVerificationError, where: str) -> str:
    """Why the server's certificate is not believed, in one sentence."""
    if exc.verify_code in (_NOT_YET_VALID, _EXPIRED):
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        return f"the certificate of the server at {where} is not valid now, when this machine's clock says {now} UTC"
    return f"the certificate of the server at {where} is not by the CA that this node joined: {exc.verify_message}"


def load(directory: Path) -> Identity | None:
    """The identity kept here; None when there is none or it is damaged."""
    try:
        content = orjson.loads((directory / "identity.json").read_bytes())
        identity = Identity(
            str(content["node"]),
            directory,
            float(content["joined"]),
            float(content["expires"]),
            dict(content["settings"]),
        )
        identity.ssl_context()
    except (OSError, ValueError, KeyError, TypeError, JoinError):
        return None
    return identity


def trusts(identity: Identity, digest: str) -> bool:
    """Whether the CA it joined is the one with that hash."""
    return ca_hash(identity.server_ca.read_bytes()) == digest


def store(directory: Path, identity: Identity, key: bytes, certificate: bytes, ca_pem: bytes) -> None:
    """Keep an identity; `identity.json` comes last, so that what was cut short counts as none."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    (directory / "identity.json").unlink(missing_ok=True)
    write_file(identity.key, key)
    write_file(identity.certificate, certificate)
    write_file(identity.server_ca, ca_pem)
    content = {
        "node": identity.node,
        "joined": identity.joined,
        "expires": identity.expires,
        "settings": identity.settings,
    }
    write_file(directory / "identity.json", orjson.dumps(content))


def server_address(url: str) -> tuple[str, int]:
    """Host and port of `https://host:port` (port 6443 unless given). Raises `JoinError`."""
    try:
        parts = urlsplit(url if "//" in url else f"https://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise JoinError(f'"{url}" is not the address of a server: {exc}') from exc
    if parts.scheme != "https" or not host or parts.path not in ("", "/"):
        raise JoinError(f'"{url}" is not the address of a server: write https://<host>:<port>')
    return host, port or 6443
