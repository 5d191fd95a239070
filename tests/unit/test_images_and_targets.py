"""The image mirror from tar to containerd's port, registries.yaml, and where a pod's logs and exec go."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from parkube.controlplane.tunnel import pods
from parkube.controlplane.tunnel.answers import Ask
from parkube.controlplane.tunnel.archives import Library, normalise
from parkube.controlplane.tunnel.mirror import Mirror
from parkube.kubeapi.errors import BadRequest
from parkube.nodeagent.join import registries
from parkube.nodeagent.join.errors import RegistriesError
from parkube.nodeagent.join.mirror import MirrorListener
from tests.unit.test_mux import Pair

LAYER = b"layer" * 200_000
CONFIG = orjson.dumps({"rootfs": {"diff_ids": ["sha256:" + hashlib.sha256(LAYER).hexdigest()]}})


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


def docker_archive(path: Path, layer: bytes = LAYER, name: str = "nginx:1") -> Path:
    manifest = [{"Config": f"{sha(CONFIG)}.json", "RepoTags": [name], "Layers": ["aa/layer.tar"]}]
    files = {f"{sha(CONFIG)}.json": CONFIG, "bb/layer.tar": layer, "manifest.json": orjson.dumps(manifest)}
    return tar(path, files, {"aa/layer.tar": "../bb/layer.tar"})


def oci_layout(path: Path, annotation: str) -> bytes:
    manifest = orjson.dumps(
        {
            "schemaVersion": 2,
            "config": {"digest": f"sha256:{sha(CONFIG)}", "size": len(CONFIG)},
            "layers": [{"digest": f"sha256:{sha(LAYER)}", "size": len(LAYER)}],
        }
    )
    descriptor = {"digest": f"sha256:{sha(manifest)}", "size": len(manifest), "annotations": {}}
    descriptor["annotations"] = {"io.containerd.image.name": annotation}
    blobs = {f"./blobs/sha256/{sha(blob)}": blob for blob in (manifest, CONFIG, LAYER)}
    tar(path, {"./oci-layout": b"{}", "./index.json": orjson.dumps({"manifests": [descriptor]}), **blobs})
    return manifest


async def get(mirror: Mirror, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    answer = await mirror.handle(Ask(method, path, {"ns": "docker.io"}, headers))
    body = answer.body if answer.chunks is None else b"".join([chunk async for chunk in answer.chunks])
    return answer.status, body, {k.decode(): v.decode() for k, v in answer.headers}


async def test_an_oci_layout_is_served(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    assert (await get(mirror, "/v2/library/nginx/manifests/latest"))[0] == 404
    manifest = oci_layout(tmp_path / "a.tar", "docker.io/library/nginx:latest")
    status, body, headers = await get(mirror, "/v2/library/nginx/manifests/latest")
    assert (status, body, headers["Docker-Content-Digest"]) == (200, manifest, f"sha256:{sha(manifest)}")
    assert (await get(mirror, f"/v2/library/nginx/manifests/sha256:{sha(manifest)}"))[1] == manifest
    assert (await get(mirror, f"/v2/library/nginx/blobs/sha256:{sha(LAYER)}"))[1] == LAYER
    status, part, headers = await get(mirror, f"/v2/library/nginx/blobs/sha256:{sha(LAYER)}", range="bytes=10-19")
    assert (status, part, headers["Content-Range"]) == (206, LAYER[10:20], f"bytes 10-19/{len(LAYER)}")
    assert (await get(mirror, f"/v2/library/nginx/blobs/sha256:{sha(LAYER)}", range="bytes=9999999-"))[0] == 416
    assert orjson.loads((await get(mirror, "/v2/library/nginx/tags/list"))[1])["tags"] == ["latest"]
    assert (await get(mirror, "/v2/"))[0] == 200
    (tmp_path / "a.tar").unlink()
    assert (await get(mirror, "/v2/library/nginx/manifests/latest"))[0] == 404


@pytest.mark.parametrize("layer", [LAYER, gzip.compress(LAYER)])
async def test_a_docker_archive_gets_a_manifest(tmp_path: Path, layer: bytes) -> None:
    docker_archive(tmp_path / "b.tar", layer)
    mirror = Mirror(tmp_path)
    status, body, _ = await get(mirror, "/v2/library/nginx/manifests/1")
    manifest = orjson.loads(body)
    assert status == 200
    assert manifest["layers"][0]["mediaType"].endswith("+gzip") == (layer is not LAYER)
    for descriptor in (manifest["config"], *manifest["layers"]):
        blob = (await get(mirror, f"/v2/library/nginx/blobs/{descriptor['digest']}"))[1]
        assert (f"sha256:{sha(blob)}", len(blob)) == (descriptor["digest"], descriptor["size"])


async def test_what_is_no_archive_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "broken.tar").write_bytes(b"not a tar" * 200)
    tar(tmp_path / "other.tar", {"readme": b"hello"})
    docker_archive(tmp_path / "good.tar")
    library = Library(tmp_path)
    library.refresh()
    library.refresh()
    assert library.tags("docker.io/library/nginx") == ["1"]
    assert len([r for r in caplog.records if "is not served" in r.message]) == 2


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginxinc/nginx-unprivileged:1", "docker.io/nginxinc/nginx-unprivileged:1"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        ("ghcr.io/x@sha256:ab", "ghcr.io/x@sha256:ab"),
    ],
)
def test_names_are_spelled_as_containerd_does(short: str, full: str) -> None:
    assert normalise(short) == full


# -- the agent's end


class Origin(asyncio.Protocol):
    """The server's end of a stream: answers every request with what it was asked."""

    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDocker-Content-Digest: d\r\n\r\n"

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.answer + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    got = b""
    while b"0\r\n\r\n" not in got and (piece := await reader.read(65536)):
        got += piece
    writer.close()
    return got


