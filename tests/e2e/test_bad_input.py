"""What a server must survive: broken bytes on its port, bodies that are no objects, values that are none."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Server

pytestmark = pytest.mark.e2e

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


class Raw:
    """HTTPS without a client library's kindness."""

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        self.port, self.context = server.port, context

    def connect(self) -> ssl.SSLSocket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.context.wrap_socket(sock, server_hostname="127.0.0.1")

    def __call__(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json", **headers: str
    ) -> tuple[int, Any]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": kind, **headers})
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text.startswith(b"{") else text
        finally:
            connection.close()


def context_of(server: Server, directory: Path, *, user: bool = True) -> ssl.SSLContext:
    config = yaml.safe_load(server.kubeconfig.read_text())
    cluster, admin = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    if user:
        (directory / "c.pem").write_bytes(b64decode(admin["client-certificate-data"]))
        (directory / "k.pem").write_bytes(b64decode(admin["client-key-data"]))
        context.load_cert_chain(directory / "c.pem", directory / "k.pem")
    return context


@pytest.fixture
def raw(server: Server, tmp_path: Path) -> Iterator[Raw]:
    """The admin's requests; the server lives after each test."""
    asks = Raw(server, context_of(server, tmp_path))
    yield asks
    assert asks("GET", "/readyz") == (200, b"ok")


BODIES: list[tuple[str, bytes, str, int, str]] = [
    ("broken JSON", b'{"kind": "ConfigMap", ', "application/json", 400, "json parse error"),
    ("nothing", b"", "application/json", 400, "empty"),
    ("a list", b"[1, 2]", "application/json", 400, "not an object"),
    ("a number", b"7", "application/json", 400, "not an object"),
    ("bytes", b"\xff\xfe\x00", "application/json", 400, "json parse error"),
    ("broken YAML", b"a: [b\n", "application/yaml", 400, "yaml parse error"),
    ("a YAML bomb", b"a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n", "application/yaml", 400, "aliases"),
    ("broken protobuf", b"k8s\x00\x0a\xff", "application/vnd.kubernetes.protobuf", 400, "protobuf"),
    ("an unknown form", b"<a/>", "text/xml", 415, "unknown format"),
    ("another kind", b'{"kind":"Secret","metadata":{"name":"a"}}', "application/json", 400, "kind"),
    ("another version", b'{"apiVersion":"v9","metadata":{"name":"a"}}', "application/json", 400, "v9"),
    ("no name", b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{}}', "application/json", 422, "metadata.name"),
    ("metadata that is none", b'{"metadata": 7}', "application/json", 400, "metadata"),
    ("a wrong type", b'{"metadata":{"name":"a"},"data":{"a":1}}', "application/json", 400, "data"),
    ("a version of its own", b'{"metadata":{"name":"a","resourceVersion":"5"}}', "application/json", 400, "resourceV"),
    ("a bad label", b'{"metadata":{"name":"a","labels":{"a b":"c"}}}', "application/json", 422, "labels"),
]


@pytest.mark.parametrize(("body", "kind", "code", "words"), [b[1:] for b in BODIES], ids=[b[0] for b in BODIES])
def test_bodies_that_are_no_objects(raw: Raw, body: bytes, kind: str, code: int, words: str) -> None:
    status, answer = raw("POST", CONFIGMAPS, body, kind)
    assert (status, answer["kind"], answer["status"]) == (code, "Status", "Failure"), answer
    assert answer["code"] == code
    assert words in answer["message"]


@pytest.mark.parametrize(
    ("method", "path", "code", "words"),
    [
        ("GET", "/api/v1/nothing", 404, "could not find"),
        ("GET", "/apis/nobody.test/v1/things", 404, "could not find"),
        ("GET", "/nothing", 404, "could not find"),
        ("GET", CONFIGMAPS + "/nobody", 404, 'configmaps "nobody" not found'),
        ("POST", "/api/v1/namespaces/default/pods/a/status", 405, "does not allow"),
        ("PUT", CONFIGMAPS, 405, "does not allow"),
        ("FETCH", CONFIGMAPS, 400, ""),
        ("GET", CONFIGMAPS + "?limit=many", 400, "invalid syntax"),
        ("GET", CONFIGMAPS + "?labelSelector=a%20b%20c", 400, "selector"),
        ("GET", CONFIGMAPS + "?fieldSelector=spec.colour%3Dred", 400, "spec.colour"),
        ("GET", CONFIGMAPS + "?continue=xyz", 400, "continue"),
        ("GET", CONFIGMAPS + "?resourceVersion=1&resourceVersionMatch=Perhaps", 422, "resourceVersionMatch"),
        ("GET", CONFIGMAPS + "?watch=1&sendInitialEvents=true", 422, "resourceVersionMatch"),
        ("POST", "/api/v1/namespaces/default/pods/a/portforward", 404, 'pods "a" not found'),
        ("GET", CONFIGMAPS + "?resourceVersion=abc", 400, "resource version"),
        ("DELETE", CONFIGMAPS + "/a?dryRun=Some", 422, "dryRun"),
        ("DELETE", CONFIGMAPS + "/a?propagationPolicy=Sideways", 422, "propagationPolicy"),
        ("DELETE", CONFIGMAPS + "/a?gracePeriodSeconds=soon", 400, "invalid syntax"),
        ("GET", CONFIGMAPS + "/%2e%2e%2f%2e%2e", 404, ""),
    ],
)
def test_paths_and_queries_that_mean_nothing(raw: Raw, method: str, path: str, code: int, words: str) -> None:
    status, answer = raw(method, path)
    assert (status, answer["kind"]) == (code, "Status"), answer
    assert words in answer["message"]


