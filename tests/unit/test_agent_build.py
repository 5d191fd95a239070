"""What a pod's words become for the runtime: users, groups, rights, commands, mounts, last words. No container runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.build import NodeFacts, amounts, cgroup_parent, container_spec, hostname, sandbox_spec
from parkube.nodeagent.plan.environment import ConfigFault, environment
from parkube.nodeagent.plan.model import ContainerSpec
from parkube.nodeagent.runtime.cgroups import limit_pod_groups
from parkube.nodeagent.runtime.cri.convert import container_config, sandbox_config
from parkube.nodeagent.runtime.hollow import HollowRuntime
from parkube.nodeagent.volumes.mounts import Volumes
from parkube.nodeagent.volumes.project import MountFault

FACTS = NodeFacts("n1", Path("/logs"), 1 << 30)


def pod(container: Obj, **spec: Any) -> Obj:
    own = {"name": "c", "image": "app", **container}
    return {"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": {"containers": [own], **spec}}


def made(
    container: Obj, image_user: tuple[int | None, str] = (None, ""), env: dict[str, str] | None = None, **spec: Any
) -> ContainerSpec:
    whole = pod(container, **spec)
    known = list((env or {}).items())
    return container_spec(whole, whole["spec"]["containers"][0], 0, "sha256:app", image_user, known, [], FACTS)


def security(container: Obj, **pods: Any) -> Obj:
    """The container's security context as the runtime is told it."""
    message = container_config(made({"securityContext": container}, securityContext=pods), "sha256:app")
    return dict(message["linux"]["security_context"])


def test_users_and_groups_are_the_containers_own_before_the_pods() -> None:
    said = security({"runAsUser": 1001}, runAsUser=1000, runAsGroup=2000, supplementalGroups=[4], fsGroup=3000)
    assert said["run_as_user"] == {"value": 1001}
    assert said["run_as_group"] == {"value": 2000}
    assert said["supplemental_groups"] == [4, 3000]
    assert security({})["run_as_user"] is None


def test_a_root_user_is_refused_where_the_pod_will_have_none() -> None:
    strict = {"runAsNonRoot": True}
    assert made({"securityContext": strict}, image_user=(65534, "")).run_as_user is None
    with pytest.raises(ConfigFault, match="image will run as root"):
        made({"securityContext": strict})
    with pytest.raises(ConfigFault, match="breaks non-root policy"):
        made({"securityContext": {**strict, "runAsUser": 0}})
    with pytest.raises(ConfigFault, match=r"non-numeric user \(www\)"):
        made({"securityContext": strict}, image_user=(None, "www"))


