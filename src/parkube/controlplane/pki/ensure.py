"""Makes at first start, and keeps up at later ones, everything under `<data-dir>/server/tls`, and the tokens beside it.

What is valid is left alone; what is missing, expires within 90 days, or lacks a name that is wanted now is made anew.
A CA is never replaced: without its key the start fails. Every file appears whole (rename), private ones with mode 0600.
"""

from __future__ import annotations

import base64
import ipaddress
import secrets
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from parkube.controlplane.pki.authority import (
    LEAF_DAYS,
    Authority,
    KeyPair,
    certificate_names,
    key_pem,
    matches,
    new_ca,
    new_key,
)
from parkube.controlplane.pki.errors import PkiError
from parkube.kubeapi.files import write_file
from parkube.kubeapi.jointoken import TokenError, ca_hash, compose, parse

RENEW_BEFORE = timedelta(days=90)
_PROXY = "client-auth-proxy"
_CLIENTS = {
    "client-admin": ("system:admin", ("system:masters",)),
    "client-controller": ("system:kube-controller-manager", ()),
    "client-scheduler": ("system:kube-scheduler", ()),
}


@dataclass(frozen=True, slots=True)
class Pki:
    """What the server holds. PEM as bytes; `directory` is `<data-dir>/server/tls`."""

    directory: Path
    server_ca: bytes
    client_ca: Authority
    header_ca: bytes  # whoever has its certificate is believed about whom it speaks for
    admin: KeyPair
    service_account_key: bytes  # PEM, EC P-256: signs service-account tokens (ES256)
    token: str  # the full token, as in server/token
    node_token: str  # the full token for agents, as in server/node-token
    now: Callable[[], datetime]

    @property
    def join_secrets(self) -> tuple[str, ...]:
        """The secrets with which a node may join."""
        return (parse(self.token).secret, parse(self.node_token).secret)

    def sign_csr(self, csr: bytes, usages: Sequence[str], ttl_s: float = LEAF_DAYS * 86400.0) -> bytes:
        """Sign an approved request by the client CA, with the subject and names it asks for. Raises `CsrError`."""
        return self.client_ca.sign_csr(csr, self.now(), usages, ttl_s)

    def sign_node(self, csr: bytes, node: str, ttl_s: float = LEAF_DAYS * 86400.0) -> bytes:
        """A node's client certificate for the key of `csr`, whatever subject that names. Raises `CsrError`."""
        subject = (f"system:node:{node}", ("system:nodes",))
        return self.client_ca.sign_csr(csr, self.now(), ["client auth"], ttl_s, subject=subject)

    def server_ssl_context(self) -> ssl.SSLContext:
        """TLS for the API server: client certificates are asked for, and checked when given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(
            self.directory / "serving-kube-apiserver.crt", self.directory / "serving-kube-apiserver.key"
        )
        context.load_verify_locations(cadata=self.client_ca.pem.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 1  # a ticket costs memory on every one of thousands of connections
        context.set_alpn_protocols(["http/1.1"])
        return context

    def extension_ssl_context(self, bundle: bytes, unchecked: bool) -> ssl.SSLContext:
        """TLS to an API server behind a Service: trusts the bundle (where empty, what this machine trusts; `unchecked`:
        anybody), and shows that we speak for others. Raises ValueError."""
        try:
            context = ssl.create_default_context(cadata=bundle.decode() or None)
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise ValueError(f"unable to load root certificates: {error}") from error
        if unchecked:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(self.directory / f"{_PROXY}.crt", self.directory / f"{_PROXY}.key")
        return context

    def authentication(self) -> dict[str, str]:
        """What other API servers must know to believe our clients and us: the data of the ConfigMap
        `extension-apiserver-authentication`."""
        return {
            "client-ca-file": self.client_ca.pem.decode(),
            "requestheader-client-ca-file": self.header_ca.decode(),
            "requestheader-allowed-names": '["system:auth-proxy"]',
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        }

    def kubeconfig(self, url: str) -> bytes:
        """An administrator's kubeconfig for the server at `url`."""
        cluster = {"server": url, "certificate-authority-data": _b64(self.server_ca)}
        user = {
            "client-certificate-data": _b64(self.admin.certificate + self.client_ca.pem),
            "client-key-data": _b64(self.admin.key),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "default", "cluster": cluster}],
            "users": [{"name": "default", "user": user}],
            "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
            "current-context": "default",
            "preferences": {},
        }
        return yaml.safe_dump(config, sort_keys=False).encode()

    def write_kubeconfig(self, path: Path, url: str, mode: int = 0o600) -> None:
        """Write it where kubectl's users look. Raises `PkiError`."""
        content = self.kubeconfig(url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != content:
                write_file(path, content, mode)
            path.chmod(mode)
        except OSError as exc:
            raise PkiError(f"cannot write the kubeconfig {path}: {exc.strerror}") from exc


def default_sans(
    service_cidr: str, cluster_domain: str, addresses: Sequence[str] = (), extra: Sequence[str] = ()
) -> list[str]:
    """The names of the API server: those inside the cluster, this host's, `addresses`, and `extra` (--tls-san)."""
    first = str(next(ipaddress.ip_network(service_cidr).hosts()))
    inside = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{cluster_domain}"]
    names = [*inside, "localhost", socket.gethostname(), "127.0.0.1", "::1", first, *addresses, *extra]
    return list(dict.fromkeys(name for name in names if name and name not in ("0.0.0.0", "::")))


def ensure(
    server_dir: Path,
    *,
    sans: Sequence[str],
    token: str = "",
    agent_token: str = "",
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Pki:
    """Make or load everything. Raises `PkiError` with one sentence."""
    tls = server_dir / "tls"
    try:
        tls.mkdir(parents=True, exist_ok=True)
        server_dir.chmod(0o700)
        tls.chmod(0o700)
        moment = now()
        server_ca = _authority(tls, "server-ca", "parkube-server-ca", moment)
        client_ca = _authority(tls, "client-ca", "parkube-client-ca", moment)
        header_ca = _authority(tls, "request-header-ca", "parkube-request-header-ca", moment)
        _leaf(tls, _PROXY, header_ca, moment, "system:auth-proxy", (), ())
        _leaf(tls, "serving-kube-apiserver", server_ca, moment, "kube-apiserver", (), sans)
        pairs = {name: _leaf(tls, name, client_ca, moment, *who, ()) for name, who in _CLIENTS.items()}
        service_key = _service_key(tls / "service.key")
        full, for_nodes = _tokens(server_dir, server_ca.pem, token, agent_token)
    except TokenError as exc:
        raise PkiError(str(exc)) from exc
    except OSError as exc:
        raise PkiError(f"cannot keep keys under {server_dir}: {exc.strerror or exc} ({exc.filename})") from exc
    return Pki(
        tls, server_ca.pem, client_ca, header_ca.pem, pairs["client-admin"], service_key, full, for_nodes, now
    )  # fmt: skip


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _authority(tls: Path, name: str, common_name: str, now: datetime) -> Authority:
    key, certificate = tls / f"{name}.key", tls / f"{name}.crt"
    if not certificate.exists():
        pair = new_ca(common_name, now)
        write_file(key, pair.key)  # a key without its certificate is the mark of a start cut short: begun again
        write_file(certificate, pair.certificate, 0o644)
    elif not key.exists():
        raise PkiError(f"{key} is missing, and without it nothing can be signed: put it back from a backup")
    pair = KeyPair(key.read_bytes(), certificate.read_bytes())
    if not matches(pair, pair.certificate):
        raise PkiError(f"{certificate} and {key} do not belong together")
    return Authority(pair)


def _leaf(
    tls: Path,
    name: str,
    ca: Authority,
    now: datetime,
    common_name: str,
    organizations: Sequence[str],
    sans: Sequence[str],
) -> KeyPair:
    key, certificate = tls / f"{name}.key", tls / f"{name}.crt"
    if key.exists() and certificate.exists():
        pair = KeyPair(key.read_bytes(), certificate.read_bytes())
        if matches(pair, ca.pem):
            names, end = certificate_names(pair.certificate)
            if names >= {_same(s) for s in sans} and end - now > RENEW_BEFORE:
                return pair
            sans = sorted({*names, *sans}) if sans else ()
    pair = ca.issue(common_name, now, organizations=organizations, sans=sans, server=bool(sans))
    write_file(key, pair.key)
    write_file(certificate, pair.certificate, 0o644)
    return pair


def _same(name: str) -> str:
    """The spelling under which a certificate gives a name back."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _service_key(path: Path) -> bytes:
    if not path.exists():
        write_file(path, key_pem(new_key()))
    return path.read_bytes()


def _tokens(server_dir: Path, ca_pem: bytes, given: str, agents: str) -> tuple[str, str]:
    """The two full tokens, written where K3s's users look for them."""
    path = server_dir / "token"
    text = given or (path.read_text().strip() if path.exists() else "") or secrets.token_hex(16)
    main = _full(text, ca_pem)
    nodes = _full(agents, ca_pem) if agents else main
    for name, value in (("token", main), ("node-token", nodes)):
        content = value.encode() + b"\n"
        target = server_dir / name
        if not target.exists() or target.read_bytes() != content:
            write_file(target, content)
        target.chmod(0o600)
    return main, nodes


def _full(text: str, ca_pem: bytes) -> str:
    parts = parse(text)
    if parts.ca_hash and parts.ca_hash != ca_hash(ca_pem):
        raise TokenError("the token given belongs to another cluster: its CA hash is not this server's")
    return compose(ca_pem, parts.secret)
