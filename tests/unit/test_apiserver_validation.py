"""`fieldValidation`: what is unknown or named twice is refused, told as a warning, or let pass, as the client asks."""

from __future__ import annotations

import pytest

from tests.fakes.apiserver import Line

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
POD = '"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"x","image":"x"}]}}'
TWICE = (
    '{"metadata":{"name":"d"},"spec":{"unknownField":"foo","replicas":2,"replicas":3,'
    f'"selector":{{"matchLabels":{{"a":"b"}}}},{POD}}}}}'
).encode()
YAML = b"""
data:
  unknown: x
  foo: a
  foo: b
more: 1
"""


async def test_strict_names_all(line: Line) -> None:
    status, refused = await line.ask("POST", DEPLOYMENTS + "?fieldValidation=Strict", TWICE)
    assert (status, refused["reason"]) == (400, "BadRequest")
    assert refused["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.unknownField", duplicate field "spec.replicas"'
    )


async def test_warn_is_the_default_and_the_last_value_counts(line: Line) -> None:
    status, made = await line.ask("POST", DEPLOYMENTS, TWICE)
    assert (status, made["spec"]["replicas"]) == (201, 3)
    assert 'Warning: 299 - "unknown field \\"spec.unknownField\\""' in line.head
    assert 'Warning: 299 - "duplicate field \\"spec.replicas\\""' in line.head


async def test_ignore_says_nothing(line: Line) -> None:
    status, _ = await line.ask("POST", DEPLOYMENTS + "?fieldValidation=Ignore", TWICE)
    assert (status, "Warning" in line.head) == (201, False)


async def test_yaml_by_its_lines(line: Line) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    body = b"metadata: {name: c}" + YAML
    status, refused = await line.ask("POST", path + "?fieldValidation=Strict", body, content_type="application/yaml")
    assert (status, refused["message"].partition("strict decoding error: ")[2]) == (
        400, 'yaml: unmarshal errors:\n  line 5: key "foo" already set in map, unknown field "more"'
    )  # fmt: skip
    query = "/c?fieldManager=x&fieldValidation=Strict"
    kind = "application/apply-patch+yaml"
    status, refused = await line.ask("PATCH", path + query, body, content_type=kind)
    assert (status, refused["message"]) == (
        400,
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n"
        '  line 5: key "foo" already set in map',
    )


@pytest.mark.parametrize("kind", ["application/merge-patch+json", "application/strategic-merge-patch+json"])
async def test_patches_too(line: Line, kind: str) -> None:
    await line.ask("POST", DEPLOYMENTS + "?fieldValidation=Ignore", TWICE)
    patch = b'{"spec":{"replicas":1,"replicas":2,"nothing":1}}'
    status, refused = await line.ask("PATCH", DEPLOYMENTS + "/d?fieldValidation=Strict", patch, content_type=kind)
    assert (status, refused["message"].partition("strict decoding error: ")[2]) == (
        400, 'unknown field "spec.nothing", duplicate field "spec.replicas"'
    )  # fmt: skip