def test_rights_are_only_those_asked_for() -> None:
    plain = security({})
    assert (plain["privileged"], plain["readonly_rootfs"], plain["no_new_privs"]) == (False, False, False)
    assert "/proc/kcore" in plain["masked_paths"]
    assert plain["seccomp"] == security({"seccompProfile": {"type": "RuntimeDefault"}})["seccomp"]
    bound = security({"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False})
    assert (bound["readonly_rootfs"], bound["no_new_privs"]) == (True, True)
    able = security({"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}})
    assert able["capabilities"] == {"add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["ALL"]}
    free = security({"privileged": True})
    assert (free["privileged"], free["masked_paths"], free["readonly_paths"]) == (True, [], [])
    local = security({"seccompProfile": {"type": "Localhost", "localhostProfile": "own/a.json"}})["seccomp"]
    assert local == {"profile_type": 2, "localhost_ref": "/var/lib/kubelet/seccomp/own/a.json"}
    assert free["seccomp"] == security({"seccompProfile": {"type": "Unconfined"}})["seccomp"] != plain["seccomp"]


def test_sysctls_are_the_pods_and_a_host_network_keeps_the_hosts() -> None:
    asked = {"sysctls": [{"name": "kernel/shm_rmid_forced", "value": "1"}]}
    own = sandbox_config(sandbox_spec(pod({}, securityContext=asked), 0, FACTS))["linux"]["sysctls"]
    assert own == {"net.ipv4.ip_unprivileged_port_start": "0", "kernel.shm_rmid_forced": "1"}
    assert sandbox_config(sandbox_spec(pod({}, hostNetwork=True), 0, FACTS))["linux"]["sysctls"] == {}


def test_processes_are_shared_as_far_as_asked() -> None:
    def namespaces(**spec: Any) -> Obj:
        return dict(container_config(made({}, **spec), "")["linux"]["security_context"]["namespace_options"])

    alone, shared, host = namespaces(), namespaces(shareProcessNamespace=True), namespaces(hostPID=True)
    assert len({one["pid"] for one in (alone, shared, host)}) == 3
    assert namespaces(hostNetwork=True)["network"] != alone["network"] == shared["network"]


def test_command_and_arguments_replace_the_images_and_know_the_environment() -> None:
    said = made({"command": ["$(SHELL)", "$$(SHELL)"], "args": ["$(NO)"]}, env={"SHELL": "sh"})
    assert (said.command, said.args) == (("sh", "$(SHELL)"), ("$(NO)",))
    blank = container_config(made({}), "sha256:app")
    assert (blank["command"], blank["args"]) == ([], [])  # the image's own


def test_a_pods_cgroup_lies_where_its_quality_of_service_says() -> None:
    limits = {"cpu": "1", "memory": "1Mi"}
    assert cgroup_parent(pod({})) == "/kubepods/besteffort/podu"
    assert cgroup_parent(pod({"resources": {"requests": limits}})) == "/kubepods/burstable/podu"
    assert cgroup_parent(pod({"resources": {"requests": limits, "limits": limits}})) == "/kubepods/podu"


def test_a_container_knows_its_pod_and_its_node() -> None:
    facts = {"status.podIP": "10.42.0.9", "status.hostIP": "192.0.2.1", "status.hostIPs": "192.0.2.1,2001:db8::1"}
    paths = ["metadata.name", "metadata.namespace", "metadata.uid", "spec.serviceAccountName", *facts]
    env = [{"name": f"V{i}", "valueFrom": {"fieldRef": {"fieldPath": path}}} for i, path in enumerate(paths)]
    limits = {"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}}
    env += [
        {"name": f"R{i}", "valueFrom": {"resourceFieldRef": {"resource": which}}}
        for i, which in enumerate(("requests.cpu", "limits.memory", "limits.cpu"))
    ]
    whole = pod({"env": env, "resources": limits})
    found = environment(whole, whole["spec"]["containers"][0], lambda *_: None, {}, facts, {"cpu": "2"})
    assert [value for _, value in found] == ["p", "default", "u", "default", *facts.values(), "1", "67108864", "2"]


def test_variables_come_from_maps_and_secrets_one_by_one_or_all_with_a_prefix() -> None:
    objects: dict[tuple[str, str], Obj] = {
        ("ConfigMap", "c"): {"data": {"k": "v"}}, ("Secret", "s"): {"data": {"key": "c2VjcmV0"}},
    }  # fmt: skip
    whole = pod(
        {
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}, {"prefix": "S-", "secretRef": {"name": "s"}}],
            "env": [
                {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                {"name": "TWO", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
                {"name": "MAY", "valueFrom": {"secretKeyRef": {"name": "no", "key": "key", "optional": True}}},
            ],
        }
    )
    found = environment(whole, whole["spec"]["containers"][0], lambda *key: objects.get(key), {}, {}, {})
    assert dict(found) == {"P_k": "v", "S-key": "secret", "ONE": "v", "TWO": "secret"}


def test_a_sub_path_may_be_made_of_variables_but_never_leads_out(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path, HollowRuntime())
    whole = pod({}, volumes=[{"name": "v", "emptyDir": {}}])
    (tmp_path / "u" / "volumes" / "v").mkdir(parents=True)

    def where(words: str) -> str:
        mount = {"name": "v", "mountPath": "/m", "subPathExpr": words}
        return volumes.mounts(whole, {"name": "c", "volumeMounts": [mount]}, {"POD": "p", "ROOT": "/tmp"})[0].host_path

    assert where("logs/$(POD)").endswith("/volumes/v/logs/p")
    with pytest.raises(MountFault, match="leaves the volume"):
        where("$(ROOT)")


def test_last_words_are_read_where_the_container_says(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path, HollowRuntime())
    said = {"name": "c", "terminationMessagePath": "/dev/shm/words"}
    mount = volumes.mounts(pod({}), said, {})[0]
    assert mount.container_path == "/dev/shm/words"
    assert os.stat(mount.host_path).st_mode & 0o777 == 0o666  # whoever the container runs as
    Path(mount.host_path).write_text("x" * 5000)
    assert volumes.termination_message("u", "c") == "x" * 4096
    assert volumes.termination_message("u", "other") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to a group, which takes root")
async def test_volumes_belong_to_the_pods_group_and_have_the_modes_asked_for(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path, HollowRuntime())
    sources: Obj = {
        "any": {"emptyDir": {}}, "map": {"configMap": {"name": "c", "defaultMode": 0o400}},
        "item": {"configMap": {"name": "c", "items": [{"key": "k", "path": "in/k", "mode": 0o444}]}},
    }  # fmt: skip
    listed = [{"name": name, **source} for name, source in sources.items()]
    for uid, group in (("u", None), ("v", 3000)):
        whole = pod({}, volumes=listed, securityContext={} if group is None else {"fsGroup": group})
        whole["metadata"]["uid"] = uid
        await volumes.prepare(whole, lambda *_: {"data": {"k": "v"}}, _no_token, {}, {})
        folder = tmp_path / uid / "volumes"
        assert (folder / "any").stat().st_mode & 0o7777 == (0o777 if group is None else 0o2777)
        assert (folder / "map" / "k").stat().st_mode & 0o777 == (0o400 if group is None else 0o440)
        assert (folder / "item" / "in" / "k").stat().st_mode & 0o777 == 0o444
        for place in (folder / "any", folder / "map" / "k"):
            assert place.stat().st_gid == (group or os.getgid())


async def _no_token(*_: Any) -> str:
    raise AssertionError("no volume asks for one")


def test_a_pod_may_have_resources_as_a_whole(tmp_path: Path) -> None:
    whole = {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "500m", "memory": "32Mi"}}
    wanted = pod({"resources": {"limits": {"memory": "16Mi"}}}, resources=whole)
    (container,) = wanted["spec"]["containers"]
    assert cgroup_parent(wanted) == "/kubepods/burstable/podu"
    own = amounts(wanted, container, FACTS)
    assert (own.memory_limit, own.cpu_quota, own.cpu_shares) == (16 << 20, 100_000, 2)
    for group in ("memory/kubepods/burstable/podu", "cpu/kubepods/burstable/podu", "kubepods/burstable/podu"):
        (tmp_path / group).mkdir(parents=True)
    v1 = ("memory/{}/memory.limit_in_bytes", "cpu/{}/cpu.cfs_quota_us", "cpu/{}/cpu.cfs_period_us", "cpu/{}/cpu.shares")
    v2 = ("{}/memory.max", "{}/cpu.max", "{}/cpu.weight")
    files = [tmp_path / file.format("kubepods/burstable/podu") for file in (*v1, *v2)]
    for file in files:
        file.touch()
    limit_pod_groups(cgroup_parent(wanted), sandbox_spec(wanted, 0, FACTS).amounts, tmp_path)
    said = [file.read_text() for file in files]
    assert said == ["67108864", "100000", "100000", "512", "67108864", "100000 100000", "20"]
    limit_pod_groups(cgroup_parent(wanted), sandbox_spec(pod({}), 0, FACTS).amounts, tmp_path)
    assert [file.read_text() for file in files] == said, "a pod that says nothing as a whole is held to nothing"


def test_a_pod_may_be_called_otherwise_than_it_is_named() -> None:
    assert hostname(pod({}, hostnameOverride="gate.city.test", hostname="other"), "n1") == "gate.city.test"
    assert hostname(pod({}, hostname="other"), "n1") == "other"
    assert sandbox_spec(pod({}, hostUsers=False), 0, FACTS).own_users
