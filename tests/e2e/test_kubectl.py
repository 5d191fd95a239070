"""kubectl's verbs against a real server, with Debian's 1.20 and the newest in reach: what needs no running pod."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import yaml

from tests.e2e.conftest import Kubectl, Server

pytestmark = pytest.mark.e2e

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {nowhere: "yes"}
      containers:
      - {name: a, image: "example.test/a:1", env: [{name: A, value: "1"}, {name: B, value: "2"}]}
      - {name: b, image: "example.test/b:1"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: other, port: 81}]}
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: GROUP_PLURAL}
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: doors, singular: door, kind: Door, shortNames: [dr]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.wings, statusReplicasPath: .status.wings}}
    additionalPrinterColumns:
    - {name: Wings, type: integer, jsonPath: .spec.wings}
    - {name: Open, type: boolean, jsonPath: .status.open}
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            description: What the door is to be.
            required: [colour]
            properties:
              colour: {type: string, enum: [red, green], description: Its colour.}
              wings: {type: integer, minimum: 0, default: 2}
          status:
            type: object
            properties: {open: {type: boolean}, wings: {type: integer}}
"""


def crd_of(group: str) -> str:
    return CRD.replace("GROUP_PLURAL", f"doors.{group}").replace("GROUP", group)


@pytest.fixture
def node(kubectl: Kubectl) -> str:
    """A Node object without a machine."""
    name = f"node-{kubectl.namespace}"
    kubectl.apply(f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{a: b}}}}")
    return name


def test_get_in_every_output(kubectl: Kubectl) -> None:
    kubectl.apply(WEB)
    assert kubectl("get", "deploy").splitlines()[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert "IMAGES" in kubectl("get", "deploy", "web", "-o", "wide")
    assert yaml.safe_load(kubectl("get", "svc", "web", "-o", "yaml"))["spec"]["ports"][1]["port"] == 81
    assert kubectl.json("get", "svc", "web")["kind"] == "Service"
    assert kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[*].port}") == "80 81"
    assert kubectl("get", "svc", "-o", "custom-columns=N:.metadata.name").split() == ["N", "web"]
    assert kubectl("get", "svc", "-o", "name").strip() == "service/web"
    columns = kubectl("get", "svc").splitlines()[0].split()
    assert columns == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    both = kubectl("get", "deploy,svc")
    assert "deployment.apps/web" in both
    assert "service/web" in both
    assert "kube-system" in kubectl("get", "sa", "-A")
    assert "app=web" in kubectl("get", "deploy", "--show-labels")
    assert kubectl("get", "deploy", "-l", "app in (web),!x", "-o", "name").strip() == "deployment.apps/web"
    assert kubectl("get", "deploy", "-l", "app=other", "-o", "name") == ""
    assert kubectl("get", "svc", "--field-selector", "metadata.name=web", "-o", "name").strip() == "service/web"
    assert "web" in kubectl("get", "all")
    assert '"web" not found' in kubectl.fails("get", "cm", "web")


def test_get_sorted_and_in_pages(kubectl: Kubectl) -> None:
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{i:02}"}} for i in range(25)]
    kubectl.apply(yaml.safe_dump_all(items))
    names = kubectl("get", "cm", "--chunk-size=10", "-o", "name").split()
    assert [n for n in names if "/c" in n] == [f"configmap/c{i:02}" for i in range(25)]
    assert kubectl("get", "cm", "--sort-by=.metadata.name", "--chunk-size=7").count("\n") >= 26


