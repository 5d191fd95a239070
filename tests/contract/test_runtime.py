"""The runtime port: what every runtime does, on the hollow one and on a real containerd."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parkube.nodeagent.main import machine
from parkube.nodeagent.main.cleanup import clean
from parkube.nodeagent.main.config import AgentConfig
from parkube.nodeagent.network.cni import write_conflist
from parkube.nodeagent.plan.model import Amounts, Container, ContainerPhase, ContainerSpec, SandboxSpec
from parkube.nodeagent.plan.names import ANNOTATION_HASH, LABEL_CONTAINER, pod_labels
from parkube.nodeagent.runtime.hollow import HollowRuntime
from parkube.nodeagent.runtime.port import ImageFault, NoSuchContainer, Runtime
from tests.e2e.nodes import IMAGE, busybox_tar

_uids = itertools.count(1)


@contextlib.asynccontextmanager
async def containerd() -> AsyncIterator[Runtime]:
    """A containerd of its own. Its sandboxes share this machine's network: CNI is the agent's tests' business."""
    with tempfile.TemporaryDirectory(prefix="pkt-runtime-") as folder:
        config = AgentConfig(server="", node_name="contract", data_dir=Path(folder))
        write_conflist(config.containerd_dir / "net.d", "10.42.250.0/24", config.agent_dir / "cni")
        runtime = await machine.start_runtime(config)
        tar = Path(folder) / "busybox.tar"
        await asyncio.to_thread(lambda: tar.write_bytes(busybox_tar()))
        await runtime.import_image(tar)
        try:
            yield runtime
        finally:
            await runtime.close()
            await clean(config, network=False)


@contextlib.asynccontextmanager
async def hollow() -> AsyncIterator[Runtime]:
    runtime = HollowRuntime()
    await runtime.pull(IMAGE)
    yield runtime


@pytest.fixture(params=["hollow", pytest.param("containerd", marks=pytest.mark.e2e)])
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[Runtime]:
    async with hollow() if request.param == "hollow" else containerd() as found:
        yield found


def sandbox_spec(attempt: int = 0, uid: str = "") -> SandboxSpec:
    uid = uid or f"contract-{os.getpid()}-{next(_uids)}"
    return SandboxSpec(
        uid, "default", "web", attempt, "", f"{tempfile.gettempdir()}/pkt-logs/{uid}",
        pod_labels("default", "web", uid), {}, cgroup_parent=f"/kubepods/pod{uid}", host_network=True,
    )  # fmt: skip


def container_spec(sandbox: SandboxSpec, image: str, attempt: int = 0) -> ContainerSpec:
    return ContainerSpec(
        "c", attempt, image, command=("/bin/busybox", "sleep", "1000"),
        labels={**sandbox.labels, LABEL_CONTAINER: "c"}, annotations={ANNOTATION_HASH: "abc"},
        log_path=f"c/{attempt}.log", host_network=True, amounts=Amounts(oom_score_adj=1000),
    )  # fmt: skip


async def one(runtime: Runtime) -> Container:
    return (await runtime.containers("default", "web", "c"))[-1]


async def test_a_pods_life(runtime: Runtime) -> None:
    told = asyncio.Event()
    await runtime.start()
    runtime.on_change(told.set)
    info = await runtime.info()
    assert info.ready
    assert info.name in ("hollow", "containerd")
    image = await runtime.image(IMAGE)
    assert image is not None
    spec = sandbox_spec()
    sandbox = await runtime.run_sandbox(spec)
    assert sandbox.ready
    container_id = await runtime.create_container(sandbox.id, container_spec(spec, image.id), spec)
    made = await one(runtime)
    assert (made.phase, made.spec_hash, made.attempt) == (ContainerPhase.CREATED, "abc", 0)
    await runtime.start_container(container_id)
    made = await one(runtime)
    assert made.phase is ContainerPhase.RUNNING
    assert made.started_at > 0
    assert made.log_path.endswith("/c/0.log")
    pods = [p for p in await runtime.pods() if p.uid == spec.uid]
    assert [(p.namespace, p.name, len(p.sandboxes), len(p.containers)) for p in pods] == [("default", "web", 1, 1)]
    assert (await runtime.exec_sync(container_id, ["/bin/busybox", "true"], 5)).exit_code == 0

    told.clear()
    await runtime.stop_container(container_id, 1)
    await asyncio.wait_for(told.wait(), 5)
    async with asyncio.timeout(5):
        while (ended := await one(runtime)).phase is not ContainerPhase.EXITED:
            await asyncio.sleep(0.05)
    assert ended.exit_code in (137, 143)
    assert ended.finished_at >= ended.started_at

    again = await runtime.create_container(sandbox.id, container_spec(spec, image.id, 1), spec)
    await runtime.start_container(again)
    assert (await one(runtime)).attempt == 1
    await runtime.remove_container(container_id)
    await runtime.remove_container(container_id)
    assert len(await runtime.containers("default", "web")) == 1
    await runtime.stop_sandbox(sandbox.id)
    await runtime.stop_sandbox(sandbox.id)
    assert not [s for p in await runtime.pods() for s in p.sandboxes if s.ready]
    await runtime.remove_sandbox(sandbox.id)
    await runtime.remove_sandbox(sandbox.id)
    assert not [p for p in await runtime.pods() if p.uid == spec.uid]


async def test_what_is_not_there_is_said(runtime: Runtime) -> None:
    await runtime.start()
    assert await runtime.image("docker.io/parkube/absent:1") is None
    with pytest.raises(NoSuchContainer):
        await runtime.start_container("0" * 64)
    with pytest.raises(NoSuchContainer):
        await runtime.exec_sync("0" * 64, ["true"], 1)
    await runtime.stop_container("0" * 64, 1)
    with pytest.raises(ImageFault):
        await runtime.pull("missing.invalid/nothing:1")


@pytest.mark.e2e
def test_the_cleanup_leaves_no_process_behind() -> None:
    found = subprocess.run(["pgrep", "-f", "pkt-runtime-"], capture_output=True, text=True, check=False).stdout
    assert not found.strip()


async def test_an_images_files_are_mounted_as_often_as_asked_for(runtime: Runtime, tmp_path: Path) -> None:
    image = await runtime.image(IMAGE)
    assert image is not None
    one, other = tmp_path / "one", tmp_path / "other"
    await runtime.mount_image(image.id, "contract/one", one)
    await runtime.mount_image(image.id, "contract/other", other)
    if not isinstance(runtime, HollowRuntime):
        assert (one / "bin" / "busybox").stat().st_size == (other / "bin" / "busybox").stat().st_size > 0
        with pytest.raises(OSError, match="Read-only file system"):
            (one / "mine").touch()
    await runtime.unmount_image("contract/one", one)
    await runtime.unmount_image("contract/one", one)
    await runtime.unmount_image("contract/other", other)
    assert not one.exists() or not list(one.iterdir())
