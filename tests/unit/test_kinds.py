"""Strategies of the built-in kinds: defaults, what an update may not do, objects judged with every fault named."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from parkube.controlplane.registry import schemas
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import (
    CLUSTERROLEBINDINGS,
    CONFIGMAPS,
    CSRS,
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTSLICES,
    EVENTS,
    GVR,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    ROLEBINDINGS,
    ROLES,
    SECRETS,
    SERVICES,
)
from parkube.kubeapi.errors import Obj

CATALOGUE = builtin_catalogue()
OLD_DEPLOYMENTS = GVR("extensions", "v1beta1", "deployments")
NEW_EVENTS = GVR("events.k8s.io", "v1", "events")


def row(gvr: GVR) -> Resource:
    found = CATALOGUE.get(gvr)
    assert found is not None
    return found


def made(gvr: GVR, obj: Obj) -> tuple[Obj, list[str]]:
    """As created: defaulted, and its faults as `field: message`."""
    resource, obj = row(gvr), orjson.loads(orjson.dumps({"metadata": {"name": "x"}, **obj}))
    if resource.namespaced:
        obj["metadata"].setdefault("namespace", "default")
    missing = schemas.decode(resource, obj, Context(field_validation="Strict"))
    resource.strategy.default(obj)
    resource.strategy.prepare_create(obj)
    causes = dict.fromkeys([*missing, *resource.strategy.validate(obj, None, "")])
    return obj, [f"{cause.field}: {cause.message}" for cause in causes]


def changed(gvr: GVR, old: Obj, subresource: str = "", **changes: Any) -> tuple[Obj, list[str]]:
    """`old` with other top-level fields, as an update leaves it, and its faults."""
    strategy = row(gvr).strategy
    new = orjson.loads(orjson.dumps({**old, **changes}))
    strategy.default(new)
    strategy.prepare_update(new, old, subresource)
    return new, [f"{cause.field}: {cause.message}" for cause in strategy.validate(new, old, subresource)]


def pod_spec(**container: Any) -> Obj:
    return {"containers": [{"name": "c", "image": "nginx", **container}]}


def workload(spec: Obj | None = None, **more: Any) -> Obj:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": spec or pod_spec()}
    return {"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **more}}


class TestPods:
    def test_documented_defaults(self) -> None:
        spec = pod_spec(
            ports=[{"containerPort": 80}], livenessProbe={"httpGet": {"port": 80}},
            resources={"limits": {"cpu": "1"}},
        )  # fmt: skip
        spec["volumes"] = [{"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}]
        pod, faults = made(PODS, {"spec": spec})
        assert faults == []
        container = pod["spec"]["containers"][0]
        assert container["imagePullPolicy"] == "Always"
        assert container["ports"][0]["protocol"] == "TCP"
        assert container["livenessProbe"] == {
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
        }  # fmt: skip
        assert container["resources"]["requests"] == {"cpu": "1"}
        assert pod["spec"]["volumes"] == [
            {"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "s", "defaultMode": 420}},
        ]  # fmt: skip
        assert pod["spec"]["restartPolicy"] == "Always"
        assert pod["spec"]["terminationGracePeriodSeconds"] == 30
        assert pod["status"] == {"phase": "Pending", "qosClass": "Burstable"}

    @pytest.mark.parametrize(
        ("image", "policy"),
        [("nginx", "Always"), ("h:5000/nginx", "Always"), ("nginx:latest", "Always"),
         ("h:5000/nginx:1", "IfNotPresent"), ("nginx@sha256:ab", "IfNotPresent")],
    )  # fmt: skip
    def test_pull_policy_by_tag(self, image: str, policy: str) -> None:
        assert made(PODS, {"spec": pod_spec(image=image)})[0]["spec"]["containers"][0]["imagePullPolicy"] == policy

    @pytest.mark.parametrize(
        ("resources", "quality"),
        [({}, "BestEffort"), ({"requests": {"cpu": "1"}}, "Burstable"),
         ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
         ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.5"}}, "Burstable")],
    )  # fmt: skip
    def test_quality_of_service(self, resources: Obj, quality: str) -> None:
        assert made(PODS, {"spec": pod_spec(resources=resources)})[0]["status"]["qosClass"] == quality

    def test_all_faults_of_one_pod(self) -> None:
        spec = {
            "containers": [
                {"name": "A"}, {"name": "b", "image": "x", "env": [{"name": "E", "value": "1", "valueFrom": {}}]},
                {"name": "b", "image": "x", "volumeMounts": [{"name": "gone", "mountPath": "/a"}],
                 "livenessProbe": {}, "readinessProbe": {"exec": {}, "tcpSocket": {"port": 1}},
                 "ports": [{"containerPort": 1, "name": "UPPER"}, {"containerPort": 70000}],
                 "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
            ],
            "restartPolicy": "Sometimes",
            "volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}, {"name": "v", "configMap": {}}],
            "tolerations": [{"key": "a", "operator": "Exists", "value": "b"}, {"key": "a", "tolerationSeconds": 1}],
        }  # fmt: skip
        _, faults = made(PODS, {"spec": spec})
        wanted = [
            "spec.containers[0].image: Required value",
            "spec.containers[1].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, "
            "`resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            'spec.containers[2].name: Duplicate value: "b"',
            'spec.containers[2].volumeMounts[0].name: Not found: "gone"',
            "spec.containers[2].livenessProbe: Required value: must specify a handler type",
            "spec.containers[2].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            "spec.containers[2].readinessProbe.exec.command: Required value",
            "spec.containers[2].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            'spec.containers[2].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
            'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            'spec.volumes[1].name: Duplicate value: "v"',
            "spec.volumes[1].configMap.name: Required value",
            "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
            "spec.tolerations[1].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` "
            "is set",
        ]  # fmt: skip
        for line in wanted:
            assert line in faults
        assert any(
            line.startswith('spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label')
            for line in faults
        )
        assert len(faults) == len(set(faults)) == len(wanted) + 3  # and two for the name of the port

    def test_no_spec_at_all(self) -> None:
        assert made(PODS, {})[1] == ["spec.containers: Required value"]

    def test_of_a_spec_only_images_and_a_few_numbers_change(self) -> None:
        pod, _ = made(PODS, {"spec": pod_spec()})
        image = {**pod["spec"], "containers": [{**pod["spec"]["containers"][0], "image": "other:1"}]}
        new, faults = changed(PODS, pod, spec=image)
        assert faults == []
        assert new["metadata"]["generation"] == 2
        _, faults = changed(PODS, pod, spec={**pod["spec"], "nodeName": "n"})
        assert faults[0].startswith("spec: Forbidden: pod updates may not change fields other than")
        added = {**pod["spec"], "tolerations": [{"key": "a", "operator": "Exists"}]}
        assert changed(PODS, pod, spec=added)[1] == []
        removed = changed(PODS, {**pod, "spec": added}, spec=pod["spec"])[1]
        assert removed == [
            "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
        ]

    def test_status_and_spec_are_apart(self) -> None:
        pod, _ = made(PODS, {"spec": pod_spec(), "status": {"phase": "Running"}})
        assert pod["status"]["phase"] == "Pending"
        new, _ = changed(PODS, pod, status={"phase": "Failed"})
        assert new["status"] == pod["status"]
        new, _ = changed(PODS, pod, "status", status={"phase": "Running"}, spec={"containers": []})
        assert new["spec"] == pod["spec"]
        assert new["status"] == {"phase": "Running", "qosClass": "BestEffort"}

    def test_deletion_is_graceful_only_where_an_agent_holds_the_pod(self) -> None:
        strategy = row(PODS).strategy
        pod, _ = made(PODS, {"spec": pod_spec()})
        assert strategy.graceful_delete(pod, {}) is None
        pod["spec"]["nodeName"] = "n"
        assert strategy.graceful_delete(pod, {}) == 30
        assert strategy.graceful_delete(pod, {"gracePeriodSeconds": 5}) == 5
        assert strategy.graceful_delete(pod, {"gracePeriodSeconds": 0}) is None
        pod["status"]["phase"] = "Succeeded"
        assert strategy.graceful_delete(pod, {}) is None


class TestWorkloads:
    def test_defaults(self) -> None:
        spec = made(DEPLOYMENTS, workload())[0]["spec"]
        assert spec["replicas"] == 1
        assert spec["strategy"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
        }
        assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
        assert spec["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Always"
        assert "enableServiceLinks" not in spec["template"]["spec"]
        spec = made(DAEMONSETS, workload())[0]["spec"]
        assert spec["updateStrategy"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
        }

    @pytest.mark.parametrize(
        ("more", "fault"),
        [
            ({"selector": {"matchLabels": {"app": "db"}}},
             'spec.template.metadata.labels: Invalid value: {"app":"web"}: '
             "`selector` does not match template `labels`"),
            ({"selector": {}}, "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
            ({"selector": None}, "spec.selector: Required value"),
            ({"replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
            ({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
             "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"),
            ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
             "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"),
            ({"strategy": {"type": "Bold"}},
             'spec.strategy.type: Unsupported value: "Bold": supported values: "Recreate", "RollingUpdate"'),
            ({"progressDeadlineSeconds": 5, "minReadySeconds": 9},
             "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"),
            ({"template": {"metadata": {"labels": {"app": "web"}}, "spec": {**pod_spec(), "restartPolicy": "Never"}}},
             'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'),
        ],
    )  # fmt: skip
    def test_faults(self, more: Obj, fault: str) -> None:
        assert made(DEPLOYMENTS, workload(**more))[1] == [fault]

    def test_the_selector_stays_and_generation_counts_specs(self) -> None:
        old, _ = made(DEPLOYMENTS, workload())
        other = workload(selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]})
        assert changed(DEPLOYMENTS, old, **other)[1] == [
            'spec.selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"Exists"}]}: field is immutable'
        ]
        same, _ = changed(DEPLOYMENTS, old, metadata={**old["metadata"], "labels": {"a": "b"}})
        assert same["metadata"]["generation"] == 1
        more, _ = changed(DEPLOYMENTS, old, spec={**old["spec"], "replicas": 2})
        assert more["metadata"]["generation"] == 2

    def test_the_old_group_takes_its_selector_from_the_template(self) -> None:
        obj = workload()
        del obj["spec"]["selector"]
        old, faults = made(OLD_DEPLOYMENTS, obj)
        assert faults == []
        assert old["spec"]["selector"] == {"matchLabels": {"app": "web"}}
        resource = row(OLD_DEPLOYMENTS)
        assert resource.to_storage is not None
        assert resource.from_storage is not None
        old["spec"]["rollbackTo"] = {"revision": 3}
        kept = resource.to_storage({**old, "apiVersion": "extensions/v1beta1"})
        assert kept["apiVersion"] == "apps/v1"
        assert "rollbackTo" not in kept["spec"]
        assert resource.from_storage(kept)["spec"] == old["spec"]
        assert "deprecated.deployment.rollback.to" not in resource.from_storage(kept)["metadata"]["annotations"]


class TestServices:
    def test_defaults(self) -> None:
        spec = made(SERVICES, {"spec": {"type": "NodePort", "ports": [{"port": 80}]}})[0]["spec"]
        assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
        assert spec["sessionAffinity"] == "None"
        assert spec["externalTrafficPolicy"] == spec["internalTrafficPolicy"] == "Cluster"
        assert spec["ipFamilies"] == ["IPv4"]

    @pytest.mark.parametrize(
        ("spec", "fault"),
        [
            ({}, "spec.ports: Required value"),
            ({"ports": [{"port": 80, "nodePort": 30000}]},
             "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
            ({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]},
             'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}'),
            ({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80}]},
             "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"),
            ({"type": "ExternalName"}, "spec.externalName: Required value"),
            ({"type": "Odd", "ports": [{"port": 1}]}, 'spec.type: Unsupported value: "Odd": supported values: '
             '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'),
        ],
    )  # fmt: skip
    def test_faults(self, spec: Obj, fault: str) -> None:
        assert made(SERVICES, {"spec": spec})[1] == [fault]

    def test_an_address_stays_and_unused_node_ports_go(self) -> None:
        old, _ = made(SERVICES, {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]}})
        old["spec"]["clusterIP"], old["spec"]["clusterIPs"] = "10.43.0.5", ["10.43.0.5"]
        new, faults = changed(SERVICES, old, spec={**old["spec"], "type": "ClusterIP"})
        assert faults == []
        assert new["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
        assert "externalTrafficPolicy" not in new["spec"]
        moved = {**old["spec"], "clusterIP": "10.43.0.6", "clusterIPs": ["10.43.0.6"]}
        assert changed(SERVICES, old, spec=moved)[1] == [
            'spec.clusterIPs[0]: Invalid value: ["10.43.0.6"]: may not change once set'
        ]


class TestNodesAndLeases:
    def test_a_status_that_only_says_still_here_is_volatile(self) -> None:
        strategy = row(NODES).strategy
        condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
        old = {"metadata": {"name": "n", "resourceVersion": "1"}, "spec": {}, "status": {"conditions": [condition]}}
        later = {**condition, "lastHeartbeatTime": "2026-01-01T00:05:00Z"}
        new = {**old, "metadata": {"name": "n", "resourceVersion": "2"}, "status": {"conditions": [later]}}
        assert strategy.volatile(new, old)
        assert not strategy.volatile({**new, "status": {"conditions": [{**later, "status": "False"}]}}, old)
        assert not strategy.volatile({**new, "spec": {"unschedulable": True}}, old)
        assert not strategy.volatile({**new, "metadata": {"name": "n", "labels": {"a": "b"}}}, old)

    def test_only_renewals_of_nodes_leases_are_volatile(self) -> None:
        strategy = row(LEASES).strategy
        old = {"metadata": {"namespace": "kube-node-lease"}, "spec": {"holderIdentity": "n", "renewTime": "1"}}
        assert strategy.volatile({**old, "spec": {"holderIdentity": "n", "renewTime": "2"}}, old)
        assert not strategy.volatile({**old, "spec": {"holderIdentity": "m", "renewTime": "2"}}, old)
        assert not strategy.volatile({**old, "metadata": {"namespace": "kube-system"}}, old)

    def test_taints(self) -> None:
        master = {"key": "node-role.kubernetes.io/master", "value": "effect", "effect": "NoSchedule"}
        assert made(NODES, {"spec": {"taints": [master]}})[1] == []
        assert made(NODES, {"spec": {"taints": [{"key": "a", "effect": "Never"}, master, master]}})[1] == [
            'spec.taints[0].effect: Unsupported value: "Never": supported values: '
            '"NoExecute", "NoSchedule", "PreferNoSchedule"',
            'spec.taints[2]: Duplicate value: {"effect":"NoSchedule","key":"node-role.kubernetes.io/master",'
            '"value":"effect"}',
        ]


class TestSmallKinds:
    def test_a_namespace_lives_until_it_is_empty(self) -> None:
        strategy = row(NAMESPACES).strategy
        obj, _ = made(NAMESPACES, {})
        assert obj["status"] == {"phase": "Active"}
        assert obj["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
        assert strategy.linger(obj)
        assert obj["status"]["phase"] == "Terminating"
        done, _ = changed(NAMESPACES, obj, "finalize", spec={"finalizers": []}, status={"phase": "Active"})
        assert done["status"]["phase"] == "Terminating"
        assert not strategy.linger(done)
        kept, _ = changed(NAMESPACES, obj, spec={"finalizers": []})
        assert kept["spec"] == obj["spec"]

    def test_secrets_and_config_maps(self) -> None:
        secret, faults = made(SECRETS, {"stringData": {"a": "b"}})
        assert faults == []
        assert (secret["type"], secret["data"]) == ("Opaque", {"a": base64.b64encode(b"b").decode()})
        assert "stringData" not in secret
        assert changed(SECRETS, secret, type="kubernetes.io/tls")[1][-1] == (
            'type: Invalid value: "kubernetes.io/tls": field is immutable'
        )
        frozen, _ = made(CONFIGMAPS, {"immutable": True, "data": {"a": "b"}})
        assert changed(CONFIGMAPS, frozen, data={"a": "c"})[1] == [
            "data: Forbidden: field is immutable when `immutable` is set"
        ]
        big = {"data": {"a": "x" * (1 << 20), "b": "x"}}
        assert made(CONFIGMAPS, big)[1] == [": Too long: may not be more than 1048576 bytes"]

    def test_rbac(self) -> None:
        rules: list[Obj] = [
            {"verbs": [], "resources": ["pods"], "apiGroups": [""]},
            {"verbs": ["get"], "nonResourceURLs": ["/x"]},
        ]
        assert made(ROLES, {"rules": rules})[1] == [
            "rules[0].verbs: Required value: verbs must contain at least one value",
            'rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
        ]
        group = "rbac.authorization.k8s.io"
        binding, faults = made(ROLEBINDINGS, {"roleRef": {"kind": "Role", "name": "r", "apiGroup": group},
                                              "subjects": [{"kind": "User", "name": "jane"}]})  # fmt: skip
        assert faults == []
        assert binding["subjects"][0]["apiGroup"] == group
        moved = {"kind": "Role", "name": "other", "apiGroup": group}
        assert "cannot change roleRef" in changed(ROLEBINDINGS, binding, roleRef=moved)[1][0]
        _, faults = made(CLUSTERROLEBINDINGS, {"roleRef": {"kind": "Role", "name": "r", "apiGroup": group},
                                               "subjects": [{"kind": "ServiceAccount", "name": "s"}]})  # fmt: skip
        assert faults == [
            'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
            "subjects[0].namespace: Required value",
        ]

    def test_certificate_requests_keep_their_request(self) -> None:
        pem = b"-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n"
        spec = {"request": base64.b64encode(pem).decode(), "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
                "usages": ["client auth"]}  # fmt: skip
        csr, faults = made(CSRS, {"spec": spec})
        assert faults == []
        approved = {"conditions": [{"type": "Approved"}], "certificate": "AA=="}
        new, faults = changed(CSRS, csr, "approval", status=approved, spec={})
        assert faults == []
        assert new["spec"] == csr["spec"]
        assert new["status"] == {"conditions": [{"type": "Approved", "status": "True"}]}
        both = {"conditions": [{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]}
        assert "mutually exclusive" in changed(CSRS, new, "approval", status=both)[1][0]
        assert made(CSRS, {"spec": {}})[1] == [
            "spec.request: Required value", "spec.signerName: Required value", "spec.usages: Required value",
        ]  # fmt: skip

    def test_endpoint_slices(self) -> None:
        _, faults = made(
            ENDPOINTSLICES, {"addressType": "IPv4", "endpoints": [{"addresses": ["nowhere"]}], "ports": [{}, {}]}
        )
        assert faults == [
            'endpoints[0].addresses[0]: Invalid value: "nowhere": must be a valid IP address, '
            "(e.g. 10.9.8.7 or 2001:db8::ffff)",
            'ports[1].name: Duplicate value: ""',
        ]

    def test_one_event_in_two_shapes(self) -> None:
        about = {"kind": "Pod", "name": "p", "namespace": "default"}
        event, faults = made(EVENTS, {"involvedObject": about, "message": "Started", "reason": "Started", "count": 2})
        assert faults == []
        resource = row(NEW_EVENTS)
        assert resource.to_storage is not None
        assert resource.from_storage is not None
        new = resource.from_storage(event)
        assert (new["note"], new["regarding"], new["deprecatedCount"]) == ("Started", about, 2)
        assert resource.to_storage(new) == {**event, "apiVersion": "v1"}
        assert made(EVENTS, {"involvedObject": {**about, "namespace": "other"}})[1] == [
            'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
        ]
