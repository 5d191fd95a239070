"""Makes keys and certificates in memory: EC P-256 throughout. No files, no clock of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from parkube.controlplane.pki.errors import CsrError

CA_DAYS, LEAF_DAYS = 3650, 365
BACKDATED = timedelta(hours=24)  # small boards have no clock of their own: theirs may be late
_USAGES = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key and its certificate, both PEM."""

    key: bytes
    certificate: bytes


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PKCS#8 PEM, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, org) for org in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def new_ca(common_name: str, now: datetime) -> KeyPair:
    """A self-signed authority, good for ten years."""
    key = new_key()
    subject = _name(f"{common_name}@{int(now.timestamp())}")
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(key_pem(key), certificate.public_bytes(serialization.Encoding.PEM))


class Authority:
    """A CA, loaded once and signing many times."""

    def __init__(self, pair: KeyPair) -> None:
        key = serialization.load_pem_private_key(pair.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("a CA key must be EC or RSA")
        self._key = key
        self._certificate = x509.load_pem_x509_certificate(pair.certificate)
        self._identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate.public_key())  # type: ignore[arg-type]
        self.pem = pair.certificate

    def issue(
        self,
        common_name: str,
        now: datetime,
        *,
        organizations: Sequence[str] = (),
        sans: Sequence[str] = (),
        server: bool = False,
    ) -> KeyPair:
        """A new key with its certificate, for clients or (`server`) for TLS servers."""
        key = new_key()
        usages = ["server auth" if server else "client auth"]
        pem = self._sign(
            _name(common_name, organizations), key.public_key(), sans, usages, now, timedelta(days=LEAF_DAYS)
        )
        return KeyPair(key_pem(key), pem)

    def sign_csr(
        self,
        csr_pem: bytes,
        now: datetime,
        usages: Sequence[str],
        ttl_s: float,
        *,
        subject: tuple[str, Sequence[str]] | None = None,
    ) -> bytes:
        """A certificate for the request's key; its own subject and SANs, or `subject` (name, organizations) without
        SANs. Raises `CsrError`."""
        request = parse_csr(csr_pem)
        sans: list[str] = [] if subject else csr_sans(request)
        name = request.subject if subject is None else _name(*subject)
        return self._sign(name, request.public_key(), sans, usages, now, timedelta(seconds=ttl_s))

    def _sign(
        self,
        subject: x509.Name,
        public: object,
        sans: Sequence[str],
        usages: Sequence[str],
        now: datetime,
        lifetime: timedelta,
    ) -> bytes:
        end = min(now + lifetime, self._certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._certificate.subject)
            .public_key(public)  # type: ignore[arg-type]  # checked to be EC or RSA where it was parsed
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(self._identifier, critical=False)
        )
        extended = [_USAGES[usage] for usage in usages if usage in _USAGES]
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName([_san(s) for s in sans]), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def parse_csr(pem: bytes) -> x509.CertificateSigningRequest:
    """The request, its own signature checked. Raises `CsrError`."""
    try:
        request = x509.load_pem_x509_csr(pem)
    except ValueError as exc:
        raise CsrError("the certificate signing request is not a PEM-encoded PKCS#10 request") from exc
    try:
        valid = request.is_signature_valid
    except (InvalidSignature, ValueError):
        valid = False
    if not valid:
        raise CsrError("the certificate signing request is not signed by its own key")
    key = request.public_key()
    if not (isinstance(key, ec.EllipticCurvePublicKey) or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048)):
        raise CsrError("the key of a certificate signing request must be EC, or RSA of at least 2048 bits")
    return request


def csr_sans(request: x509.CertificateSigningRequest) -> list[str]:
    """DNS names and addresses that the request asks for."""
    try:
        wanted = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*wanted.get_values_for_type(x509.DNSName), *(str(a) for a in wanted.get_values_for_type(x509.IPAddress))]


def certificate_names(pem: bytes) -> tuple[set[str], datetime]:
    """SANs and the end of validity of a certificate."""
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        wanted = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set(), certificate.not_valid_after_utc
    names = {*wanted.get_values_for_type(x509.DNSName), *(str(a) for a in wanted.get_values_for_type(x509.IPAddress))}
    return names, certificate.not_valid_after_utc


def matches(pair: KeyPair, issuer_pem: bytes) -> bool:
    """Whether key and certificate belong together and to that issuer."""
    try:
        key = serialization.load_pem_private_key(pair.key, None)
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(issuer_pem))
    except (ValueError, TypeError, InvalidSignature):
        return False
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*spki) == certificate.public_key().public_bytes(*spki)


def _san(value: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(value))
    except ValueError:
        return x509.DNSName(value)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=ca, crl_sign=ca, encipher_only=False, decipher_only=False,
    )  # fmt: skip