def test_watch_prints_what_changes(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "one")
    command = kubectl.command("get", "cm", "-w", "-o", "name")
    with subprocess.Popen(command, env=kubectl.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = {process.stdout.readline().strip()}
        kubectl("create", "configmap", "two")
        while "configmap/two" not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen.add(line.strip())
        process.terminate()
    assert "configmap/one" in seen


def test_describe(kubectl: Kubectl, node: str) -> None:
    kubectl.apply(WEB)
    assert "RollingUpdate" in kubectl("describe", "deployment", "web")
    assert "80/TCP" in kubectl("describe", "svc", "web")
    assert "Name:" in kubectl("describe", "ns", kubectl.namespace)
    assert node in kubectl("describe", "node", node)
    kubectl.wait_for(lambda: "FailedScheduling" in kubectl("describe", "pods", "-l", "app=web"))


def test_apply_changes_what_changed_and_removes_what_is_gone(kubectl: Kubectl) -> None:
    assert kubectl.apply(WEB).splitlines() == ["deployment.apps/web created", "service/web created"]
    assert kubectl.apply(WEB).splitlines() == ["deployment.apps/web unchanged", "service/web unchanged"]
    changed = WEB.replace('{name: B, value: "2"}', '{name: C, value: "3"}').replace(", {name: other, port: 81}", "")
    assert "configured" in kubectl.apply(changed)
    spec = kubectl.json("get", "deploy", "web")["spec"]["template"]["spec"]
    assert spec["containers"][0]["env"] == [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}]
    assert [p["name"] for p in kubectl.json("get", "svc", "web")["spec"]["ports"]] == ["http"]
    assert "unchanged (server dry run)" in kubectl.apply(changed, "--dry-run=server")
    kubectl("diff", "-f", "-", stdin=changed)
    kubectl("delete", "-f", "-", stdin=changed)


def test_create_in_many_ways(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c", "--from-literal=a=b")
    kubectl("create", "secret", "generic", "s", "--from-literal=a=b")
    kubectl("create", "serviceaccount", "sa")
    kubectl("create", "deployment", "d", "--image=example.test/x", "--replicas=0")
    kubectl("create", "service", "clusterip", "d", "--tcp=80:8080")
    kubectl("create", "role", "r", "--verb=get", "--resource=pods")
    kubectl("create", "rolebinding", "r", "--role=r", "--serviceaccount=default:sa")
    assert "created" in kubectl("create", "-f", "-", stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: f}")
    assert "already exists" in kubectl.fails("create", "configmap", "c")
    assert kubectl.json("get", "secret", "s")["data"] == {"a": "Yg=="}
    kubectl("expose", "deployment", "d", "--port=81", "--name=e")
    kubectl.wait_for(lambda: kubectl.run("get", "sa", "default").returncode == 0)
    kubectl("run", "p", "--image=example.test/x", "--restart=Never")
    assert kubectl.json("get", "pod", "p")["spec"]["restartPolicy"] == "Never"


def test_edit_replace_patch(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c", "--from-literal=a=b")
    environment = {**kubectl.environment, "KUBE_EDITOR": "sed -i s/a:.b/a:\\ z/"}
    command = kubectl.command("edit", "configmap", "c")
    edited = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "configmap/c edited" in edited.stdout, edited
    assert kubectl.json("get", "cm", "c")["data"] == {"a": "z"}
    stale = kubectl.json("get", "cm", "c")
    kubectl("patch", "cm", "c", "-p", '{"data":{"b":"1"}}')
    kubectl("patch", "cm", "c", "--type=json", "-p", '[{"op":"remove","path":"/data/a"}]')
    kubectl("patch", "cm", "c", "--type=merge", "-p", '{"data":{"c":"2","b":null}}')
    assert kubectl.json("get", "cm", "c")["data"] == {"c": "2"}
    assert "the object has been modified" in kubectl.fails("replace", "-f", "-", stdin=json.dumps(stale))


def test_labels_annotations_taints_and_cordon(kubectl: Kubectl, node: str) -> None:
    kubectl("label", "node", node, "kubernetes.io/role=node", "a-")
    assert kubectl("get", "node", node).splitlines()[1].split()[2] == "node"
    assert "a" not in kubectl.json("get", "node", node)["metadata"]["labels"]
    assert "already has a value" in kubectl.fails("label", "node", node, "kubernetes.io/role=master")
    kubectl("annotate", "node", node, "x=y")
    assert f"node/{node} tainted" in kubectl("taint", "nodes", node, "node-role.kubernetes.io/master=effect:NoSchedule")
    wanted = {"key": "node-role.kubernetes.io/master", "value": "effect", "effect": "NoSchedule"}
    assert wanted in kubectl.json("get", "node", node)["spec"]["taints"]
    kubectl("taint", "nodes", node, "node-role.kubernetes.io/master-")
    assert "cordoned" in kubectl("cordon", node)
    assert "SchedulingDisabled" in kubectl("get", "node", node)
    assert "uncordoned" in kubectl("uncordon", node)


def test_drain_evicts_what_runs_there(kubectl: Kubectl, node: str) -> None:
    kubectl.wait_for(lambda: kubectl.run("get", "sa", "default").returncode == 0)
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "p"}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}],
                 "containers": [{"name": "c", "image": "example.test/x"}]},
    }  # fmt: skip
    kubectl.apply(json.dumps(pod))
    emptied = "--delete-emptydir-data"
    assert "evicted" in kubectl("drain", node, "--force", "--ignore-daemonsets", emptied, "--timeout=60s")
    assert kubectl("get", "pods", "-o", "name") == ""


