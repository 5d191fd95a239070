"""Keys, certificates and tokens under the data directory: made once, kept up, never half there."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from parkube.controlplane.pki import Pki, PkiError, ensure
from parkube.controlplane.pki.authority import certificate_names, new_key
from parkube.controlplane.pki.ensure import default_sans
from parkube.controlplane.pki.errors import CsrError
from parkube.kubeapi.jointoken import TokenError, ca_hash, compose, parse, same_secret

START = datetime(2026, 11, 23, tzinfo=UTC)
SANS = default_sans("10.43.0.0/16", "cluster.local", ["192.0.2.7", ""], ["park.example"])


def made(directory: Path, now: datetime = START, **more: Any) -> Pki:
    return ensure(directory, **{"sans": SANS, "now": lambda: now, **more})


def csr(common_name: str = "bob", key: Any = None, sans: tuple[str, ...] = ()) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(s) for s in sans]), critical=False)
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key or new_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def subject(pem: bytes) -> str:
    return x509.load_pem_x509_certificate(pem).subject.rfc4514_string()


def test_first_start_makes_everything_with_tight_modes(tmp_path: Path) -> None:
    pki = made(tmp_path)
    modes = {p.name: p.stat().st_mode & 0o777 for p in [*pki.directory.iterdir(), *tmp_path.iterdir()] if p.is_file()}
    assert {mode for name, mode in modes.items() if not name.endswith(".crt")} == {0o600}
    assert pki.directory.stat().st_mode & 0o777 == 0o700
    assert {"token", "node-token", "server-ca.crt", "client-ca.key", "service.key", "client-admin.crt"} <= set(modes)
    names, _ = certificate_names((pki.directory / "serving-kube-apiserver.crt").read_bytes())
    assert {"kubernetes.default.svc", "10.43.0.1", "127.0.0.1", "192.0.2.7", "park.example"} <= names
    assert pki.server_ssl_context().verify_mode is ssl.CERT_OPTIONAL
    assert (tmp_path / "node-token").read_text().strip() == compose(pki.server_ca, parse(pki.token).secret)


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    made(tmp_path)
    before = {p: p.read_bytes() for p in (tmp_path / "tls").iterdir()}
    made(tmp_path, START + timedelta(days=30))
    assert {p: p.read_bytes() for p in (tmp_path / "tls").iterdir()} == before


def test_what_expires_or_lacks_a_name_is_renewed_under_the_same_ca(tmp_path: Path) -> None:
    first = made(tmp_path)
    serving = tmp_path / "tls" / "serving-kube-apiserver.crt"
    old = serving.read_bytes()
    made(tmp_path, sans=[*SANS, "new.example"])
    names, _ = certificate_names(serving.read_bytes())
    assert {"new.example", "park.example"} <= names
    later = made(tmp_path, START + timedelta(days=300))
    assert serving.read_bytes() != old
    assert later.admin.certificate != first.admin.certificate
    assert (later.server_ca, later.token, later.service_account_key) == (
        first.server_ca, first.token, first.service_account_key,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["serving-kube-apiserver.key", "client-admin.crt", "client-scheduler.key"])
def test_a_lost_or_cut_leaf_is_made_anew(tmp_path: Path, name: str) -> None:
    first = made(tmp_path)
    path = first.directory / name
    path.write_bytes(path.read_bytes()[:50])
    assert made(tmp_path).server_ca == first.server_ca
    path.unlink()
    made(tmp_path).server_ssl_context()


def test_a_lost_ca_key_and_a_start_cut_short(tmp_path: Path) -> None:
    pki = made(tmp_path)
    (pki.directory / "server-ca.key").unlink()
    with pytest.raises(PkiError, match=r"server-ca\.key is missing"):
        made(tmp_path)
    cut = tmp_path / "cut"
    (cut / "tls").mkdir(parents=True)
    (cut / "tls" / "server-ca.key").write_bytes(b"-----BEGIN")
    made(cut).server_ssl_context()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PkiError, match="cannot keep keys under"):
        made(tmp_path / "file")


def test_a_node_certificate_has_the_servers_subject_not_the_requests(tmp_path: Path) -> None:
    pki = made(tmp_path)
    pem = pki.sign_node(csr("system:admin", sans=("kubernetes",)), "raspberrypi")
    assert subject(pem) == "CN=system:node:raspberrypi,O=system:nodes"
    names, end = certificate_names(pem)
    assert (names, end) == (set(), START + timedelta(days=365))


def test_an_approved_request_keeps_its_subject_and_is_by_the_client_ca(tmp_path: Path) -> None:
    pki = made(tmp_path)
    pem = pki.sign_csr(csr("alice", sans=("a.example",)), ["client auth", "digital signature"], 3600)
    certificate = x509.load_pem_x509_certificate(pem)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(pki.client_ca.pem))
    assert (subject(pem), certificate_names(pem)) == ("CN=alice", ({"a.example"}, START + timedelta(hours=1)))


@pytest.mark.parametrize(
    "request_pem",
    [
        b"",
        b"nonsense",
        csr()[:-60] + b"\n-----END CERTIFICATE REQUEST-----\n",
        csr(key=rsa.generate_private_key(65537, 1024)),
    ],
)
def test_bad_requests(tmp_path: Path, request_pem: bytes) -> None:
    with pytest.raises(CsrError):
        made(tmp_path).sign_node(request_pem, "n")


def test_tokens(tmp_path: Path) -> None:
    pki = made(tmp_path, token="mysecret", agent_token="agents")
    assert pki.join_secrets == ("mysecret", "agents")
    assert pki.node_token == f"K10{ca_hash(pki.server_ca)}::server:agents"
    assert made(tmp_path).join_secrets == ("mysecret", "mysecret"), "the token is kept, the agents' own is a flag"
    with pytest.raises(PkiError, match="belongs to another cluster"):
        made(tmp_path, token="K10" + "0" * 64 + "::server:x")
    for text in ("", "  ", "K10abc::server:x", "K10" + "0" * 64 + "::server:"):
        with pytest.raises(TokenError):
            parse(text)
    assert not same_secret("", "")


def test_the_kubeconfig(tmp_path: Path) -> None:
    pki = made(tmp_path)
    path = tmp_path / "etc" / "parkube.yaml"
    pki.write_kubeconfig(path, "https://127.0.0.1:6443")
    content = yaml.safe_load(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert subject(pki.admin.certificate) == "CN=system:admin,O=system:masters"
    with pytest.raises(PkiError, match="cannot write the kubeconfig"):
        pki.write_kubeconfig(path / "below" / "it", "https://x")
