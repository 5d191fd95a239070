"""The one command, `parkube`. Reads flags, environment and the config file; each subcommand imports its half only
when it runs. What a setting means is the business of the half that it is for.

A setting is taken from its flag, else from `PARKUBE_<NAME>`, else from the config file (`--config`,
`/etc/parkube/config.yaml`), where it is spelled like the flag without its dashes. Every fault is one sentence on
stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

CONFIG_FILE = "/etc/parkube/config.yaml"
KUBECONFIG = "/etc/parkube/parkube.yaml"
_NUMBERED = re.compile(r"kubectl\.\d+\.\d+")


class Usage(Exception):
    """What was asked for cannot be; its text is one sentence."""


class Flag(NamedTuple):
    """A setting. `kind` is str, int, bool, list or path; `key` the field it fills."""

    name: str
    help: str
    kind: str = "str"
    key: str = ""
    env: str = ""
    short: str = ""

    @property
    def field(self) -> str:
        return self.key or self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        return self.env or "PARKUBE_" + self.name.replace("-", "_").upper()


_TOKEN_FILE = Flag("token-file", "file that holds the token")
_SERVER = (
    Flag("data-dir", "where all state lives (default /var/lib/parkube)", "path", short="-d"),
    Flag("write-kubeconfig", "where the admin's kubeconfig goes", "path", "", "PARKUBE_KUBECONFIG_OUTPUT", "-o"),
    Flag("write-kubeconfig-mode", "its file mode, octal (default 600)", "mode", env="PARKUBE_KUBECONFIG_MODE"),
    Flag("bind-address", "address to listen on (default 0.0.0.0)"),
    Flag("https-listen-port", "port to listen on (default 6443)", "int"),
    Flag("advertise-address", "address at which agents reach the API server"),
    Flag("tls-san", "further name or address in the server's certificate; may be repeated", "list"),
    Flag("token", "secret with which agents join (default: made at first start)", short="-t"),
    _TOKEN_FILE,
    Flag("agent-token", "secret for agents only, if it is to differ"),
    Flag("cluster-cidr", "addresses of pods (default 10.42.0.0/16)"),
    Flag("service-cidr", "addresses of services (default 10.43.0.0/16)"),
    Flag("service-node-port-range", "ports for NodePort services (default 30000-32767)", "range"),
    Flag("cluster-dns", "address of the cluster's DNS (default: the tenth of the service range)"),
    Flag("cluster-domain", "domain of the cluster (default cluster.local)"),
    Flag("flannel-backend", "how pods of different nodes reach each other: vxlan (default), host-gw or none"),
    Flag("node-name", "name of the server's own node (default: the host's name)"),
    Flag("node-ip", "address of the server's own node"),
    Flag("node-label", "label of the server's own node, key=value; may be repeated", "list"),
    Flag("node-taint", "taint of the server's own node, key=value:Effect; may be repeated", "list"),
    Flag("disable", "part that is not wanted, as local-storage (class local-path); may be repeated", "list"),
    Flag("disable-agent", "run no node on this machine", "bool"),
    Flag("disable-scheduler", "run no scheduler", "bool"),
    Flag("disable-controller-manager", "run no controllers", "bool"),
    Flag("log-level", "debug, info, warning or error (default info)"),
)  # fmt: skip
_NODE = (  # the server takes them for its own node
    Flag("node-external-ip", "address at which others reach this node"),
    Flag("config-dir", "where registries.yaml lies (default /etc/parkube)", "path"),
    Flag("container-runtime-endpoint", "CRI socket of a runtime that runs already"),
    Flag("resolv-conf", "resolv.conf for pods (default /etc/resolv.conf)"),
    Flag("snapshotter", "containerd's snapshotter (default overlayfs where it works, else native)"),
    Flag("max-pods", "how many pods the node takes (default 110)", "int"),
    Flag("mirror-port", "local port of the image mirror (default: any)", "int"),
)
_AGENT = (
    Flag("server", "the server's URL as this machine reaches it, https://host:port", env="PARKUBE_URL", short="-s"),
    Flag("token", "the join token, from server/node-token on the server", short="-t"),
    _TOKEN_FILE,
    Flag("node-name", "name of this node (default: the host's name)"),
    Flag("node-ip", "address of this node (default: the one that reaches the server)"),
    Flag("data-dir", "where all state lives (default /var/lib/parkube)", "path", short="-d"),
    Flag("node-label", "label with which the node appears, key=value; may be repeated", "list", "node_labels"),
    Flag("node-taint", "taint with which the node appears, key=value:Effect; may be repeated", "list", "node_taints"),
    Flag("cluster-cidr", "addresses of pods (default 10.42.0.0/16)"),
    Flag("service-cidr", "addresses of services (default 10.43.0.0/16)"),
    Flag("server-node", "this is the server's own node", "bool"),
    *_NODE,
)
_NOT_YET: dict[str, dict[str, str]] = {
    "server": {
        "datastore-endpoint": "etcd and other external stores are not in this version: the store is SQLite",
        "cluster-init": "several servers are not in this version",
        "server": "several servers are not in this version",
        "docker": "the Docker runtime is not in this version: nodes run containerd",
    },
    "agent": {"docker": "the Docker runtime is not in this version: nodes run containerd"},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else "help"
    commands: dict[str, Callable[[list[str]], int]] = {
        "server": server, "agent": agent, "kubectl": kubectl, "token": token, "parking": parking, "version": version,
    }  # fmt: skip
    if command in ("help", "-h", "--help"):
        print(_HELP)
        return 0
    if command == "--version":
        command = "version"
    try:
        if command not in commands:
            raise Usage(f'"{command}" is no command of parkube: {", ".join(commands)}')
        return commands[command](arguments[1:])
    except Usage as exc:
        return _fail(str(exc))
    except KeyboardInterrupt:
        return 130


_HELP = """\
parkube: a lightweight Kubernetes for edge fleets, and the parking platform that runs on it

  parkube server              run the API server, controllers and scheduler, and this machine as its first node
  parkube agent               join this machine to a cluster as a node
  parkube kubectl …           run kubectl with this cluster's kubeconfig
  parkube token               print the token with which agents join
  parkube parking …           the parking half: platform, operator, gate, import-npr and others
  parkube version             print the version

