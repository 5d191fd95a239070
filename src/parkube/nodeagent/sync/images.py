"""Has the images of containers: by pull policy, each image pulled once at a time, in the background."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections.abc import Callable

import orjson

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.backoff import Backoff
from parkube.nodeagent.plan.memory import Memory, Pull, PullState
from parkube.nodeagent.plan.pods import pull_policy
from parkube.nodeagent.runtime.port import ImageFault, Runtime, RuntimeFault

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::\d+)?"
_TAG, _DIGEST = r"\w[\w.-]{0,127}", r"[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(f"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::{_TAG})?(?:@{_DIGEST})?", re.ASCII)
_INSPECT = "InspectFailed"  # the event's reason
_SAID_S = 2.0  # a fault is to be read before the waiting takes its place
Say = Callable[[str, str, str], None]  # (type, reason, message)


class Images:
    """`offline` says whether the API is out of reach: then an image that is there will do for `Always`."""

    def __init__(
        self, runtime: Runtime, clock: Callable[[], float], offline: Callable[[], bool],
        auths: dict[str, dict[str, str]] | None = None,
    ) -> None:  # fmt: skip
        self._runtime, self._clock, self._offline = runtime, clock, offline
        self._auths = auths or {}  # by registry host, from registries.yaml
        self._pulls: dict[str, asyncio.Task[str]] = {}

    async def ensure(self, container: Obj, memory: Memory, secrets: list[Obj], say: Say) -> None:
        """Bring `memory.pulls` of this container to present or failed."""
        name, image, policy = container["name"], str(container.get("image", "")), pull_policy(container)
        before = memory.pulls.get(name)
        memory.pulls[name] = Pull(PullState.PULLING, reason=before.reason if before else "")
        try:
            memory.pulls[name] = Pull(PullState.PRESENT, await self.fetch(image, policy, secrets, say))
        except (ImageFault, RuntimeFault) as fault:
            self._failed(name, image, memory, fault, say)
            return
        memory.pull_backoffs.pop(name, None)

    async def fetch(self, image: str, policy: str, secrets: list[Obj], say: Say) -> str:
        """The id of the image, pulled where the policy demands it. Raises `ImageFault`, `RuntimeFault`."""
        if not _REFERENCE.fullmatch(image):
            lower = ": repository name must be lowercase" if _REFERENCE.fullmatch(image.lower()) else ""
            words = f'couldn\'t parse image name "{image}": invalid reference format{lower}'
            raise ImageFault(f'Failed to apply default image tag "{image}": {words}', "InvalidImageName")
        try:
            present = await self._runtime.image(image)
        except RuntimeFault as fault:
            raise ImageFault(f'Failed to inspect image "{image}": {fault}', "ImageInspectError") from fault
        if present is not None and policy != "Always":
            say("Normal", "Pulled", f'Container image "{image}" already present on machine')
            return present.id
        if policy == "Never":
            raise ImageFault(f'Container image "{image}" is not present with pull policy of Never', "ErrImageNeverPull")
        return await self._pull(image, secrets, say, present.id if present else "")

    def _failed(self, name: str, image: str, memory: Memory, fault: Exception, say: Say) -> None:
        reason = getattr(fault, "reason", "ErrImagePull")
        now = self._clock()
        backoff = memory.pull_backoffs.setdefault(name, Backoff())
        backoff.next(now)
        never = "ErrImageNeverPull"
        said = {never: never, "InvalidImageName": _INSPECT, "ImageInspectError": _INSPECT}.get(reason)
        say("Warning", said or "Failed", str(fault) if said else f'Failed to pull image "{image}": {fault}')
        say("Warning", "Failed", f"Error: {reason}")
        turn = 0.0 if said else now + _SAID_S
        memory.pulls[name] = Pull(PullState.FAILED, "", reason, str(fault), now + backoff.delay, turn)

    def back_off(self, container: Obj, memory: Memory, say: Say) -> None:
        """A pull that failed is waited with: say so in its place, with what it failed on."""
        pull, words = memory.pulls[container["name"]], f'Back-off pulling image "{container.get("image", "")}"'
        pull.message = f"{words}: {pull.reason}: {pull.message}"
        pull.reason, pull.back_off_at = "ImagePullBackOff", 0.0
        say("Normal", "BackOff", words)
        say("Warning", "Failed", "Error: ImagePullBackOff")

    async def _pull(self, image: str, secrets: list[Obj], say: Say, present: str) -> str:
        if image in self._pulls:
            return await asyncio.shield(self._pulls[image])
        say("Normal", "Pulling", f'Pulling image "{image}"')
        begun = self._clock()
        auth = credentials(image, secrets) or self._auths.get(registry_of(image))
        task = self._pulls[image] = asyncio.ensure_future(self._runtime.pull(image, auth))
        task.add_done_callback(lambda _: self._pulls.pop(image, None))
        try:
            image_id = await asyncio.shield(task)
        except ImageFault:
            if present and self._offline():
                say("Normal", "Pulled", f'Container image "{image}" already present on machine; the network is away')
                return present
            raise
        took, info = f"{self._clock() - begun:.3f}s", await self._runtime.image(image_id)
        size = f" Image size: {info.size} bytes." if info else ""
        say("Normal", "Pulled", f'Successfully pulled image "{image}" in {took} ({took} including waiting).{size}')
        return image_id


def registry_of(image: str) -> str:
    """The registry host of an image reference."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def credentials(image: str, secrets: list[Obj]) -> dict[str, str] | None:
    """What the pull secrets hold for this image's registry."""
    host = registry_of(image)
    hosts = {
        host,
        f"https://{host}",
        *({"https://index.docker.io/v1/", "index.docker.io"} if host == "docker.io" else ()),
    }
    for secret in secrets:
        raw = (secret.get("data") or {}).get(".dockerconfigjson")
        if not raw:
            continue
        try:
            auths = orjson.loads(b64decode(raw)).get("auths") or {}
        except (ValueError, AttributeError):
            continue
        for name, auth in auths.items():
            if name.rstrip("/") in hosts:
                if auth.get("auth"):
                    user, _, password = b64decode(auth["auth"]).decode().partition(":")
                    return {"username": user, "password": password}
                return {"username": auth.get("username", ""), "password": auth.get("password", "")}
    return None
