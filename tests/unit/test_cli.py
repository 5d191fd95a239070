"""The command line: where a setting comes from, and that every fault is one sentence and a non-zero exit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from parkube import cli
from parkube.cli import Usage, main, settings


def read(argv: list[str], environment: dict[str, str] | None = None, command: str = "agent") -> dict[str, Any]:
    flags = cli._AGENT if command == "agent" else (*cli._SERVER, *cli._NODE)
    return settings(command, flags, argv, environment or {})


def test_flags_before_environment_before_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server: https://file\nnode-name: file\nnode-label: [a=1, b=2]\nmax-pods: 5\n")
    values = read(["-c", str(file), "-s", "https://flag"], {"PARKUBE_URL": "https://env", "PARKUBE_NODE_NAME": "env"})
    assert values == {"server": "https://flag", "node_name": "env", "node_labels": ("a=1", "b=2"), "max_pods": 5}
    assert read([], {"PARKUBE_NODE_TAINT": "a=b:NoSchedule,c=d:NoExecute", "PARKUBE_CONFIG_FILE": str(file)})[
        "node_taints"
    ] == ("a=b:NoSchedule", "c=d:NoExecute")


def test_server_flags_are_k3s_own(tmp_path: Path) -> None:
    argv = "-d /d -o /k --write-kubeconfig-mode 644 --https-listen-port 7443 --tls-san a --tls-san b --disable-agent"
    values = read([*argv.split(), "--service-node-port-range", "30000-30100"], command="server")
    assert values == {
        "data_dir": Path("/d"), "write_kubeconfig": Path("/k"), "write_kubeconfig_mode": 0o644, "tls_san": ("a", "b"),
        "https_listen_port": 7443, "disable_agent": True, "service_node_port_range": (30000, 30100),
    }  # fmt: skip


def test_a_token_file_by_flag_beats_a_token_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("K10x::server:y\n")
    argv = ["--token-file", str(tmp_path / "t")]
    assert read(argv, {"PARKUBE_TOKEN": "other"})["token"] == "K10x::server:y"
    assert read([*argv, "--token", "mine"])["token"] == "mine"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["nonsense"], '"nonsense" is no command of parkube'),
        (["server", "--docker"], "--docker: the Docker runtime is not in this version"),
        (
            ["server", "--datastore-endpoint", "http://etcd:2379"],
            "etcd and other external stores are not in this version",
        ),
        (["server", "--datastore-endpoint=http://etcd:2379"], "are not in this version"),
        (["server", "--cluster-init"], "several servers are not in this version"),
        (["server", "--https-listen-port", "many"], '--https-listen-port: "many" is not valid'),
        (["server", "--https-listen-port", "99999"], "--https-listen-port: 99999 is not a port"),
        (["server", "--service-cidr", "foo", "--cluster-cidr", "10.1.1.1"], '"foo" is not an IPv4 range'),
        (["server", "--service-cidr", "10.42.9.0/24"], "overlap"),
        (["server", "--service-node-port-range", "5-1"], "is not a range of ports"),
        (["server", "--advertise-address", "nope"], '"nope" is not an address'),
        (["server", "--log-level", "loud", "--disable-agent"], '--log-level: "loud" is none of'),
        (["server", "--token-file", "/nowhere"], "the token file /nowhere cannot be read"),
        (["server", "--config", "/nowhere.yaml"], "the config file /nowhere.yaml does not exist"),
        (["agent"], "the agent needs to know its server"),
        (["agent", "--servr", "x"], "unrecognized arguments: --servr x"),
        (["agent", "-s", "https://x", "--node-name", "UPPER"], '"UPPER" is not a node name'),
        (["agent", "-s", "https://x", "--node-taint", "x"], '"x" is not a taint'),
        (["agent", "-s", "https://x", "--node-label", "node-role.kubernetes.io/x="], "may not give itself that label"),
        (["agent", "-s", "https://x", "--node-label", "a=b="], '"a=b=" is not a label'),
        (["token", "--data-dir", "/nowhere"], "/nowhere/server/node-token cannot be read"),
    ],
)
def test_faults_are_one_sentence(argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 1
    output = capsys.readouterr()
    assert sentence in output.err
    assert (output.err.count("\n"), output.out) == (1, "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("colour: red\nserver: x", "does not know: colour"), ("- a", "must hold settings"), ("a: [", "cannot be read")],
)
def test_config_files_that_cannot_be_used(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(Usage, match=sentence):
        read(["-c", str(tmp_path / "c.yaml")])


def test_the_newest_kubectl_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("a", "v1.9.9"), ("b", "v1.36.0"), ("c", "v1.20.2")):
        (tmp_path / name).mkdir()
        program = tmp_path / name / "kubectl"
        program.write_text(f'#!/bin/sh\necho \'{{"clientVersion":{{"gitVersion":"{number}"}}}}\'\n')
        program.chmod(0o755)
    path = ":".join(str(tmp_path / name) for name in "abc")
    monkeypatch.setenv("PATH", f"{path}:/bin")
    assert cli.newest_kubectl() == tmp_path / "b" / "kubectl"


def test_the_halves_are_not_imported_before_they_run(capsys: pytest.CaptureFixture[str]) -> None:
    import subprocess

    show = "print([m for m in sys.modules if m.startswith('parkube.')])"
    code = f"import sys; from parkube.cli import main; main(['version']); {show}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['parkube.cli']"
    assert main([]) == 0
    assert "parkube server" in capsys.readouterr().out
