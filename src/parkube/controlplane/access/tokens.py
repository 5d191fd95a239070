"""Service account tokens: signed, verified, and published as an OpenID issuer.

It knows JWTs and keys. Whether the account, pod or node of a token still exists is authn's business.
Source: RFC 7515, RFC 7517, RFC 7519; Kubernetes documentation, "Managing Service Accounts".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from parkube.kubeapi.errors import Obj

DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"
MAX_TOKEN = 16_384  # characters; a longer header is not looked at


class TokenError(Exception):
    """The token is not one of ours, or no longer."""


PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Signer:
    """The private key that signs: an ECDSA P-256 key as ES256, an RSA key as RS256."""

    def __init__(self, private_key_pem: bytes) -> None:
        key = serialization.load_pem_private_key(private_key_pem, password=None)
        if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
            raise TokenError("the service account key is neither ECDSA nor RSA")
        self._key: PrivateKey = key
        self.public = key.public_key()
        self._header = _b64(orjson.dumps({"alg": _algorithm(self.public), "kid": key_id(self.public)}))

    def sign(self, claims: Obj) -> str:
        """The compact JWS of `claims`."""
        signed = f"{self._header}.{_b64(orjson.dumps(claims))}"
        data = signed.encode()
        if isinstance(self._key, rsa.RSAPrivateKey):
            signature = self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        else:
            r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return f"{signed}.{_b64(signature)}"


def load_public(pem: bytes) -> PublicKey:
    """A public key, given as such or as the private key it belongs to."""
    if b"PRIVATE" in pem:
        return Signer(pem).public
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)):
        raise TokenError("the service account key is neither ECDSA nor RSA")
    return key


def key_id(key: PublicKey) -> str:
    """The name under which the key is published: a hash of its public part."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _b64(hashlib.sha256(der).digest())


def _algorithm(key: PublicKey) -> str:
    return "RS256" if isinstance(key, rsa.RSAPublicKey) else "ES256"


class ServiceAccountTokens:
    """Signs with one key, verifies with that one and older ones.

    `clock` gives Unix seconds; `issuer` is the `iss` claim; `audiences` are those the API server itself answers to.
    """

    def __init__(
        self, private_key_pem: bytes, *, clock: Callable[[], float], new_id: Callable[[], str],
        issuer: str = DEFAULT_ISSUER, audiences: Sequence[str] = (), older_keys: Sequence[bytes] = (),
    ) -> None:  # fmt: skip
        self._signer = Signer(private_key_pem)
        self._clock, self._new_id = clock, new_id
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._keys = {key_id(key): key for key in (self._signer.public, *map(load_public, older_keys))}

    def issue(
        self, namespace: str, name: str, uid: str, *, seconds: int, audiences: Sequence[str] = (),
        bound: dict[str, dict[str, str]] | None = None,
    ) -> tuple[str, int]:  # fmt: skip
        """A token for that service account, and when it expires (Unix seconds).

        `bound` adds claims `pod`, `secret` or `node`, each `{"name", "uid"}`.
        """
        now = int(self._clock())
        private: Obj = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}, **(bound or {})}
        if "pod" in private and seconds > 3607:
            private["warnafter"] = now + 3607
        claims = {
            "iss": self.issuer, "sub": f"system:serviceaccount:{namespace}:{name}",
            "aud": list(audiences) or list(self.audiences), "iat": now, "nbf": now, "exp": now + seconds,
            "jti": self._new_id(), "kubernetes.io": private,
        }  # fmt: skip
        return self._signer.sign(claims), now + seconds

    def verify(self, token: str) -> Obj:
        """The claims, the signature checked. Raises `TokenError`. Time and audience: see `check`."""
        if len(token) > MAX_TOKEN:
            raise TokenError("the token is too long")
        parts = token.split(".")
        if len(parts) != 3:
            raise TokenError("not a JSON web token")
        try:
            header, claims, signature = orjson.loads(_unb64(parts[0])), orjson.loads(_unb64(parts[1])), _unb64(parts[2])
        except (binascii.Error, ValueError) as error:
            raise TokenError("the token is cut or broken") from error
        if not isinstance(header, dict) or not isinstance(claims, dict):
            raise TokenError("the token is cut or broken")
        key = self._keys.get(str(header.get("kid")))
        if key is None or header.get("alg") != _algorithm(key):
            raise TokenError("the token is signed by a key of another cluster")
        _check_signature(key, f"{parts[0]}.{parts[1]}".encode(), signature)
        if claims.get("iss") != self.issuer:
            raise TokenError("the token is from another issuer")
        return claims

    def check(self, claims: Obj, audiences: Sequence[str] = ()) -> list[str]:
        """The audiences that the token and the asker share; `TokenError` when it is not valid now or for none."""
        now = self._clock()
        if now >= _number(claims, "exp"):
            raise TokenError("the token has expired")
        if now < _number(claims, "nbf") - 60:
            raise TokenError("the token is not valid yet")
        given = claims.get("aud")
        mine = set(audiences or self.audiences)
        shared = [a for a in ([given] if isinstance(given, str) else given or []) if a in mine]
        if not shared:
            raise TokenError("the token is for another audience")
        return shared

    def jwks(self) -> Obj:
        """`/openid/v1/jwks`."""
        return {"keys": [_jwk(key) for key in self._keys.values()]}

    def openid_configuration(self, jwks_uri: str) -> Obj:
        """`/.well-known/openid-configuration`; `jwks_uri` is the full URL of the keys."""
        algorithms = sorted({_algorithm(key) for key in self._keys.values()})
        return {
            "issuer": self.issuer, "jwks_uri": jwks_uri, "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": algorithms,
        }  # fmt: skip


def _number(claims: Obj, key: str) -> float:
    value = claims.get(key)
    if not isinstance(value, (int, float)):
        raise TokenError(f"the token has no {key}")
    return value


def _check_signature(key: PublicKey, data: bytes, signature: bytes) -> None:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            return
        if len(signature) != 64:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise TokenError("the token's signature is wrong") from error


def _jwk(key: PublicKey) -> dict[str, Any]:
    common = {"use": "sig", "kid": key_id(key), "alg": _algorithm(key)}
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        n = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        e = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
        return {"kty": "RSA", **common, "n": _b64(n), "e": _b64(e)}
    point = key.public_numbers()
    return {
        "kty": "EC", **common, "crv": "P-256",
        "x": _b64(point.x.to_bytes(32, "big")), "y": _b64(point.y.to_bytes(32, "big")),
    }  # fmt: skip