Each command answers --help."""


def _fail(sentence: str) -> int:
    print(f"parkube: {sentence}", file=sys.stderr)
    return 1


# -- the subcommands ---------------------------------------------------------------------------------------------------


def server(argv: list[str]) -> int:
    """`parkube server`."""
    values = settings("server", (*_SERVER, *_NODE), argv)
    from parkube.controlplane.main.config import ConfigError, ServerConfig

    passed_on = [word for flag in _NODE for word in _words(flag, values.pop(flag.field, None))]
    try:
        config = ServerConfig(**values, agent_arguments=tuple(passed_on))
    except ConfigError as exc:
        raise Usage(str(exc)) from exc
    if not config.disable_agent:
        if os.geteuid() != 0:
            raise Usage("running containers needs root: run as root, or with --disable-agent for the control plane")
        named = {"node_name": config.node_name} if config.node_name else {}
        _agent_config(server="", node_labels=config.node_label, node_taints=config.node_taint, **named)
    _log_to_stderr(config.log_level)
    run: Callable[[ServerConfig], Coroutine[Any, Any, None]] = _load("parkube.controlplane.main.run", "run")
    return _run(lambda: run(config), fast=True)


def _words(flag: Flag, value: Any) -> list[str]:
    """A setting as command-line words."""
    if value in (None, "", ()):
        return []
    values = value if isinstance(value, tuple) else (value,)
    return [word for item in values for word in (f"--{flag.name}", str(item))]


def agent(argv: list[str]) -> int:
    """`parkube agent`."""
    values = settings("agent", _AGENT, argv)
    if not values.get("server"):
        raise Usage("the agent needs to know its server: --server https://<address>:6443")
    config = _agent_config(**values)
    if config.server_node:
        _end_with_parent()
    _log_to_stderr("info")
    run: Callable[[Any], Coroutine[Any, Any, None]] = _load("parkube.nodeagent.main.run", "run")
    return _run(lambda: run(config), fast=False)


def _agent_config(**values: Any) -> Any:
    """An AgentConfig; the server makes one only to know now what its own agent would refuse later."""
    from parkube.nodeagent.main.config import AgentConfig, ConfigError

    try:
        return AgentConfig(**values)
    except ConfigError as exc:
        raise Usage(str(exc)) from exc


def _end_with_parent() -> None:
    """The server's own agent ends with it, even when it is killed: a new server starts a new one."""
    import ctypes

    parent = os.getppid()
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        raise Usage("the server that started this agent is gone")


