"""The node agent's small parts: wire format, volumes, probes, rules, node object, start checks."""

from __future__ import annotations

import asyncio
import os
import struct
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.main import machine, preflight
from parkube.nodeagent.main.config import AgentConfig, ConfigError
from parkube.nodeagent.network.cni import conflist, pod_cidr_for
from parkube.nodeagent.plan.memory import Memory
from parkube.nodeagent.probes.check import Target, check
from parkube.nodeagent.probes.judge import Judge, Timing
from parkube.nodeagent.runtime.containerd import ContainerdPaths, lacks_sys_resource, render_config
from parkube.nodeagent.runtime.cri.messages import CODEC
from parkube.nodeagent.runtime.cri.wire import Codec, WireError
from parkube.nodeagent.runtime.hollow import HollowRuntime
from parkube.nodeagent.runtime.pause import elf, image_tar
from parkube.nodeagent.runtime.port import ExecResult
from parkube.nodeagent.sync.images import Images, credentials
from parkube.nodeagent.sync.last_words import end_of_log, fill
from parkube.nodeagent.volumes.atomic import File, write_files
from parkube.nodeagent.volumes.mounts import Volumes
from parkube.nodeagent.volumes.project import MountFault, volume_files

SMALL = Codec(
    {"Inner": "n=1:int ok=2:bool", "Outer": "s=1:string b=3:bytes many=4:*Inner m=5:map ids=6:*int one=7:Inner"}
)
inner = st.fixed_dictionaries({"n": st.integers(-(2**63), 2**63 - 1).filter(bool), "ok": st.just(True)})
outer = st.fixed_dictionaries({}, optional={
    "s": st.text(min_size=1), "b": st.binary(min_size=1), "many": st.lists(inner, min_size=1),
    "m": st.dictionaries(st.text(), st.text(), min_size=1), "one": inner,
    "ids": st.lists(st.integers(0, 2**40), min_size=1),
})  # fmt: skip


@given(outer)
def test_messages_survive_the_wire(message: dict[str, Any]) -> None:
    assert SMALL.decode("Outer", SMALL.encode("Outer", message)) == message


@given(st.binary(max_size=200))
def test_bytes_from_anywhere_are_a_message_or_a_wire_error(data: bytes) -> None:
    try:
        CODEC.decode("ContainerStatusResponse", data)
    except WireError:
        pass


def test_unknown_fields_are_skipped() -> None:
    wider = Codec({"Outer": "s=1:string new=90:string far=91:int"})
    assert SMALL.decode("Outer", wider.encode("Outer", {"s": "x", "new": "y", "far": 7})) == {"s": "x"}


def test_the_pause_program_is_a_small_elf_for_each_architecture() -> None:
    for arch, machine_number in (("amd64", 62), ("arm64", 183), ("arm", 40)):
        program = elf(arch)
        assert program[:4] == b"\x7fELF"
        assert struct.unpack_from("<H", program, 18)[0] == machine_number
        assert len(image_tar(arch)) < 40_000


