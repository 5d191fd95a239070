#!/usr/bin/env python3
"""Makes `apiserver/protobuf/fields.txt` from the published API: `protobuf_fields.py FOLDER`.

Run by hand when the API's version moves; FOLDER holds checkouts of the repositories `kubernetes/api`,
`kubernetes/apimachinery`, `kubernetes/apiextensions-apiserver` and `kubernetes/kube-aggregator` under their names.
Numbers and wire types come from `generated.proto`; JSON names, inlining, and which zero values JSON leaves out come
from the tags in `types.go`. Messages of v1 are named `group.Kind`, those of other versions `group/version.Kind`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

GROUPS = (
    "admissionregistration", "apps", "authentication", "authorization", "autoscaling", "batch", "certificates",
    "coordination", "core", "discovery", "events", "flowcontrol", "networking", "node", "policy", "rbac", "resource",
    "scheduling", "storage",
)  # fmt: skip
PLACES = {f"api/{group}/v1": group for group in GROUPS} | {
    "api/autoscaling/v2": "autoscaling/v2",
    "apimachinery/pkg/apis/meta/v1": "meta",
    "apimachinery/pkg/runtime": "runtime",
    "apimachinery/pkg/util/intstr": "intstr",
    "apimachinery/pkg/api/resource": "resource",
    "apiextensions-apiserver/pkg/apis/apiextensions/v1": "apiextensions",
    "kube-aggregator/pkg/apis/apiregistration/v1": "apiregistration",
}
SCALARS = {"string": "s", "bytes": "y", "bool": "b", "int32": "i", "int64": "i", "double": "d", "uint32": "i"}
FIELD = re.compile(r"^\s+(optional|repeated|map<string, )\s*([\w.]+)>?\s+(\w+) = (\d+);", re.M)
TAG = re.compile(r"^\t(?:\w+\s+)?(\*?)[\[\]\w.*]+\s+`([^`]*)`", re.M)


def type_name(text: str, short: str) -> str:
    """`core.Pod`, or a scalar's letter."""
    if text in SCALARS:
        return SCALARS[text]
    *package, name = text.lstrip(".").split(".")
    if not package:
        return f"{short}.{name}"
    if re.fullmatch(r"v\d+(alpha\d+|beta\d+)?", package[-1]):
        return f"{package[-2]}.{name}" if package[-1] == "v1" else f"{package[-2]}/{package[-1]}.{name}"
    return f"{package[-1]}.{name}"


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


def messages(folder: Path, short: str) -> dict[str, str]:
    """Message -> its line, of one package."""
    known = tags("".join(path.read_text() for path in sorted(folder.glob("*.go")) if "_test" not in path.name))
    found = {}
    for match in re.finditer(r"^message (\w+) \{\n(.*?)^\}", (folder / "generated.proto").read_text(), re.M | re.S):
        fields = []
        for label, kind, name, number in FIELD.findall(match[2]):
            json, inline, droppable = known.get(match[1], {}).get(int(number), (name, False, True))
            mark = {"optional": "", "repeated": "*", "map<string, ": "%"}[label]
            flags = ("^" if inline else "") + ("?" if droppable and not mark else "")
            fields.append(f"{json or name}={number}{flags}:{mark}{type_name(kind, short)}")
        found[f"{short}.{match[1]}"] = " ".join(fields)
    return found


def main(folder: Path) -> None:
    """Read all, write one file."""
    found: dict[str, str] = {}
    for place, short in PLACES.items():
        found.update(messages(folder / place, short))
    out = Path(__file__).parents[1] / "src/parkube/controlplane/apiserver/protobuf/fields.txt"
    out.write_text("".join(f"{name} {found[name]}".rstrip() + "\n" for name in sorted(found)))
    print(f"{out}: {len(found)} messages")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