@pytest.mark.parametrize(
    ("kind", "patch", "code"),
    [
        ("application/json-patch+json", b'[{"op":"replace","path":"/data/x/y/z","value":1}]', 422),
        ("application/json-patch+json", b'[{"op":"jump"}]', 400),
        ("application/json-patch+json", b'{"data":{}}', 400),
        ("application/merge-patch+json", b"[]", 400),
        ("application/merge-patch+json", b'{"data":{"a":7}}', 400),
        ("application/merge-patch+json", b'{"metadata":{"name":"other"}}', 400),
        ("application/merge-patch+json", b'{"metadata":{"resourceVersion":"1"}}', 409),
        ("application/strategic-merge-patch+json", b'{"data":{"$patch":"explode"}}', 400),
        ("application/apply-patch+yaml", b"a: b", 422),
        ("application/json", b"{}", 415),
    ],
)
def test_patches_that_do_not_fit(raw: Raw, kind: str, patch: bytes, code: int) -> None:
    raw("POST", CONFIGMAPS, b'{"metadata":{"name":"patched"},"data":{"a":"b"}}')
    status, answer = raw("PATCH", CONFIGMAPS + "/patched", patch, kind)
    assert (status, answer["kind"]) == (code, "Status"), answer
    assert raw("GET", CONFIGMAPS + "/patched")[1]["data"] == {"a": "b"}


def test_a_body_of_ten_megabytes(raw: Raw) -> None:
    body = json.dumps({"metadata": {"name": "big"}, "data": {"a": "x" * 10_000_000}}).encode()
    status, answer = raw("POST", CONFIGMAPS, body)
    assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")
    assert raw("GET", CONFIGMAPS + "/big")[0] == 404


def test_a_stale_version_and_a_taken_name(raw: Raw) -> None:
    raw("DELETE", CONFIGMAPS + "/stale")
    made = raw("POST", CONFIGMAPS, b'{"metadata":{"name":"stale"},"data":{"a":"b"}}')[1]
    assert raw("POST", CONFIGMAPS, b'{"metadata":{"name":"stale"}}')[1]["reason"] == "AlreadyExists"
    made["data"] = {"a": "c"}
    assert raw("PUT", CONFIGMAPS + "/stale", json.dumps(made).encode())[0] == 200
    made["data"] = {"a": "d"}
    status, answer = raw("PUT", CONFIGMAPS + "/stale", json.dumps(made).encode())
    assert (status, answer["reason"]) == (409, "Conflict")
    assert raw("GET", CONFIGMAPS + "/stale")[1]["data"] == {"a": "c"}
    wrong = {"preconditions": {"uid": "another"}}
    assert raw("DELETE", CONFIGMAPS + "/stale", json.dumps(wrong).encode())[1]["reason"] == "Conflict"


def test_a_watch_from_the_forgotten_past_is_told_to_list_again(raw: Raw) -> None:
    status, answer = raw("GET", CONFIGMAPS + "?watch=1&resourceVersion=99999999&timeoutSeconds=1")
    assert status in (200, 504)
    assert "Too large resource version" in str(answer)


def test_strangers(server: Server, tmp_path: Path) -> None:
    nobody = Raw(server, context_of(server, tmp_path, user=False))
    status, answer = nobody("GET", "/api/v1/secrets")
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert 'User "system:anonymous" cannot list resource "secrets"' in answer["message"]
    for token in ("Bearer nonsense", "Bearer a.b.c", "Basic YTpi", "Bearer", "Bearer " + "x" * 20_000):
        assert nobody("GET", "/api/v1/pods", Authorization=token)[1]["reason"] == "Unauthorized"
    assert nobody("GET", "/version")[0] == 200


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 200, b"\0" * 5000, b"\x16\x03\x03\0\x05hello", b""],
)
def test_a_broken_tls_client(server: Server, raw: Raw, noise: bytes) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            sock.sendall(noise)
            if noise:
                sock.settimeout(5)
                try:
                    while sock.recv(4096):
                        pass
                except (TimeoutError, ConnectionError):
                    pass
    assert b"Traceback" not in server.log.read_bytes()


def test_broken_http_inside_tls(raw: Raw) -> None:
    for noise in (b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with raw.connect() as tls:
            tls.sendall(noise)
            assert tls.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_clients_that_leave_in_the_middle(server: Server, raw: Raw) -> None:
    for path in ("/api/v1/pods?watch=1", "/api/v1/secrets", "/openapi/v2"):
        for _ in range(10):
            with raw.connect() as tls:
                tls.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    time.sleep(0.1)
    assert b"Traceback" not in server.log.read_bytes()


def test_two_servers_on_one_port_and_wrong_tokens_are_said_in_one_sentence(server: Server, tmp_path: Path) -> None:
    import subprocess
    import sys

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "parkube.cli", "server", "--disable-agent", "--data-dir", str(tmp_path / "d")]
        command += ["--write-kubeconfig", str(tmp_path / "k"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    taken = start("--https-listen-port", str(server.port))
    assert taken.returncode == 1
    assert "cannot listen on" in taken.stderr
    assert len(taken.stderr.strip().splitlines()) == 1
    foreign = start("--https-listen-port", "0", "--token", "K10" + "0" * 64 + "::server:secret")
    assert foreign.returncode == 1
    assert len(foreign.stderr.strip().splitlines()) == 1
    later = start("--datastore-endpoint", "etcd://x")
    assert "not in this version" in later.stderr