def test_containerd_is_configured_for_the_machine(tmp_path: Path) -> None:
    paths = ContainerdPaths(tmp_path, tmp_path / "c.sock", tmp_path / "certs.d")
    import tomllib

    text = render_config(paths, snapshotter="native", restrict_oom=True, cni_bin="/usr/lib/cni")
    cri = tomllib.loads(text)["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["containerd"]["snapshotter"] == "native"
    assert cri["registry"]["config_path"] == str(tmp_path / "certs.d")
    assert lacks_sys_resource("CapEff:\t000001fffeffffff\n")
    assert not lacks_sys_resource("CapEff:\t000001ffffffffff\n")


def test_a_volume_changes_all_at_once(tmp_path: Path) -> None:
    root = tmp_path / "v"
    assert write_files(root, {"a": File(b"1"), "deep/b": File(b"2", 0o400)})
    first = os.readlink(root / "..data")
    assert not write_files(root, {"a": File(b"1"), "deep/b": File(b"2", 0o400)})
    assert write_files(root, {"a": File(b"3")})
    assert (root / "a").read_text() == "3"
    assert not (root / "deep").exists()
    assert os.readlink(root / "..data") != first
    assert not (root / first).exists()
    for bad in ("../x", "/x", "", "..data"):
        with pytest.raises(ValueError, match="not a path inside"):
            write_files(root, {bad: File(b"")})


def test_projected_files_come_from_every_source() -> None:
    objects = {
        ("ConfigMap", "c"): {"data": {"k": "v"}, "binaryData": {"raw": b64encode(b"\0").decode()}},
        ("Secret", "s"): {"data": {"key": b64encode(b"secret").decode()}},
    }
    pod: Obj = {"metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}}, "spec": {"containers": []}}

    def files(volume: Obj) -> dict[str, File]:
        return volume_files(volume, pod, lambda *key: objects.get(key), lambda *_: "token", {}, {})

    assert files({"configMap": {"name": "c"}})["raw"].data == b"\0"
    assert files({"configMap": {"name": "c", "items": [{"key": "k", "path": "p", "mode": 0o400}]}})["p"].mode == 0o400
    assert files({"secret": {"secretName": "s", "defaultMode": 0o440}})["key"] == File(b"secret", 0o440)
    sources = [
        {"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "no", "optional": True}},
        {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]  # fmt: skip
    found = files({"projected": {"sources": sources}})
    assert (found["token"].data, found["l"].data) == (b"token", b'a="b"')
    with pytest.raises(MountFault, match='configmap "no" not found'):
        files({"configMap": {"name": "no"}})
    with pytest.raises(MountFault, match="references non-existent configmap key: zz in n/c"):
        files({"configMap": {"name": "c", "items": [{"key": "zz", "path": "p"}]}})


def test_a_sub_path_never_leaves_its_volume(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path, HollowRuntime())
    pod: Obj = {"metadata": {"uid": "u"}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    (tmp_path / "u" / "volumes" / "v").mkdir(parents=True)
    (tmp_path / "u" / "volumes" / "v" / "out").symlink_to("/etc")

    def mount(sub: str) -> list[Any]:
        return volumes.mounts(
            pod, {"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": sub}]}, {}
        )

    assert mount("in/side")[0].host_path.endswith("/v/in/side")
    for bad in ("../x", "/etc", "out", "out/../.."):
        with pytest.raises(MountFault, match="leaves the volume"):
            mount(bad)


def test_thresholds_count_answers_in_a_row() -> None:
    judge = Judge(Timing.of({"successThreshold": 2, "failureThreshold": 3}))
    assert [judge.add(ok) for ok in (True, True, True)] == [False, True, False]
    assert [judge.add(ok) for ok in (False, False, True, False, False, False)] == [False] * 5 + [True]
    assert judge.verdict is False


async def test_probes_over_http_and_tcp() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        code = b"200 OK" if b"/well" in line else b"503 No"
        if b"?to=" in line:
            code = b"302 Found\r\nLocation: " + line.split()[1].partition(b"=")[2]
        writer.write(b"HTTP/1.1 " + code + b"\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def ran(command: Any, timeout_s: float) -> ExecResult:
        if command[0] == "slow":
            raise TimeoutError
        return ExecResult(0 if command[0] == "true" else 2, b"out", b"")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = Target("127.0.0.1", {"http": port}, ran)
    assert (await check({"httpGet": {"port": "http", "path": "/well"}}, target)).ok
    bad = await check({"httpGet": {"port": port, "path": "/ill"}}, target)
    assert bad.message == "HTTP probe failed with statuscode: 503"
    for where, ok, message in (
        ("/well", True, ""), ("/ill", False, "HTTP probe failed with statuscode: 503"),
        (f"http://127.0.0.1:{port}/a?to=/well", True, ""), ("/?to=" * 3 + "/well", True, ""),
    ):  # fmt: skip
        led = await check({"httpGet": {"port": port, "path": f"/?to={where}"}}, target)
        assert (led.ok, led.message, led.warning) == (ok, message, ""), where
    away = await check({"httpGet": {"port": port, "path": "/?to=http://192.0.2.1/"}}, target)
    assert (away.ok, away.warning) == (True, "Probe terminated redirects, Response body: ")
    assert (await check({"tcpSocket": {"port": port}}, target)).ok
    assert not (await check({"httpGet": {"port": "nope"}}, target)).ok
    assert (await check({"exec": {"command": ["true"]}}, target)).ok
    assert (await check({"exec": {"command": ["false"]}}, target)).message == "out"
    assert "timed out" in (await check({"exec": {"command": ["slow"]}}, target)).message
    assert not (await check({"grpc": {"port": port}}, target)).ok
    server.close()
    await server.wait_closed()
    refused = await check({"tcpSocket": {"port": port}}, target)
    assert refused.message == f"dial tcp 127.0.0.1:{port}: connect: connection refused"


async def test_a_grpc_probe_asks_the_health_service() -> None:
    from grpclib.const import Cardinality, Handler
    from grpclib.encoding.base import CodecBase
    from grpclib.server import Server

    health = Codec({"Request": "service=1:string", "Response": "status=1:int"})

    class Plain(CodecBase):
        __content_subtype__ = "proto"

        def encode(self, message: Any, message_type: Any) -> bytes:
            return health.encode(message_type, message)

        def decode(self, data: bytes, message_type: Any) -> Any:
            return health.decode(message_type, data)

    class Health:
        async def ask(self, stream: Any) -> None:
            request = await stream.recv_message()
            await stream.send_message({"status": 1 if request.get("service") == "up" else 2})

        def __mapping__(self) -> dict[str, Handler]:
            unary = Cardinality.UNARY_UNARY
            return {"/grpc.health.v1.Health/Check": Handler(self.ask, unary, "Request", "Response")}  # type: ignore[arg-type]

    server = Server([Health()], codec=Plain())
    await server.start("127.0.0.1", 0)
    port = server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def never(*_: Any) -> ExecResult:
        raise AssertionError

    target = Target("127.0.0.1", {}, never)
    assert (await check({"grpc": {"port": port, "service": "up"}}, target)).ok
    down = await check({"grpc": {"port": port}}, target)
    assert down.message == 'service unhealthy (responded with "NOT_SERVING")'
    server.close()
    await server.wait_closed()


def test_pod_addresses_are_the_same_every_time() -> None:
    assert pod_cidr_for("edge-1", "10.42.0.0/16") == pod_cidr_for("edge-1", "10.42.0.0/16")
    assert pod_cidr_for("edge-1", "10.42.0.0/16").startswith("10.42.")
    assert '"subnet": "10.42.3.0/24"' in conflist("10.42.3.0/24", Path("/x"))


def test_the_checkpoint_writes_only_what_changed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c")
    assert checkpoint.put("pods", "a/b", b"1")
    assert not checkpoint.put("pods", "a/b", b"1")
    (tmp_path / "c" / "pods" / "torn.new").write_bytes(b"half")
    assert Checkpoint(tmp_path / "c").load("pods") == {"a/b": b"1"}
    checkpoint.delete("pods", "a/b")
    checkpoint.delete("pods", "a/b")
    assert checkpoint.load("pods") == {}


def test_what_a_machine_lacks_is_said_at_once(tmp_path: Path) -> None:
    cgroups = tmp_path / "sys/fs/cgroup"
    cgroups.mkdir(parents=True)
    (cgroups / "cgroup.controllers").write_text("cpu pids\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text("Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n")
    found = preflight.faults(root=tmp_path, uid=1000, which=lambda name: None if name == "runc" else name)
    assert len(found) == 5
    assert "needs root" in found[0]
    assert "runc" in found[1]
    assert "cgroup controller for memory" in found[3]
    assert "swap is on" in found[4]


def test_settings_that_cannot_work_are_refused() -> None:
    for wrong in ({"node_name": "Edge_1"}, {"node_labels": ("x",)}, {"node_taints": ("a=b:Never",)}):
        with pytest.raises(ConfigError):
            AgentConfig(**{"server": "https://x", "node_name": "n", **wrong})  # type: ignore[arg-type]


def test_pull_secrets_are_found_by_registry() -> None:
    config = b'{"auths": {"registry.test": {"auth": "' + b64encode(b"me:pw") + b'"}}}'
    secret = {"data": {".dockerconfigjson": b64encode(config).decode()}}
    assert credentials("registry.test/app:1", [secret]) == {"username": "me", "password": "pw"}
    assert credentials("other.test/app:1", [secret]) is None


def test_big_logs_are_rotated(tmp_path: Path) -> None:
    log = tmp_path / "ns_p_u" / "c" / "0.log"
    log.parent.mkdir(parents=True)
    for number in range(7):
        log.write_bytes(bytes([number]) * 100)
        assert machine.rotate_logs(tmp_path, limit_bytes=50, keep=3) == [log]
    assert sorted(p.name for p in log.parent.iterdir()) == ["0.log.1", "0.log.2"]


def test_last_words_are_kept_over_restarts_and_found_in_logs(tmp_path: Path) -> None:
    def status(newest: str, message: str = "") -> Obj:
        ended = {"containerID": "one", "exitCode": 1, **({"message": message} if message else {})}
        key = "state" if newest == "one" else "lastState"
        return {"containerStatuses": [{"name": "c", "containerID": newest, key: {"terminated": ended}}]}

    first = status("one")
    fill(first, {}, lambda *_: "goodbye")
    assert first == status("one", "goodbye")
    second = status("two")
    fill(second, first, lambda *_: "of another container")
    assert second == status("two", "goodbye")
    many: Obj = {"containerStatuses": [{**second["containerStatuses"][0], "name": f"c{i}"} for i in range(4)]}
    for entry in many["containerStatuses"]:
        entry["lastState"] = {"terminated": {"containerID": "two", "exitCode": 1}}
    fill(many, {}, lambda *_: "é" * 2000)
    kept = [len(s["lastState"]["terminated"]["message"].encode()) for s in many["containerStatuses"]]
    assert kept == [3072] * 4  # twelve KiB a pod, in equal parts
    log = tmp_path / "0.log"
    log.write_text("2027-01-15T08:00:00Z stdout F one\n2027-01-15T08:00:01Z stderr F and two\n")
    assert end_of_log(log) == "one\nand two"
    assert end_of_log(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("App:1", "invalid reference format: repository name must be lowercase"),
        ("app:1:2", "invalid reference format"),
        ("http://registry.test/app", "invalid reference format"),
        ("registry.test:5000/city/gate_app--x:1.2-RC", ""),
        ("Registry.test/app@sha256:" + "a" * 64, ""),
        ("[2001:db8::1]:5000/app", ""),
    ],
)
async def test_a_name_that_no_image_can_have_is_said_to_be_one(image: str, words: str) -> None:
    told: list[tuple[str, str]] = []
    images, memory = Images(HollowRuntime(), lambda: 0.0, lambda: False), Memory(0.0)
    c = {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"}
    await images.ensure(c, memory, [], lambda _, reason, text: told.append((reason, text)))
    pull = memory.pulls["c"]
    assert pull.reason == ("InvalidImageName" if words else "")
    if words:
        parse = f'couldn\'t parse image name "{image}": {words}'
        assert pull.message == f'Failed to apply default image tag "{image}": {parse}'
        assert told == [("InspectFailed", pull.message), ("Failed", "Error: InvalidImageName")]