async def test_the_listener_passes_pulls_and_nothing_else() -> None:
    pair = Pair()
    pair.right._accept = Origin

    async def move() -> None:
        while True:
            pair.to_left.move()
            pair.to_right.move()
            await asyncio.sleep(0.001)

    pump = asyncio.ensure_future(move())
    listener = MirrorListener(pair.left.open)
    port = await listener.start()
    pull = b"GET /v2/a/manifests/1?ns=docker.io HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nAuthorization: Basic eA==\r\n\r\n"
    got = await ask(port, pull)
    assert b"GET /v2/a/manifests/1?ns=docker.io HTTP/1.1\r\nhost: mirror" in got
    assert b"accept: */*" in got.lower()
    assert b"Basic" not in got
    for line in (
        b"GET /api/v1/secrets",
        b"POST /v2/a/blobs/uploads/",
        b"GET /v2/../api/v1/secrets",
        b"GET /v2/%2e%2e/api",
    ):
        assert (await ask(port, line + b" HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 403")
    pump.cancel()
    pair.left.connection_lost(None)
    refused = await asyncio.wait_for(ask(port, pull.replace(b"Host: x", b"Host: x\r\nConnection: close")), 5)
    assert refused.startswith(b"HTTP/1.1 503")
    await listener.stop()


def test_registries_become_hosts_files() -> None:
    content = {
        "mirrors": {"docker.io": {"endpoint": ["https://m.example:5000/prefix/v2"]}, "*": {"endpoint": ["http://all"]}},
        "configs": {
            "m.example:5000": {"auth": {"username": "u", "password": "p"}, "tls": {"insecure_skip_verify": True}},
            "own.example": {"tls": {"ca_file": "/ca.pem"}},
        },
    }
    parsed = registries.parse(content)
    assert parsed.auths == {"m.example:5000": {"username": "u", "password": "p"}}
    files = registries.hosts_files(parsed, 4321)
    assert set(files) == {"_default", "docker.io", "m.example:5000", "own.example"}
    import tomllib

    docker = tomllib.loads(files["docker.io"])["host"]
    assert list(docker) == ["http://127.0.0.1:4321", "https://m.example:5000/prefix/v2"]
    far = docker["https://m.example:5000/prefix/v2"]
    assert (far["skip_verify"], far["override_path"]) == (True, True)
    assert far["header"]["Authorization"] == "Basic dTpw"
    assert tomllib.loads(files["own.example"])["host"]["https://own.example"]["ca"] == "/ca.pem"
    assert tomllib.loads(registries.hosts_files(registries.Registries(), 1)["_default"])


def test_every_fault_of_registries_is_named(tmp_path: Path) -> None:
    content = {
        "mirror": {},
        "mirrors": {"docker.io": {"endpoint": "x", "rewrite": {}}},
        "configs": {"h": {"tls": {"ca": 1}}},
    }
    with pytest.raises(RegistriesError) as caught:
        registries.parse(content)
    for fault in (
        '"mirror" is not known',
        "mirrors.docker.io.endpoint must be a list",
        "configs.h.tls.ca is not known",
    ):
        assert fault in str(caught.value)
    (tmp_path / "registries.yaml").write_text("mirrors: [")
    with pytest.raises(RegistriesError, match="is not YAML"):
        registries.load(tmp_path / "registries.yaml")
    assert registries.load(tmp_path / "absent.yaml") == registries.Registries()


# -- where a pod's logs and exec go


def pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
        "status": status,
    }


def test_targets() -> None:
    query = [("container", "a"), ("command", "sh"), ("command", "-c x"), ("stdin", "true")]
    assert pods.exec_target(pod(), query) == ("n1", "/exec/ns/web/a?command=sh&command=-c+x&stdin=true")
    assert (
        pods.log_target(pod(), [("container", "i"), ("follow", "true")]).path == "/containerLogs/ns/web/i?follow=true"
    )
    assert pods.attach_target(pod(), [("container", "b"), ("tty", "true")]).path == "/attach/ns/web/b?tty=true"


@pytest.mark.parametrize(
    ("of", "query", "text"),
    [
        (pod(), {}, "must be specified for pod web, choose one of: [a b] or one of the init containers: [i]"),
        (pod(), {"container": "z"}, "container z is not valid for pod web"),
        (pod(), {"container": "a", "tailLines": "-1"}, "tailLines"),
        (pod(), {"container": "a", "sinceTime": "x", "sinceSeconds": "1"}, "at most one of"),
        (
            pod(containerStatuses=[{"name": "a", "state": {"waiting": {"reason": "ContainerCreating"}}}]),
            {"container": "a"},
            'container "a" in pod "web" is waiting to start: ContainerCreating',
        ),
    ],
)  # fmt: skip
def test_wrong_log_requests(of: dict[str, Any], query: dict[str, str], text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        pods.log_target(of, list(query.items()))
    assert text in str(caught.value)


def test_wrong_exec_requests() -> None:
    with pytest.raises(BadRequest, match="current phase is Failed"):
        pods.exec_target(pod(phase="Failed"), [("command", "x")])
    with pytest.raises(BadRequest, match="at least one command"):
        pods.exec_target(pod(), [("container", "a")])
    unbound = pod()
    del unbound["spec"]["nodeName"]
    with pytest.raises(BadRequest, match="does not have a host assigned"):
        pods.exec_target(unbound, [("container", "a"), ("command", "x")])
