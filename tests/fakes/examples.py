"""A small object of every kind that the API serves, as a client would write it. Data; names come from the test."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from parkube.kubeapi.errors import Obj


def request(name: str) -> str:
    """A certificate request (PKCS #10) of CN=`name`, in base64 of PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


CONTAINER: Obj = {"name": "app", "image": "registry.example/app:1"}
LABELS: Mapping[str, str] = {"app": "a"}
TEMPLATE: Obj = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
ENDING: Obj = {"metadata": {"labels": LABELS}, "spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}
SELECTED: Obj = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
SUBJECTS = [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ada"}]
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
MATCHING: Obj = {
    "resourceRules": [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE"]}
    ]
}
CLAIMED: Obj = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
SCALED: Obj = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "maxReplicas": 3}
DEVICES: Obj = {"devices": {"requests": [{"name": "gate", "exactly": {"deviceClassName": "relay.example.com"}}]}}
HOOK: Obj = {
    "name": "judge.example.com",
    "clientConfig": {"url": "https://judge.example.com/"},
    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
    "admissionReviewVersions": ["v1"],
    "sideEffects": "None",
}
HAPPENED: Obj = {"involvedObject": {"kind": "Pod", "namespace": "default", "name": "a"}, "reason": "Opened", "count": 1}

EXAMPLES: Mapping[tuple[str, str], Obj] = {
    ("v1", "Namespace"): {},
    ("v1", "ConfigMap"): {"data": {"k": "v"}},
    ("v1", "Secret"): {"stringData": {"k": "v"}},
    ("v1", "ServiceAccount"): {},
    ("v1", "Node"): {},
    ("v1", "Pod"): {"spec": {"containers": [CONTAINER]}},
    ("v1", "Service"): {"spec": {"selector": LABELS, "ports": [{"port": 80}]}},
    ("v1", "Endpoints"): {"subsets": [{"addresses": [{"ip": "10.9.9.9"}], "ports": [{"port": 80}]}]},
    ("v1", "PersistentVolumeClaim"): {"spec": CLAIMED},
    ("v1", "PersistentVolume"): {
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/srv/a"}}
    },
    ("v1", "ReplicationController"): {"spec": {"selector": LABELS, "template": TEMPLATE}},
    ("v1", "PodTemplate"): {"template": TEMPLATE},
    ("v1", "LimitRange"): {"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}},
    ("v1", "ResourceQuota"): {"spec": {"hard": {"pods": "9"}}},
    ("v1", "Event"): HAPPENED,
    ("events.k8s.io/v1", "Event"): {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/gate",
        "reportingInstance": "gate-1",
        "action": "Open",
        "reason": "Opened",
        "type": "Normal",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "a"},
    },
    ("apps/v1", "ControllerRevision"): {"revision": 1, "data": {"spec": {}}},
    ("apps/v1", "DaemonSet"): {"spec": SELECTED},
    ("apps/v1", "Deployment"): {"spec": SELECTED},
    ("extensions/v1beta1", "Deployment"): {"spec": SELECTED},
    ("apps/v1", "ReplicaSet"): {"spec": SELECTED},
    ("apps/v1", "StatefulSet"): {"spec": {**SELECTED, "serviceName": "a"}},
    ("autoscaling/v1", "HorizontalPodAutoscaler"): {"spec": SCALED},
    ("autoscaling/v2", "HorizontalPodAutoscaler"): {"spec": SCALED},
    ("batch/v1", "Job"): {"spec": {"template": ENDING}},
    ("batch/v1", "CronJob"): {"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": ENDING}}}},
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): {
        "spec": {"request": request("ada"), "signerName": "example.com/gates", "usages": ["client auth"]}
    },
    ("networking.k8s.io/v1", "IngressClass"): {"spec": {"controller": "example.com/door"}},
    ("networking.k8s.io/v1", "Ingress"): {
        "spec": {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}}
    },
    ("networking.k8s.io/v1", "IPAddress"): {
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "a"}}
    },
    ("networking.k8s.io/v1", "NetworkPolicy"): {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
    ("networking.k8s.io/v1", "ServiceCIDR"): {"spec": {"cidrs": ["10.77.0.0/24"]}},
    ("policy/v1", "PodDisruptionBudget"): {"spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}}},
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): {"rules": RULES},
    ("rbac.authorization.k8s.io/v1", "Role"): {"rules": RULES},
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): {
        "subjects": SUBJECTS,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    },
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): {
        "subjects": SUBJECTS,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    },
    ("storage.k8s.io/v1", "CSIDriver"): {"spec": {"attachRequired": False}},
    ("storage.k8s.io/v1", "CSINode"): {"spec": {"drivers": [{"name": "d.example.com", "nodeID": "n1"}]}},
    ("storage.k8s.io/v1", "CSIStorageCapacity"): {"storageClassName": "fast", "capacity": "10Gi"},
    ("storage.k8s.io/v1", "StorageClass"): {"provisioner": "d.example.com"},
    ("storage.k8s.io/v1", "VolumeAttachment"): {
        "spec": {"attacher": "d.example.com", "nodeName": "n1", "source": {"persistentVolumeName": "a"}}
    },
    ("storage.k8s.io/v1", "VolumeAttributesClass"): {"driverName": "d.example.com", "parameters": {"iops": "9"}},
    ("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy"): {
        "spec": {
            "matchConstraints": MATCHING,
            "reinvocationPolicy": "Never",
            "mutations": [
                {"patchType": "JSONPatch", "jsonPatch": {"expression": '[JSONPatch{op: "remove", path: "/spec/x"}]'}}
            ],
        }
    },
    ("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding"): {"spec": {"policyName": "a"}},
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"): {"webhooks": [HOOK]},
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"): {
        "spec": {"matchConstraints": MATCHING, "validations": [{"expression": "object.spec.replicas < 9"}]}
    },
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"): {
        "spec": {"policyName": "a", "validationActions": ["Deny"]}
    },
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"): {"webhooks": [HOOK]},
    ("apiregistration.k8s.io/v1", "APIService"): {
        "spec": {
            "group": "example.com",
            "version": "v1",
            "groupPriorityMinimum": 1000,
            "versionPriority": 10,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": "default", "name": "a"},
        }
    },
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): {
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "gates", "kind": "Gate"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        }
    },
    ("scheduling.k8s.io/v1", "PriorityClass"): {"value": 7},
    ("node.k8s.io/v1", "RuntimeClass"): {"handler": "runc"},
    ("coordination.k8s.io/v1", "Lease"): {"spec": {"holderIdentity": "ada", "leaseDurationSeconds": 40}},
    ("discovery.k8s.io/v1", "EndpointSlice"): {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.9.9.9"]}],
        "ports": [{"port": 80}],
    },
    ("resource.k8s.io/v1", "DeviceClass"): {
        "spec": {"selectors": [{"cel": {"expression": 'device.driver == "relay.example.com"'}}]}
    },
    ("resource.k8s.io/v1", "ResourceClaim"): {"spec": DEVICES},
    ("resource.k8s.io/v1", "ResourceClaimTemplate"): {"spec": {"spec": DEVICES}},
    ("resource.k8s.io/v1", "ResourceSlice"): {
        "spec": {
            "driver": "relay.example.com",
            "nodeName": "n1",
            "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "gate-1"}],
        }
    },
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"): {
        "spec": {
            "priorityLevelConfiguration": {"name": "global-default"},
            "matchingPrecedence": 900,
            "rules": [
                {
                    "subjects": [{"kind": "User", "user": {"name": "ada"}}],
                    "resourceRules": [
                        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]},
                    ],
                }
            ],
        }
    },
    ("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration"): {
        "spec": {
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}},
        }
    },
}
NAMES: Mapping[str, str] = {  # where a name must be more than a word
    "APIService": "v1.example.com",
    "CustomResourceDefinition": "gates.example.com",
    "CSIDriver": "d.example.com",
    "IPAddress": "10.43.0.77",
}
