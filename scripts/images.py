"""Builds the container images on this machine, from Debian packages and the hashed Python locks; asks no registry.

Each image is an OCI layout in a tar, `build/images/NAME.tar`, which `ctr images import`, the server's mirror
(`server/images`) and the agent's import (`agent/images`) read alike. An image is built again only when what goes into
it changed. Prints a line for each image that it builds. Needs root, mmdebstrap and umoci.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
IMAGES = BUILD / "images"
SLIM = [
    f"--dpkgopt=path-exclude={path}/*"
    for path in ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/info", "/usr/share/i18n")
]  # fmt: skip
NGINX = """\
worker_processes 1;
pid {run}/nginx.pid;
error_log /dev/stderr notice;
events {{ worker_connections 64; }}
http {{
    include /etc/nginx/mime.types;
    access_log /dev/stdout;
    client_body_temp_path {run}/body; proxy_temp_path {run}/proxy; fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi; scgi_temp_path {run}/scgi;
    server {{
        listen {port};
        root /usr/share/nginx/html;
        location / {{ {answer} }}
    }}
}}
"""
PAGE = """\
<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body><h1>Welcome to nginx!</h1><p>If you see this page, the nginx web server is working.</p></body>
</html>
"""


@dataclass(frozen=True)
class Image:
    """What an image is called and made of. `layers` are functions that put a layer's tar at a path."""

    name: str
    ref: str
    inputs: Callable[[], str]  # a text that changes when the image must be built again
    layers: tuple[Callable[[Path], None], ...]
    config: tuple[str, ...]


def run(*command: str | Path) -> None:
    """Run to success, or stop with the command's own last words."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).splitlines()[-5:])
        sys.exit(f"images: {command[0]} failed:\n{tail}")


def debian(*packages: str, variant: str = "essential") -> Callable[[Path], None]:
    """A layer: Debian with these packages. Kept between builds, since it takes the longest."""

    def build(target: Path) -> None:
        name = hashlib.sha256(" ".join((variant, *packages)).encode()).hexdigest()[:12]
        kept = BUILD / "layers" / f"{name}.tar"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(".part.tar")
            run("mmdebstrap", f"--variant={variant}", "--mode=root", *SLIM, '--aptopt=Apt::Install-Recommends "false"',
                f"--include={','.join(packages)}", "bookworm", part)  # fmt: skip
            part.rename(kept)
        os.link(kept, target)

    return build


def tree(fill: Callable[[Path], None]) -> Callable[[Path], None]:
    """A layer: the files that `fill` puts into an empty folder, owned by root, without dates."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if entry.name.endswith((".pyc", "__pycache__")):
            return None
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    def build(target: Path) -> None:
        with tempfile.TemporaryDirectory() as made:
            fill(Path(made))
            with tarfile.open(target, "w") as tar:
                for entry in sorted(Path(made).iterdir()):
                    tar.add(entry, arcname=entry.name, filter=plain)

    return build


def python_layer(lock: str) -> Callable[[Path], None]:
    """A layer: the packages of one lock under /opt/parkube, wheels only, hashes checked."""

    def fill(into: Path) -> None:
        venv = ROOT / ".venv/bin"
        words = [
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--python-version",
            "3.11",
            "--python",
            str(venv / "python"),
        ]
        lock_file = ROOT / f"requirements/{lock}.txt"
        run(venv / "uv", "pip", "install", "--quiet", *words, "--target", into / "opt/parkube", "-r", lock_file)
        shutil.rmtree(into / "opt/parkube/bin", ignore_errors=True)

    return tree(fill)


def own_code(*extra: tuple[str, str]) -> Callable[[Path], None]:
    """A layer: the parking half's source, and further folders as (from, to)."""

    def fill(into: Path) -> None:
        package = into / "opt/parkube/parkube"
        package.mkdir(parents=True)
        for name in ("__init__.py", "cli.py", "py.typed"):
            shutil.copy(ROOT / "src/parkube" / name, package)
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src/parkube/parking", package / "parking", ignore=skip)
        for source, target in extra:
            if (ROOT / source).exists():
                shutil.copytree(ROOT / source, into / target, ignore=skip)

    return tree(fill)


def nginx_files(port: int, state: str, answer: str) -> Callable[[Path], None]:
    """A layer: one server on `port`, its page, and where it keeps its state."""

    def fill(into: Path) -> None:
        for folder in ("etc/nginx", "usr/share/nginx/html", state.strip("/")):
            (into / folder).mkdir(parents=True, exist_ok=True)
        (into / state.strip("/")).chmod(0o1777)
        (into / "etc/nginx/nginx.conf").write_text(NGINX.format(port=port, run=state, answer=answer))
        (into / "usr/share/nginx/html/index.html").write_text(PAGE)

    return tree(fill)


