"""Images for end-to-end tests, and a registry on this machine that gives one to those who log in."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from parkube.nodeagent.runtime.pause import architecture, oci_image

APPLETS = ("busybox", "sh", "cat", "stty", "sleep", "touch", "echo", "ls", "env", "httpd", "id", "kill", "mkdir", "tar")


def box_tar(name: str) -> bytes:
    """An image of Debian's busybox under the names that tests use."""
    program = Path("/bin/busybox").read_bytes()
    return oci_image(name, {f"bin/{a}": program for a in APPLETS}, architecture(), Env=["PATH=/bin"])


class Registry:
    """Answers `GET /v2/…` for one image, whatever it is called, to `user:secret` alone."""

    def __init__(self, address: str, user: str, secret: str) -> None:
        blobs = {}
        with tarfile.open(fileobj=io.BytesIO(box_tar("any:1"))) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                if file is not None:
                    blobs[member.name] = file.read()
        entry = json.loads(blobs["index.json"])["manifests"][0]
        login = "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked.append(self.path)
                _, _, kind, what = self.path.partition("?")[0].rsplit("/", 3)
                digest = entry["digest"] if kind == "manifests" else what
                body = blobs.get("blobs/" + digest.replace(":", "/"))
                code = 401 if self.headers["Authorization"] != login else 200 if body is not None else 404
                sent = body if body is not None and code == 200 else b""
                self.send_response(code)
                media = entry["mediaType"] if kind == "manifests" else "application/octet-stream"
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(len(sent)))
                self.send_header("Docker-Content-Digest", digest)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(sent)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self.url = f"http://{address}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
