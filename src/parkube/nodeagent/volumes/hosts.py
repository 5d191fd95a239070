"""The /etc/hosts of a pod: its own name, and the aliases that its spec gives. On the host's network: the host's, and
the aliases. The comment lines are kubelet's, by which programs know a file that is kept for them."""

from __future__ import annotations

from pathlib import Path

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.model import Mount

_HEAD = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
_HOST = Path("/etc/hosts")


def render(pod: Obj, ip: str, hostname: str, domain: str = "") -> str:
    """The file's text; `domain` is the cluster's, for a pod that has a subdomain."""
    subdomain, names = pod["spec"].get("subdomain"), hostname
    if subdomain and domain:
        names = f"{hostname}.{subdomain}.{pod['metadata']['namespace']}.svc.{domain}\t{hostname}"
    if pod["spec"].get("hostNetwork"):
        text = "# Kubernetes-managed hosts file (host network).\n" + _HOST.read_text()
    else:
        text = _HEAD + (f"{ip}\t{names}\n" if ip else "")
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
    return text + "".join("\t".join((alias["ip"], *(alias.get("hostnames") or ()))) + "\n" for alias in aliases)


def hosts_mount(
    folder: Path, pod: Obj, ip: str, hostname: str, mounts: list[Mount], domain: str = ""
) -> list[Mount]:  # fmt: skip
    """Write the file into the pod's folder; its mount, unless the container brings its own."""
    if any(m.container_path == "/etc/hosts" for m in mounts):
        return []
    path = folder / "etc-hosts"
    text = render(pod, ip, hostname, domain)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        path.chmod(0o644)
    return [Mount("/etc/hosts", str(path))]
