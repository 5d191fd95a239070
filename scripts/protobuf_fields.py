#!/usr/bin/env python3
"""Makes `apiserver/protobuf/fields.txt` from the published API: `protobuf_fields.py API_GIT APIMACHINERY_GIT`.

Run by hand when the API's version moves; both arguments are git directories of the repositories `kubernetes/api` and
`kubernetes/apimachinery`. Numbers and wire types come from `generated.proto`; JSON names, inlining, and which zero
values JSON leaves out come from the tags in `types.go`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

GROUPS = (
    "core", "apps", "policy", "authentication", "authorization", "rbac", "coordination", "discovery", "certificates",
    "events", "autoscaling",
)  # fmt: skip
ROOTS = {
    "core": ("Namespace", "Node", "Pod", "Service", "Endpoints", "ConfigMap", "Secret", "ServiceAccount", "Event",
             "Binding"),
    "apps": ("Deployment", "ReplicaSet", "DaemonSet", "ControllerRevision"),
    "policy": ("Eviction", "PodDisruptionBudget"),
    "authentication": ("TokenRequest", "TokenReview", "SelfSubjectReview"),
    "authorization": ("SubjectAccessReview", "LocalSubjectAccessReview", "SelfSubjectAccessReview",
                      "SelfSubjectRulesReview"),
    "rbac": ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
    "coordination": ("Lease",), "discovery": ("EndpointSlice",), "certificates": ("CertificateSigningRequest",),
    "events": ("Event",), "autoscaling": ("Scale",), "meta": ("DeleteOptions",),
}  # fmt: skip
MACHINERY = {
    "meta": "pkg/apis/meta/v1", "runtime": "pkg/runtime", "intstr": "pkg/util/intstr", "resource": "pkg/api/resource",
}  # fmt: skip
SCALARS = {"string": "s", "bytes": "y", "bool": "b", "int32": "i", "int64": "i", "double": "d", "uint32": "i"}
FIELD = re.compile(r"^\s+(optional|repeated|map<string, )\s*([\w.]+)>?\s+(\w+) = (\d+);", re.M)
TAG = re.compile(r"^\t(?:\w+\s+)?(\*?)[\[\]\w.*]+\s+`([^`]*)`", re.M)


def show(git: str, path: str) -> str:
    """A file at HEAD; empty when it is not there."""
    return subprocess.run(
        ["git", "-C", git, "show", f"HEAD:{path}"], capture_output=True, text=True, check=False
    ).stdout


def type_name(text: str, short: str) -> str:
    """`core.Pod`, or a scalar's letter."""
    if text in SCALARS:
        return SCALARS[text]
    *package, name = text.lstrip(".").split(".")
    if not package:
        return f"{short}.{name}"
    group = package[-2] if package[-1] == "v1" else package[-1]
    return f"{group}.{name}"


def tags(source: str) -> dict[str, dict[int, tuple[str, bool, bool]]]:
    """Struct -> field number -> (JSON name, is inlined, zero is left out)."""
    found: dict[str, dict[int, tuple[str, bool, bool]]] = {}
    for match in re.finditer(r"^type (\w+) struct \{\n(.*?)^\}", source, re.M | re.S):
        fields = found.setdefault(match[1], {})
        for pointer, tag in TAG.findall(match[2]):
            json, proto = re.search(r'json:"([^"]*)"', tag), re.search(r'protobuf:"\w+,(\d+)', tag)
            if json and proto:
                name, _, rest = json[1].partition(",")
                fields[int(proto[1])] = (name, not name, "omitempty" in rest and not pointer)
    return found


def main(api: str, machinery: str) -> None:
    """Read, follow what the roots refer to, write."""
    places = [(group, api, f"{group}/v1") for group in GROUPS]
    places += [(short, machinery, path) for short, path in MACHINERY.items()]
    messages: dict[str, list[tuple[str, str]]] = {}
    for short, git, path in places:
        proto = show(git, f"{path}/generated.proto")
        known = tags("".join(show(git, f"{path}/{name}.go") for name in ("types", "types_swagger", "micro_time")))
        for match in re.finditer(r"^message (\w+) \{\n(.*?)^\}", proto, re.M | re.S):
            fields = []
            for label, kind, name, number in FIELD.findall(match[2]):
                json, inline, droppable = known.get(match[1], {}).get(int(number), (name, False, True))
                mark = {"optional": "", "repeated": "*", "map<string, ": "%"}[label]
                target = type_name(kind, short)
                flags = ("^" if inline else "") + ("?" if droppable and not mark else "")
                fields.append((f"{json or name}={number}{flags}:{mark}{target}", target))
            messages[f"{short}.{match[1]}"] = fields
    wanted: set[str] = set()
    todo = [f"{group}.{kind}" for group, kinds in ROOTS.items() for kind in kinds]
    while todo:
        name = todo.pop()
        if name not in wanted and name in messages:
            wanted.add(name)
            todo.extend(target for _, target in messages[name])
    lines = [f"{name} {' '.join(text for text, _ in messages[name])}".rstrip() for name in sorted(wanted)]
    out = Path(__file__).parents[1] / "src/parkube/controlplane/apiserver/protobuf/fields.txt"
    out.write_text("\n".join(lines) + "\n")
    print(f"{out}: {len(lines)} messages")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
