"""Every verb that kubectl's own help lists is tried, old and new; here those that the other scripts do not try."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.conftest import Kubectl, Server, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]
HERE, PODS = "test_kubectl_verbs.py", "test_pods_kubectl.py"
TRIED = {
    "test_kubectl.py": (
        "create expose set explain get edit delete rollout scale cordon uncordon drain taint describe auth diff apply "
        "patch replace wait label annotate api-resources api-versions version"
    ),
    PODS: "run logs attach exec port-forward cp debug",
    HERE: "autoscale certificate cluster-info top proxy kustomize completion config plugin events",
}
BASE = {
    "kustomization.yaml": "resources: [web.yaml]\nconfigMapGenerator: [{name: colours, literals: [door=red]}]\n",
    "web.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {nowhere: "yes"}
      containers: [{name: a, image: "example.test/a:1", envFrom: [{configMapRef: {name: colours}}]}]
""",
}
OVERLAY = "bases: [../base]\nnamePrefix: west-\ncommonLabels: {site: west}\n"


def test_every_verb_of_the_help_is_tried_somewhere(kubectls: dict[str, Path]) -> None:
    for program in kubectls.values():
        told = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
        verbs = set(re.findall(r"^  ([a-z-]+) +\S", told, re.MULTILINE)) - {"kubectl", "kustomize"}
        assert verbs <= {verb for words in TRIED.values() for verb in words.split()}
    for file, words in TRIED.items():
        text = Path(__file__).with_name(file).read_text()
        for verb in words.split():
            assert re.search(rf'"{verb}"|\b{verb}\(', text), f"{file} does not try {verb}"


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """A folder that kustomize builds from a base."""
    for name, text in BASE.items():
        (tmp_path / "base").mkdir(exist_ok=True)
        (tmp_path / "base" / name).write_text(text)
    (tmp_path / "west").mkdir()
    (tmp_path / "west" / "kustomization.yaml").write_text(OVERLAY)
    return tmp_path / "west"


def test_kustomize_and_apply_k(kubectl: Kubectl, overlay: Path) -> None:
    assert "name: west-web" in kubectl("kustomize", str(overlay))
    assert "deployment.apps/west-web created" in kubectl("apply", "-k", str(overlay))
    web = kubectl.json("get", "deployment", "west-web")
    assert web["spec"]["selector"]["matchLabels"] == {"app": "web", "site": "west"}
    [source] = web["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    assert kubectl.json("get", "configmap", source["configMapRef"]["name"])["data"] == {"door": "red"}
    assert "unchanged" in kubectl("apply", "-k", str(overlay))
    kubectl("delete", "-k", str(overlay))
    assert kubectl("get", "deployments") == ""


def test_server_side_apply_keeps_to_who_owns_what(kubectl: Kubectl) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '1'}\n"
    assert "serverside-applied" in kubectl.apply(text, "--server-side")
    other = text.replace("b: '1'", "b: '2'")
    refusal = kubectl.fails("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=other)
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.b' in refusal
    kubectl.apply(other, "--server-side", "--field-manager=other", "--force-conflicts")
    kubectl.apply(text.replace(", b: '1'", ""), "--server-side")
    assert kubectl.json("get", "configmap", "c")["data"] == {"a": "1", "b": "2"}
    kubectl.apply(text.replace("a: '1', b: '1'", "c: '3'"))
    assert kubectl.json("get", "configmap", "c")["data"]["c"] == "3"


@contextmanager
def proxied(kubectl: Kubectl) -> Iterator[int]:
    """`kubectl proxy`, on a port of its own."""
    port = free_port()
    command = kubectl.command("proxy", f"--port={port}")
    with subprocess.Popen(command, env=kubectl.environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "Starting to serve" in process.stdout.readline()
            yield port
        finally:
            process.terminate()


def test_proxy_cluster_info_and_config(kubectl: Kubectl, server: Server) -> None:
    with proxied(kubectl) as port:
        asked = subprocess.run(
            ["curl", "-s", f"http://127.0.0.1:{port}/api/v1/namespaces/{kubectl.namespace}"],
            capture_output=True, check=True,
        )  # fmt: skip
    assert json.loads(asked.stdout)["metadata"]["name"] == kubectl.namespace
    assert server.url in kubectl("cluster-info")
    dumped = kubectl("cluster-info", "dump", "--namespaces", kubectl.namespace)
    assert '"kind": "NodeList"' in dumped
    assert kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}") == server.url
    assert kubectl("config", "current-context").strip()


def test_certificate_approve_and_deny(kubectl: Kubectl) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mia")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()
    for which in ("yes", "no"):
        kubectl.apply(json.dumps({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": f"{which}-{kubectl.namespace}"},
            "spec": {"request": pem, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
        }))  # fmt: skip
    yes, no = f"yes-{kubectl.namespace}", f"no-{kubectl.namespace}"
    assert "approved" in kubectl("certificate", "approve", yes)
    assert "denied" in kubectl("certificate", "deny", no)
    kubectl.wait_for(lambda: kubectl.json("get", "csr", yes)["status"].get("certificate"))
    assert "Denied" in kubectl("get", "csr", no)


def test_autoscale_makes_the_object(kubectl: Kubectl) -> None:
    kubectl.apply(BASE["web.yaml"])
    kubectl("autoscale", "deployment", "web", "--min=2", "--max=4", "--cpu-percent=80")
    assert kubectl.json("get", "hpa", "web")["spec"]["maxReplicas"] == 4


def test_what_needs_nothing_or_what_is_not_there(kubectl: Kubectl) -> None:
    assert "Metrics API not available" in kubectl.fails("top", "nodes")
    assert "kubectl" in kubectl("completion", "bash")
    assert "unable to find any kubectl plugins" in kubectl.fails("plugin", "list")


def test_events_and_whoami(kubectl: Kubectl, kubectls: dict[str, Path]) -> None:
    if kubectl.program == kubectls["old"]:
        pytest.skip("kubectl 1.20 has neither `events` nor `auth whoami`")
    kubectl.apply(BASE["web.yaml"])
    kubectl.wait_for(lambda: "FailedScheduling" in kubectl("events", "--types=Warning"))
    assert "system:masters" in kubectl("auth", "whoami")