def test_rollout_and_scale(kubectl: Kubectl) -> None:
    kubectl.apply(WEB)
    kubectl("rollout", "status", "deploy/web", "--watch=false")
    kubectl.wait_for(lambda: "1" in kubectl("rollout", "history", "deploy/web"))
    assert "image updated" in kubectl("set", "image", "deploy/web", "a=example.test/a:2")
    kubectl.wait_for(lambda: len(kubectl.json("get", "rs")["items"]) == 2)
    kubectl.wait_for(lambda: "\n2 " in kubectl("rollout", "history", "deploy/web"))
    assert "example.test/a:2" in kubectl("rollout", "history", "deploy/web", "--revision=2")
    assert "rolled back" in kubectl("rollout", "undo", "deploy/web")
    containers = kubectl.json("get", "deploy", "web")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == "example.test/a:1"
    assert "restarted" in kubectl("rollout", "restart", "deploy/web")
    assert "scaled" in kubectl("scale", "deploy/web", "--replicas=3")
    assert kubectl.json("get", "deploy", "web")["spec"]["replicas"] == 3
    assert "scaled" in kubectl("scale", "deploy/web", "--replicas=0", "--current-replicas=3")
    kubectl.wait_for(lambda: kubectl("get", "pods", "-l", "app=web", "-o", "name") == "")


def test_delete_with_the_owned(kubectl: Kubectl) -> None:
    kubectl.apply(WEB)
    kubectl.wait_for(lambda: len(kubectl.json("get", "pods")["items"]) == 2)
    kubectl("delete", "deploy", "web")
    kubectl.wait_for(lambda: not kubectl("get", "rs,pods", "-o", "name"))
    kubectl("create", "configmap", "a")
    kubectl("create", "configmap", "b")
    assert "deleted" in kubectl("delete", "cm", "--all")
    assert '"a" not found' in kubectl.fails("delete", "cm", "a")
    kubectl("delete", "cm", "a", "--ignore-not-found")


def test_a_namespace_takes_along_what_is_in_it(kubectl: Kubectl) -> None:
    name = kubectl.namespace + "x"
    kubectl("create", "namespace", name)
    kubectl("create", "configmap", "a", "-n", name)
    kubectl("delete", "namespace", name, "--timeout=60s")
    assert "not found" in kubectl.fails("get", "namespace", name)
    assert "not found" in kubectl.fails("create", "configmap", "a", "-n", name)


def test_explain_and_api_resources_and_version(kubectl: Kubectl) -> None:
    assert "Number of desired pods" in kubectl("explain", "deployment.spec.replicas")
    assert "containers" in kubectl("explain", "pod.spec")
    assert "rollbackTo" in kubectl("explain", "deployment.spec", "--api-version=extensions/v1beta1")
    listed = kubectl("api-resources")
    assert listed.index("apps/v1") < listed.index("extensions/v1beta1")
    assert "apps/v1" in kubectl("api-versions")
    assert "parkube1" in kubectl("version")
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "[+]ping ok" in kubectl("get", "--raw", "/livez?verbose")


