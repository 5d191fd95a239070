"""Webhooks and policies: who is asked, what they may change, and what happens when they fail."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from parkube.controlplane.registry.cel import CelError, compiled
from parkube.controlplane.registry.resource import Context, User
from parkube.kubeapi.client import CONFIGMAPS, DEPLOYMENTS, GVR, NAMESPACES, PODS
from parkube.kubeapi.errors import ApiError, Forbidden, InternalError, Invalid, Obj
from tests.fakes.cluster import Cluster, person

GROUP = "admissionregistration.k8s.io"
MUTATING = GVR(GROUP, "v1", "mutatingwebhookconfigurations")
VALIDATING = GVR(GROUP, "v1", "validatingwebhookconfigurations")
RULE = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}


def hook(name: str = "h.example.com", **more: Any) -> Obj:
    return {
        "name": name, "clientConfig": {"url": "https://h.example.com/a"}, "rules": [RULE], "sideEffects": "None",
        "admissionReviewVersions": ["v1"], **more,
    }  # fmt: skip


class Endpoint:
    """Plays the webhook: `answer` makes a response of a request."""

    def __init__(self, cluster: Cluster, answer: Callable[[Obj], Obj]) -> None:
        self.asked: list[Obj] = []
        self._answer = answer
        cluster.access.webhooks.call = self

    async def __call__(self, client: Obj, body: bytes, timeout_s: float) -> bytes:
        review = orjson.loads(body)
        self.asked.append(review["request"])
        response = {"uid": review["request"]["uid"], **self._answer(review["request"])}
        return orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


def patch(*operations: Obj) -> Obj:
    return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(operations)).decode()}


async def test_a_validating_webhook_refuses_and_warns() -> None:
    async with Cluster() as cluster:
        seen = Endpoint(cluster, lambda r: {
            "allowed": r["name"] != "bad", "warnings": ["hm"], "status": {"message": "not this one", "code": 418},
        })  # fmt: skip
        await cluster.create(VALIDATING, "v", webhooks=[hook()])
        context = Context(person("ada", "team"))
        await cluster.create(CONFIGMAPS, "good", "default", context=context)
        assert context.warnings == ["hm"]
        assert seen.asked[0]["userInfo"]["groups"] == ["team", "system:authenticated"]
        assert seen.asked[0]["object"]["metadata"]["name"] == "good"
        with pytest.raises(ApiError) as caught:
            await cluster.create(CONFIGMAPS, "bad", "default")
        assert caught.value.message == 'admission webhook "h.example.com" denied the request: not this one'
        assert caught.value.code == 418
        await cluster.delete(CONFIGMAPS, "good", "default")
        assert (seen.asked[-1]["operation"], seen.asked[-1]["object"]) == ("DELETE", None)
        await cluster.delete(VALIDATING, "v")
        await cluster.create(CONFIGMAPS, "bad", "default")


async def test_what_a_mutating_webhook_patches_is_pruned_and_defaulted() -> None:
    async with Cluster() as cluster:
        container = {"name": "more", "image": "busybox"}
        Endpoint(cluster, lambda r: patch({"op": "add", "path": "/spec/initContainers", "value": [container]}))
        rule = {**RULE, "resources": ["pods"], "operations": ["CREATE"]}
        await cluster.create(MUTATING, "m", webhooks=[hook(rules=[rule])])
        pod = await cluster.pod("web")
        assert pod["spec"]["initContainers"][0]["terminationMessagePolicy"] == "File"


async def test_webhooks_are_asked_again_when_a_later_one_changed_the_object() -> None:
    async with Cluster() as cluster:

        def answer(request: Obj) -> Obj:
            data = request["object"].get("data") or {}
            if "first" in data and "second" not in data:
                return patch({"op": "add", "path": "/data/second", "value": "yes"})
            return (
                patch({"op": "add", "path": "/data/third", "value": "yes"}) if "second" in data else {"allowed": True}
            )

        seen = Endpoint(cluster, answer)
        hooks = [hook("a.example.com", reinvocationPolicy="IfNeeded"), hook("b.example.com")]
        await cluster.create(MUTATING, "m", webhooks=hooks)
        made = await cluster.create(CONFIGMAPS, "c", "default", data={"first": "yes"})
        assert made["data"] == {"first": "yes", "second": "yes", "third": "yes"}
        assert len(seen.asked) == 3


async def test_selectors_conditions_and_scopes_decide_who_is_asked() -> None:
    async with Cluster() as cluster:
        seen = Endpoint(cluster, lambda r: {"allowed": False})
        await cluster.create(NAMESPACES, "other", metadata={"labels": {"on": "yes"}})
        await cluster.create(VALIDATING, "v", webhooks=[hook(
            namespaceSelector={"matchLabels": {"on": "yes"}},
            objectSelector={"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]},
            matchConditions=[{"name": "big", "expression": "size(object.data) > 1"}],
        )])  # fmt: skip
        two = {"a": "1", "b": "2"}
        await cluster.create(CONFIGMAPS, "a", "default", data=two)
        await cluster.create(CONFIGMAPS, "b", "other", data=two, metadata={"labels": {"skip": "1"}})
        await cluster.create(CONFIGMAPS, "c", "other", data={"a": "1"})
        assert not seen.asked
        with pytest.raises(ApiError, match="denied the request without explanation"):
            await cluster.create(CONFIGMAPS, "d", "other", data=two)


async def test_a_webhook_that_hangs_is_cut_and_its_policy_decides() -> None:
    async with Cluster() as cluster:

        async def hang(client: Obj, body: bytes, timeout_s: float) -> bytes:
            raise TimeoutError

        cluster.access.webhooks.call = hang
        await cluster.create(VALIDATING, "v", webhooks=[hook(timeoutSeconds=1)])
        with pytest.raises(InternalError, match=r'failed calling webhook "h.example.com": .*context deadline exceeded'):
            await cluster.create(CONFIGMAPS, "c", "default")
        await cluster.change(VALIDATING, "v", webhooks=[hook(timeoutSeconds=1, failurePolicy="Ignore")])
        await cluster.create(CONFIGMAPS, "c", "default")


async def test_what_configures_admission_is_not_held_up_and_must_compile() -> None:
    async with Cluster() as cluster:
        seen = Endpoint(cluster, lambda r: {"allowed": False})
        everything = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
        await cluster.create(VALIDATING, "all", webhooks=[hook(rules=[everything])])
        await cluster.create(MUTATING, "m", webhooks=[hook()])
        await cluster.delete(VALIDATING, "all")
        assert not seen.asked
        with pytest.raises(Invalid, match=r"matchConditions\[0\].expression: .*compilation failed"):
            await cluster.create(
                VALIDATING, "w", webhooks=[hook(matchConditions=[{"name": "x", "expression": "a ||"}])]
            )


async def test_a_stream_may_be_refused() -> None:
    async with Cluster() as cluster:
        await cluster.pod("web")
        Endpoint(cluster, lambda r: {"allowed": r["operation"] != "CONNECT", "status": {"message": "no"}})
        await cluster.create(VALIDATING, "v", webhooks=[hook(rules=[{**RULE, "resources": ["pods/attach"]}])])
        with pytest.raises(ApiError, match="denied the request: no"):
            await cluster.registry.connect(cluster.row(PODS), "default", "web", {}, Context(), "attach")
        await cluster.registry.connect(cluster.row(PODS), "default", "web", {}, Context(), "exec")


DEPLOYS = {"resourceRules": [
    {"operations": ["CREATE", "UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
]}  # fmt: skip


def deployment(replicas: int) -> Obj:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "nginx"}]}}
    return {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}


async def policy(cluster: Cluster, kind: str, spec: Obj, **binding: Any) -> None:
    await cluster.create(GVR(GROUP, "v1", f"{kind}admissionpolicies"), "p", spec={"matchConstraints": DEPLOYS, **spec})
    bound = {"policyName": "p", **binding}
    await cluster.create(GVR(GROUP, "v1", f"{kind}admissionpolicybindings"), "b", spec=bound)


async def test_a_validating_policy_judges_with_variables_and_parameters() -> None:
    async with Cluster() as cluster:
        await cluster.create(CONFIGMAPS, "limits", "default", data={"most": "3"})
        await policy(
            cluster, "validating",
            {
                "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
                "variables": [{"name": "most", "expression": "int(params.data.most)"}],
                "validations": [{
                    "expression": "object.spec.replicas <= variables.most", "reason": "Forbidden",
                    "messageExpression": "'at most ' + string(variables.most)",
                }],
            },
            paramRef={"name": "limits", "parameterNotFoundAction": "Deny"}, validationActions=["Deny"],
        )  # fmt: skip
        await cluster.create(DEPLOYMENTS, "small", "default", spec=deployment(3))
        with pytest.raises(Forbidden) as caught:
            await cluster.create(DEPLOYMENTS, "large", "default", spec=deployment(4))
        assert caught.value.message == (
            "deployments.apps \"large\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "
            "at most 3"
        )
        await cluster.delete(CONFIGMAPS, "limits", "default")
        with pytest.raises(Forbidden, match="no params found"):
            await cluster.create(DEPLOYMENTS, "none", "default", spec=deployment(1))


async def test_expressions_may_ask_what_the_user_may_do() -> None:
    async with Cluster() as cluster:
        boss = User("boss", ("system:masters",))
        seen = Endpoint(cluster, lambda r: {"allowed": True})
        not_for_masters = "!authorizer.requestResource.check('breakglass').allowed()"
        conditions = [{"name": "c", "expression": not_for_masters}]
        await cluster.create(VALIDATING, "v", webhooks=[hook(matchConditions=conditions)])
        await cluster.create(CONFIGMAPS, "a", "default", user=boss)
        assert not seen.asked
        await cluster.create(CONFIGMAPS, "b", "default", user=person("ada"))
        assert len(seen.asked) == 1
        check = "authorizer.group('apps').resource('deployments').subresource('scale').namespace('x').check('update')"
        account = "authorizer.serviceAccount('default', 'sa').path('/metrics').check('get')"
        rule = f"{check}.allowed() && !{check}.errored() && !{account}.allowed() && {account}.reason() == ''"
        spec = {"validations": [{"expression": rule, "message": "may not scale"}]}
        await policy(cluster, "validating", spec, validationActions=["Deny"])
        await cluster.create(DEPLOYMENTS, "d1", "default", user=boss, spec=deployment(1))
        with pytest.raises(ApiError, match="may not scale"):
            await cluster.create(DEPLOYMENTS, "d2", "default", user=person("ada"), spec=deployment(1))


async def test_a_policy_may_only_warn() -> None:
    async with Cluster() as cluster:
        check = {"expression": "object.spec.replicas > 1"}
        await policy(cluster, "validating", {"validations": [check]}, validationActions=["Warn", "Audit"])
        context = Context()
        await cluster.create(DEPLOYMENTS, "one", "default", spec=deployment(1), context=context)
        assert context.warnings == [
            "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': failed expression: "
            "object.spec.replicas > 1"
        ]


@pytest.mark.parametrize(
    "mutation",
    [
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
            "Object{metadata: Object.metadata{labels: {'a/b': 'yes'}}, spec: Object.spec{replicas: 7}}"}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression":
            "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'a/b': 'yes'}}, "
            "JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 6}]"}},
    ],
)  # fmt: skip
async def test_a_mutating_policy_changes_what_is_written(mutation: Obj) -> None:
    async with Cluster() as cluster:
        await policy(cluster, "mutating", {"mutations": [mutation], "failurePolicy": "Fail"})
        made = await cluster.create(DEPLOYMENTS, "web", "default", spec=deployment(1))
        assert (made["spec"]["replicas"], made["metadata"]["labels"]) == (7, {"a/b": "yes"})
        assert made["spec"]["template"]["spec"]["containers"][0]["name"] == "app"


@pytest.mark.parametrize(
    "expression",
    [
        "quantity('1Gi').isGreaterThan(quantity('2')) && quantity('1').add(quantity('500m')) == quantity('1500m')",
        "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.1.1') && !isIP('x')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "url('https://a.b:80/c?d=1').getHostname() == 'a.b' && isURL('/x')",
        "'abc123'.find('[0-9]+') == '123' && [1, 2, 3].sum() == 6 && [3, 1].max() == 3 && [1, 2].isSorted()",
        "self.?labels['a'].orValue('z') == 'z' && sets.contains([1, 2], [1])",
        "format.dns1123Label().validate('web') == [] && size(format.dns1123Label().validate('A b')) == 1",
    ],
)
def test_kubernetes_own_functions_of_cel(expression: str) -> None:
    assert compiled(expression, ("self",)).holds({"self": {}})


@pytest.mark.parametrize("expression", ["self ||", "nope == 1", "'a' == 1"])
def test_what_does_not_compile_is_said(expression: str) -> None:
    with pytest.raises(CelError):
        compiled(expression, ("self",))
