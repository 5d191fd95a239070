"""Kubeconfig files: what is read from them, and one sentence for those that cannot be used."""

from __future__ import annotations

import base64
import ssl
import time
from pathlib import Path

import pytest
import yaml

from parkube.controlplane.pki.ensure import ensure
from parkube.kubeapi.kubeconfig import Kubeconfig, KubeconfigError, load


def write(path: Path, user: dict[str, object], **cluster: object) -> Path:
    content = {
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_servers_own_kubeconfig_can_be_used(tmp_path: Path) -> None:
    pki = ensure(tmp_path / "server", sans=["127.0.0.1"])
    pki.write_kubeconfig(tmp_path / "parkube.yaml", "https://127.0.0.1:6443")
    found = load(tmp_path / "parkube.yaml")
    assert found.server == "https://127.0.0.1:6443"
    context = found.ssl_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    (authority,) = context.get_ca_certs()
    assert ssl.cert_time_to_seconds(str(authority["notAfter"])) > time.time()


def test_files_and_data_and_tokens(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "ca.pem").write_bytes(b"ca")
    path = write(tmp_path / "config", {"tokenFile": "token"}, **{"certificate-authority": "ca.pem"})
    assert (load(path).token, load(path).authority) == ("secret", b"ca")
    data = base64.b64encode(b"pem").decode()
    path = write(tmp_path / "config", {"client-certificate-data": data, "client-key-data": data, "token": "t"})
    assert load(path) == Kubeconfig("https://127.0.0.1:6443", certificate=b"pem", key=b"pem", token="t")
    with pytest.raises(KubeconfigError, match="the client certificate of the kubeconfig cannot be used"):
        load(path).ssl_context()


@pytest.mark.parametrize("content", ["", "a: [", "current-context: x", "contexts: 5", "- list"])
def test_what_cannot_be_used_says_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(KubeconfigError, match="is not a kubeconfig that can be used"):
        load(path)
    with pytest.raises(KubeconfigError, match=r"cannot read .*nowhere: No such file"):
        load(tmp_path / "nowhere")
    with pytest.raises(KubeconfigError, match="is not a URL"):
        Kubeconfig("127.0.0.1").dialer()