def test_wait(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c")
    kubectl.apply(crd_of(f"{kubectl.namespace}.wait.test"))
    kubectl("wait", "--for=condition=Established", f"crd/doors.{kubectl.namespace}.wait.test", "--timeout=60s")
    command = kubectl.command("wait", "--for=delete", "cm/c", "--timeout=60s")
    waiting = subprocess.Popen(command, env=kubectl.environment)
    time.sleep(0.3)
    kubectl("delete", "cm", "c")
    assert waiting.wait(20) == 0
    assert "timed out" in kubectl.fails(
        "wait", "--for=condition=Never", f"crd/doors.{kubectl.namespace}.wait.test", "--timeout=1s"
    )


def test_who_may_what(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "bot")
    who = f"--as=system:serviceaccount:{kubectl.namespace}:bot"
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    assert kubectl.run("auth", "can-i", "get", "pods", who).stdout.strip() == "no"
    refusal = kubectl.fails("get", "pods", who)
    assert (
        f'pods is forbidden: User "system:serviceaccount:{kubectl.namespace}:bot" cannot list resource "pods" '
        f'in API group "" in the namespace "{kubectl.namespace}"' in refusal
    )
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={kubectl.namespace}:bot")
    assert kubectl("auth", "can-i", "list", "pods", who).strip() == "yes"
    assert kubectl("get", "pods", who) == ""
    assert "pods" in kubectl("auth", "can-i", "--list", who)


def test_a_token_of_a_service_account(server: Server, kubectls: dict[str, object], kubectl: Kubectl) -> None:
    if "1.20" in str(kubectl.program):
        pytest.skip("kubectl 1.20 does not know `create token`")
    kubectl("create", "serviceaccount", "bot")
    token = kubectl("create", "token", "bot", "--duration=10m").strip()
    kubeconfig = server.directory / f"{kubectl.namespace}.yaml"
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    kubeconfig.write_text(yaml.safe_dump(config))
    bot = Kubectl(kubectl.program, kubeconfig, kubectl.namespace, server.directory)
    assert f"system:serviceaccount:{kubectl.namespace}:bot" in bot("auth", "whoami")
    assert "Forbidden" in bot.fails("get", "pods")
    kubectl("delete", "serviceaccount", "bot")
    assert "Unauthorized" in bot.fails("get", "pods") or "must be logged in" in bot.fails("get", "pods")


def test_custom_resources(kubectl: Kubectl) -> None:
    group = f"{kubectl.namespace}.test"
    kubectl.apply(crd_of(group))
    kubectl("wait", "--for=condition=Established", f"crd/doors.{group}", "--timeout=60s")
    door = f"apiVersion: {group}/v1\nkind: Door\nmetadata: {{name: front}}\nspec: {{colour: red}}"
    assert "created" in kubectl.apply(door)
    assert "unchanged" in kubectl.apply(door)
    assert kubectl("get", f"doors.{group}").splitlines()[0].split() == ["NAME", "WINGS", "OPEN"]
    assert kubectl.json("get", f"doors.{group}", "front")["spec"] == {"colour": "red", "wings": 2}
    refusal = kubectl.fails("apply", "-f", "-", stdin=door.replace("red", "blue"))
    assert "spec.colour" in refusal
    assert "Its colour" in kubectl("explain", "door.spec.colour", f"--api-version={group}/v1")
    assert "scaled" in kubectl("scale", f"doors.{group}/front", "--replicas=1")
    assert kubectl.json("get", f"doors.{group}", "front")["spec"]["wings"] == 1
    assert "doors" in kubectl("api-resources", f"--api-group={group}")
    kubectl("delete", "crd", f"doors.{group}", "--timeout=60s")
    kubectl.wait_for(lambda: kubectl.run("get", f"doors.{group}").returncode != 0)


def test_the_old_deployment_and_the_new_are_one(kubectl: Kubectl) -> None:
    old = (
        WEB.split("---")[0]
        .replace("apps/v1", "extensions/v1beta1")
        .replace("  selector: {matchLabels: {app: web}}\n", "")
    )
    assert kubectl.apply(old).strip() == "deployment.extensions/web created"
    assert kubectl.apply(old).strip() == "deployment.extensions/web unchanged"
    through_old = kubectl.json("get", "deployments.v1beta1.extensions", "web")
    assert through_old["apiVersion"] == "extensions/v1beta1"

    def same() -> bool:
        first = kubectl.json("get", "deployments.v1beta1.extensions", "web")
        second = kubectl.json("get", "deployments.v1.apps", "web")
        assert second["apiVersion"] == "apps/v1"
        assert first["metadata"]["uid"] == second["metadata"]["uid"]
        assert second["spec"]["selector"] == {"matchLabels": {"app": "web"}}
        return bool(first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"])

    kubectl.wait_for(same)
    assert "configured" in kubectl.apply(old.replace("a:1", "a:2"))
    assert "image updated" in kubectl("set", "image", "deployment.v1beta1.extensions/web", "b=example.test/b:2")


FAULTS: list[tuple[str, Callable[[str], str], str]] = [
    ("an unknown field", lambda text: text.replace("replicas:", "replica:"), "replica"),
    ("a wrong type", lambda text: text.replace("replicas: 2", 'replicas: "two"'), "replicas"),
    ("a missing required field", lambda text: text.replace("  selector: {matchLabels: {app: web}}\n", ""), "selector"),
    ("a bad name", lambda text: text.replace("name: web,", "name: Web_1,"), "Web_1"),
    (
        "a selector that does not match",
        lambda text: text.replace("labels: {app: web}}\n    spec", "labels: {app: v}}\n    spec"),
        "selector",
    ),
]


@pytest.mark.parametrize(("what", "spoil", "named"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_faults_are_named(kubectl: Kubectl, what: str, spoil: Callable[[str], str], named: str) -> None:
    spoiled = spoil(WEB.split("---")[0])
    assert spoiled != WEB.split("---")[0]
    assert named in kubectl.fails("create", "-f", "-", stdin=spoiled)
    assert kubectl("get", "deploy", "-o", "name") == ""
    if what != "an unknown field":
        assert named in kubectl.fails("create", "-f", "-", "--validate=false", stdin=spoiled)
        assert kubectl("get", "deploy", "-o", "name") == ""


def test_a_definition_that_contradicts_itself(kubectl: Kubectl) -> None:
    group = f"{kubectl.namespace}.odd.test"
    odd = crd_of(group).replace("minimum: 0, default: 2", "minimum: 5, maximum: 2")
    odd = odd.replace("open: {type: boolean}", "open: {type: maybe}")
    refusal = kubectl.fails("apply", "-f", "-", stdin=odd)
    assert "no value can satisfy both" in refusal
    assert 'Unsupported value: "maybe"' in refusal
    assert "not found" in kubectl.fails("get", "crd", f"doors.{group}")


def test_parkube_kubectl_has_the_right_kubeconfig(server: Server) -> None:
    environment = {**os.environ, "PARKUBE_KUBECONFIG": str(server.kubeconfig), "HOME": str(server.directory)}
    environment.pop("KUBECONFIG", None)
    command = [sys.executable, "-m", "parkube.cli", "kubectl", "auth", "can-i", "*", "*"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "yes"), done.stderr


def test_a_foreign_namespace(kubectl: Kubectl) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: elsewhere}"
    refusal = kubectl.fails("create", "-f", "-", stdin=text)
    assert "does not match the namespace" in refusal


def test_apply_on_the_servers_side(kubectl: Kubectl) -> None:
    first = kubectl("apply", "--server-side", "-f", "-", stdin=WEB)
    assert "deployment.apps/web serverside-applied" in first
    other = WEB.replace("replicas: 2", "replicas: 3")
    refusal = kubectl.fails("apply", "--server-side", "--field-manager=scaler", "-f", "-", stdin=other)
    assert "Apply failed with 1 conflict: conflict with" in refusal
    assert ".spec.replicas" in refusal
    kubectl("apply", "--server-side", "--field-manager=scaler", "--force-conflicts", "-f", "-", stdin=other)
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "3"


def test_apply_goes_over_to_the_servers_side(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    kubectl("apply", "--server-side", "-f", "-", stdin=WEB.replace("replicas: 2", "replicas: 4"))
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "4"
    fewer = WEB.replace(', {name: B, value: "2"}', "").replace("replicas: 2", "replicas: 4")
    kubectl("apply", "--server-side", "-f", "-", stdin=fewer)
    names = kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].env[*].name}")
    old = "1.20" in str(kubectl.program)  # it leaves what it managed from its own side, and so the field
    assert names == ("A B" if old else "A")