def digest_of(paths: Iterable[str]) -> Callable[[], str]:
    """A text that changes with any byte under these paths."""

    def compute() -> str:
        found = hashlib.sha256()
        for path in paths:
            top = ROOT / path
            files = (
                sorted(p for p in top.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
                if top.is_dir()
                else [top]
            )
            for file in files:
                if file.exists():
                    found.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
        return found.hexdigest()

    return compute


def parkube_image(name: str, lock: str, extra: tuple[tuple[str, str], ...], *command: str) -> Image:
    """An image of the parking half: Debian's Python, one lock, our source."""
    sources = [
        "src/parkube/parking",
        "src/parkube/cli.py",
        f"requirements/{lock}.txt",
        "scripts/images.py",
        *(e[0] for e in extra),
    ]
    return Image(
        name, f"docker.io/parkube/{name}:dev", digest_of(sources),
        (debian("python3", "ca-certificates", "libstdc++6", "tzdata"), python_layer(lock), own_code(*extra)),
        ("--config.env=PYTHONPATH=/opt/parkube", "--config.env=PYTHONDONTWRITEBYTECODE=1",
         "--config.env=PYTHONUNBUFFERED=1", "--config.env=USER=parkube",
         "--config.entrypoint=python3", "--config.entrypoint=-m", "--config.entrypoint=parkube.cli",
         *(f"--config.cmd={word}" for word in command), "--config.user=10001:10001", "--config.workingdir=/"),
    )  # fmt: skip


def nginx_image(name: str, ref: str, port: int, user: str, answer: str = "index index.html;") -> Image:
    """Debian's nginx, in the foreground, logging to the container's own output."""
    return Image(
        name, ref, digest_of(["scripts/images.py"]),
        (debian("nginx-light"), nginx_files(port, "/tmp/nginx", answer)),
        ("--config.entrypoint=nginx", "--config.cmd=-g", "--config.cmd=daemon off;", f"--config.user={user}",
         f"--config.exposedports={port}/tcp", "--config.stopsignal=SIGQUIT"),
    )  # fmt: skip


def all_images() -> tuple[Image, ...]:
    """Every image of the demo and the tutorial."""
    return (
        parkube_image("garage", "gate", (), "parking", "gate"),
        parkube_image("platform", "platform", (("web/dist", "opt/parkube/web"),), "parking", "platform"),
        nginx_image("nginx-unprivileged", "docker.io/nginxinc/nginx-unprivileged:latest", 8080, "101:101"),
        nginx_image("nginx-broken", "docker.io/nginxinc/nginx-unprivileged:broken", 8080, "101:101", "return 500;"),
        nginx_image("nginx", "docker.io/library/nginx:latest", 80, "0:0"),
    )


def build(image: Image) -> None:
    """Lay the layers into an OCI layout with umoci, name it as containerd wants it, and pack it."""
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        layout, tag = Path(scratch) / "layout", image.ref.rpartition(":")[2]
        run("umoci", "init", "--layout", layout)
        run("umoci", "new", "--image", f"{layout}:{tag}")
        for number, layer in enumerate(image.layers):
            path = Path(scratch) / f"{number}.tar"
            layer(path)
            run("umoci", "raw", "add-layer", "--image", f"{layout}:{tag}", path)
        run("umoci", "config", "--image", f"{layout}:{tag}", *image.config)
        run("umoci", "gc", "--layout", layout)
        index = json.loads((layout / "index.json").read_text())
        for manifest in index["manifests"]:
            manifest["annotations"] = {
                "io.containerd.image.name": image.ref,
                "org.opencontainers.image.ref.name": image.ref,
            }
        (layout / "index.json").write_text(json.dumps(index))
        part = IMAGES / f".{image.name}.part"
        with tarfile.open(part, "w") as tar:
            for entry in sorted(layout.iterdir()):
                tar.add(entry, arcname=entry.name)
        part.rename(IMAGES / f"{image.name}.tar")


def main() -> int:
    """Build what is out of date."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for image in all_images():
        stamp, wanted = IMAGES / f".{image.name}.inputs", image.inputs()
        if (IMAGES / f"{image.name}.tar").exists() and stamp.exists() and stamp.read_text() == wanted:
            continue
        began = time.monotonic()
        print(f"setup: building the image {image.ref} ...", end="", flush=True)
        build(image)
        stamp.write_text(wanted)
        print(f" done ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
