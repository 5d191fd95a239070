"""The conversion webhook of a definition: what it is asked, and what its answer may change.

It changes neither names nor anything else of metadata but labels and annotations. How it is reached is not known here.
Source: Kubernetes documentation, "Versions in CustomResourceDefinitions", Webhook conversion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.kinds.admission import client_faults
from parkube.kubeapi.errors import ApiError, Cause, InternalError, Obj
from parkube.kubeapi.objects import copy

Call = Callable[[Obj, bytes, float], Awaitable[bytes]]
"""(clientConfig, body, timeout_s) -> the body of the answer. Raises OSError, TimeoutError, ApiError, ValueError."""
REVIEWS = ("v1", "v1beta1")
_TIMEOUT_S = 30.0
_GROUP = "apiextensions.k8s.io"


class WebhookConverter:
    """See `registry.resource.Converter`."""

    def __init__(self, conversion: Obj, call: Call | None, new_id: Callable[[], str]) -> None:
        webhook = conversion["webhook"]
        self._client: Obj = webhook["clientConfig"]
        known = [version for version in webhook["conversionReviewVersions"] if version in REVIEWS]
        self._review = f"{_GROUP}/{known[0]}"
        self._call, self._new_id = call, new_id

    async def convert(self, objects: list[Obj], api_version: str) -> list[Obj]:
        """The objects in that version. Raises InternalError."""
        if all(obj["apiVersion"] == api_version for obj in objects):
            return objects
        group, _, version = objects[0]["apiVersion"].partition("/")
        about = f"conversion webhook for {group}/{version}, Kind={objects[0]['kind']}"
        try:
            answers = await self._ask(objects, api_version)
        except (OSError, ValueError, ApiError, TimeoutError) as error:
            why = "context deadline exceeded" if isinstance(error, TimeoutError) else str(error)
            raise InternalError(f"{about} failed: {why}") from error
        if len(answers) != len(objects):
            raise InternalError(f"{about} returned {len(answers)} objects, expected {len(objects)}")
        found = []
        for at, (obj, answer) in enumerate(zip(objects, answers, strict=True)):
            try:
                found.append(_accepted(obj, answer, api_version))
            except ValueError as error:
                raise InternalError(f"{about} returned invalid converted object at index {at}: {error}") from error
        return found

    async def _ask(self, objects: list[Obj], api_version: str) -> list[Any]:
        if self._call is None:
            raise OSError("webhooks are not reachable from here")
        uid = self._new_id()
        request = {"uid": uid, "desiredAPIVersion": api_version, "objects": objects}
        body = orjson.dumps({"apiVersion": self._review, "kind": "ConversionReview", "request": request})
        async with asyncio.timeout(_TIMEOUT_S):
            answer = orjson.loads(await self._call(self._client, body, _TIMEOUT_S))
        said: Any = answer if isinstance(answer, dict) else {}
        if (said.get("apiVersion"), said.get("kind")) != (self._review, "ConversionReview"):
            raise ValueError(f"expected webhook response of {self._review}, Kind=ConversionReview")
        response = said.get("response")
        if not isinstance(response, dict):
            raise ValueError("no response provided")
        if response.get("uid") != uid and self._review.endswith("/v1"):
            raise ValueError(f'expected response.uid="{uid}", got "{response.get("uid")}"')
        result = response.get("result") or {}
        if result.get("status") != "Success":
            text = f"response.result.status was '{result.get('status') or ''}', not 'Success'"
            raise ValueError(result.get("message") or text)
        return response.get("convertedObjects") or []


def _accepted(obj: Obj, answer: Any, api_version: str) -> Obj:
    """The answer, with the metadata that it may not change put back. Raises ValueError."""
    if not isinstance(answer, dict):
        raise ValueError("it is not an object")
    if answer.get("apiVersion") != api_version:
        raise ValueError(f"invalid groupVersion (expected {api_version}, received {answer.get('apiVersion')})")
    if answer.get("kind") != obj["kind"]:
        raise ValueError(f"invalid kind (expected {obj['kind']}, received {answer.get('kind')})")
    new, old = answer.get("metadata"), obj["metadata"]
    if not isinstance(new, dict):
        raise ValueError("missing metadata in converted object")
    for key, word in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        if (new.get(key) or "") != (old.get(key) or ""):
            raise ValueError(f"must have the same {word}: {old.get(key) or ''} != {new.get(key) or ''}")
    metadata = copy(old)
    for key in ("labels", "annotations"):
        metadata.pop(key, None)
        if new.get(key) is not None:
            metadata[key] = _strings(new[key], key)
    return {**answer, "metadata": metadata}


def _strings(value: Any, key: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"invalid metadata.{key} in converted object")
    for name, text in value.items():
        if not isinstance(text, str):
            raise ValueError(f"metadata.{key}[{name}] must be a string in converted object")
    return value


def conversion_faults(conversion: Obj, path: str) -> list[Cause]:
    """What is wrong with `spec.conversion`."""
    strategy, webhook = conversion.get("strategy") or "None", conversion.get("webhook") or {}
    client, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    at_client, at_reviews = f"{path}.webhookClientConfig", f"{path}.conversionReviewVersions"
    if strategy not in ("None", "Webhook"):
        return [faults.unsupported(f"{path}.strategy", strategy, ("None", "Webhook"))]
    if strategy == "None":
        text = "should not be set when strategy is not set to Webhook"
        return [faults.forbidden(at, text) for at, set_ in ((at_client, client), (at_reviews, reviews)) if set_]
    found: list[Cause] = []
    if client is None:
        found.append(faults.required(at_client, "required when strategy is set to Webhook"))
    else:
        found += client_faults(client, at_client)
    if not reviews:
        found.append(faults.required(at_reviews))
    elif not any(version in REVIEWS for version in reviews):
        words = f"must include at least one of {', '.join(REVIEWS)}"
        found.append(faults.invalid(at_reviews, reviews, words))
    return found