def kubectl(argv: list[str]) -> int:
    """`parkube kubectl …`: the newest kubectl in reach, with this cluster's kubeconfig."""
    program = newest_kubectl()
    if program is None:
        raise Usage("there is no kubectl on this machine: apt-get install kubernetes-client, or run make setup")
    environment = dict(os.environ)
    if not environment.get("KUBECONFIG"):
        config = Path(environment.get("PARKUBE_KUBECONFIG") or KUBECONFIG)
        if not any(a.startswith("--kubeconfig") for a in argv) and not os.access(config, os.R_OK):
            raise Usage(f"{config} cannot be read: start `parkube server` first, or run this as root")
        environment["KUBECONFIG"] = str(config)
    os.execve(program, [str(program), *argv], environment)


def token(argv: list[str]) -> int:
    """`parkube token`: the token with which agents join."""
    parser = argparse.ArgumentParser(prog="parkube token", description=token.__doc__)
    parser.add_argument("--data-dir", "-d", default=os.environ.get("PARKUBE_DATA_DIR", "/var/lib/parkube"))
    path = Path(parser.parse_args(argv).data_dir) / "server" / "node-token"
    try:
        print(path.read_text().strip())
    except OSError as exc:
        raise Usage(f"{path} cannot be read ({exc.strerror}): is this the server, and are you root?") from exc
    return 0


def parking(argv: list[str]) -> int:
    """`parkube parking …`: handed on to the parking half."""
    run: Callable[[list[str]], int] = _load("parkube.parking.main", "main")
    return run(argv)


def version(argv: list[str]) -> int:
    """`parkube version`."""
    from importlib import metadata

    try:
        number = metadata.version("parkube")
    except metadata.PackageNotFoundError:  # run from a source tree
        number = "unknown"
    print(f"parkube version {number}")
    return 0


# -- settings ----------------------------------------------------------------------------------------------------------


def settings(
    command: str, flags: Sequence[Flag], argv: Sequence[str], environment: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """The fields that flags, environment and config file set, flags first. Raises `Usage`."""
    missing = _NOT_YET[command]
    parser = _parser(command, flags)
    given = vars(parser.parse_args(argv))
    file = Path(given.pop("config") or environment.get("PARKUBE_CONFIG_FILE") or CONFIG_FILE)
    content = _config_file(file)
    known = {f.name for f in (*_SERVER, *_AGENT)} | {name for names in _NOT_YET.values() for name in names}
    unknown = sorted(set(content) - known)
    if unknown:
        raise Usage(f"{file} has settings that parkube does not know: {', '.join(unknown)}")
    for name, sentence in missing.items():
        if given.pop(name.replace("-", "_")) or content.get(name):
            raise Usage(f"--{name}: {sentence}")
    values: dict[str, Any] = {}
    for flag in flags:
        source: Any = given[flag.name.replace("-", "_")]
        if source is None:
            source = environment.get(flag.variable) or None
            if source is not None and flag.kind == "list":
                source = source.split(",")
        if source is None:
            source = content.get(flag.name)
        if source is not None:
            values[flag.field] = _convert(flag, source)
    path = values.pop("token_file", "")
    if path and (not values.get("token") or (given["token_file"] and not given["token"])):
        try:
            values["token"] = Path(path).read_text().strip()
        except OSError as exc:
            raise Usage(f"the token file {path} cannot be read: {exc.strerror}") from exc
    return values


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Usage(f"{message} (see {self.prog} --help)")


def _parser(command: str, flags: Sequence[Flag]) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"parkube {command}", allow_abbrev=False)
    parser.add_argument("--config", "-c", help=f"config file (default {CONFIG_FILE}) [$PARKUBE_CONFIG_FILE]")
    for flag in flags:
        names = [f"--{flag.name}", *([flag.short] if flag.short else [])]
        text = f"{flag.help} [${flag.variable}]"
        if flag.kind == "bool":
            parser.add_argument(*names, action="store_true", default=None, help=text)
        elif flag.kind == "list":
            parser.add_argument(*names, action="append", default=None, help=text)
        else:
            parser.add_argument(*names, default=None, help=text)
    for name in _NOT_YET[command]:
        if name not in {flag.name for flag in flags}:
            parser.add_argument(f"--{name}", nargs="?", const=True, default=None, help=argparse.SUPPRESS)
    return parser


