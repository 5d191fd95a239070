"""Makes a key and a certificate signing request in a short-lived child, so that no cryptography stays in the agent."""

from __future__ import annotations

import asyncio
import subprocess
from typing import NamedTuple

from parkube.nodeagent.join.errors import JoinError

_COMMAND = ("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "-")


class KeyAndCsr(NamedTuple):
    """Both PEM."""

    key: bytes
    csr: bytes


async def new_key_and_csr(node: str) -> KeyAndCsr:
    """A fresh P-256 key and a request for `system:node:<node>`. Raises `JoinError` when openssl is missing."""
    subject = f"/O=system:nodes/CN=system:node:{node}"
    try:
        child = await asyncio.create_subprocess_exec(
            *_COMMAND, "-subj", subject, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as exc:
        raise JoinError("openssl is needed to make the node's key: apt-get install openssl") from exc
    output, faults = await child.communicate()
    begin = output.find(b"-----BEGIN CERTIFICATE REQUEST-----")
    if child.returncode or begin < 0:
        last = faults.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise JoinError(f"openssl cannot make the node's key: {last}")
    return KeyAndCsr(output[:begin], output[begin:])