def _config_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        if str(path) != CONFIG_FILE:
            raise Usage(f"the config file {path} does not exist")
        return {}
    import yaml

    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise Usage(f"the config file {path} cannot be read: {' '.join(str(exc).split())}") from exc
    if not isinstance(content, dict):
        raise Usage(f"the config file {path} must hold settings as `name: value`")
    return content


def _convert(flag: Flag, value: Any) -> Any:
    try:
        if flag.kind == "int":
            return int(value)
        if flag.kind == "mode":
            return int(str(value), 8)
        if flag.kind == "bool":
            return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes")
        if flag.kind == "list":
            return tuple(str(item) for item in (value if isinstance(value, list) else [value]))
        if flag.kind == "range":
            first, last = str(value).split("-")
            return int(first), int(last)
    except ValueError as exc:
        raise Usage(f'--{flag.name}: "{value}" is not valid: {flag.help}') from exc
    return Path(str(value)) if flag.kind == "path" else str(value)


# -- running -----------------------------------------------------------------------------------------------------------


def _log_to_stderr(level: str) -> None:
    import logging

    if level.upper() not in logging.getLevelNamesMapping():
        raise Usage(f'--log-level: "{level}" is none of debug, info, warning, error')
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _load(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as exc:
        raise Usage(f"this installation cannot do that: the Python package {exc.name} is missing") from exc


def _run(start: Callable[[], Coroutine[Any, Any, None]], *, fast: bool) -> int:
    """Run a half to its end; faults at start are its errors whose text is one sentence."""
    loop_factory = None
    if fast:
        import uvloop

        loop_factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(start())
    except KeyboardInterrupt:
        return 0
    except Exception as exc:
        if getattr(exc, "one_sentence", False) or type(exc).__module__.startswith("parkube."):
            return _fail(" ".join(str(exc).split()))
        raise
    return 0


def newest_kubectl() -> Path | None:
    """The kubectl with the highest version among those on PATH, those beside them (a dispatcher keeps its versions
    as `kubectl.1.36`), and the project's `.tools`."""
    tools = Path(__file__).resolve().parents[2] / ".tools"
    found = [Path(d) / "kubectl" for d in os.environ.get("PATH", "").split(os.pathsep) if d]
    first = [p.resolve() for p in found if shutil.which(str(p))]
    beside = [p for program in first for p in sorted(program.parent.glob("kubectl.*")) if _NUMBERED.fullmatch(p.name)]
    unique = list(dict.fromkeys([*beside, *first, *(p.resolve() for p in sorted(tools.glob("**/kubectl")))]))
    if len(unique) <= 1:
        return unique[0] if unique else None
    return max(unique, key=_kubectl_version)


def _kubectl_version(program: Path) -> tuple[int, ...]:
    if _NUMBERED.fullmatch(program.name):  # says it without being run
        return tuple(int(n) for n in re.findall(r"\d+", program.name))
    try:
        output = subprocess.run(
            [program, "version", "--client", "--output=json"], capture_output=True, timeout=20, check=False
        ).stdout
        text = json.loads(output)["clientVersion"]["gitVersion"]
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return (0,)
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


if __name__ == "__main__":
    sys.exit(main())
