"""What a pod's requests and limits mean for its cgroups, its QoS class and its place before the OOM killer. Pure.

Source: Kubernetes documentation, "Node-pressure Eviction" (oom_score_adj) and "Pod Quality of Service Classes".
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from parkube.kubeapi.errors import Obj

CPU_PERIOD_US = 100_000
_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(1 << 10), "Mi": Decimal(1 << 20), "Gi": Decimal(1 << 30), "Ti": Decimal(1 << 40),
    "Pi": Decimal(1 << 50), "Ei": Decimal(1 << 60),
}  # fmt: skip


def amount(quantity: object) -> Decimal:
    """A quantity as a number; 0 for what is none (the API has validated it)."""
    text = str(quantity or "0")
    digits = text.rstrip("numkKMGTPEi")
    try:
        return Decimal(digits) * _SUFFIXES[text[len(digits) :]]
    except (InvalidOperation, KeyError):
        try:
            return Decimal(text)
        except InvalidOperation:
            return Decimal(0)


def cpu_millis(container: Obj, kind: str) -> int:
    """Requests or limits of CPU, in thousandths of a core; 0: none."""
    return int(amount(_resources(container, kind).get("cpu")) * 1000)


def memory_bytes(container: Obj, kind: str) -> int:
    """Requests or limits of memory; 0: none."""
    return int(amount(_resources(container, kind).get("memory")))


def _resources(container: Obj, kind: str) -> Obj:
    resources = container.get("resources") or {}
    found = dict(resources.get(kind) or {})
    if kind == "requests":
        for name, value in (resources.get("limits") or {}).items():
            found.setdefault(name, value)
    return found


def pod_requests(pod: Obj) -> dict[str, Decimal]:
    """What a pod takes of its node: its containers beside its sidecars, or more while an init container runs; and its
    overhead. Requests of the pod as a whole stand in for its containers'."""
    spec = pod["spec"]
    main: dict[str, Decimal] = {}
    for container in spec.get("containers") or ():
        _add(main, _resources(container, "requests"))
    beside: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    for container in spec.get("initContainers") or ():
        now = dict(beside)
        _add(now, _resources(container, "requests"))
        if container.get("restartPolicy") == "Always":
            beside = now
        peak = {name: max(now.get(name, Decimal(0)), peak.get(name, Decimal(0))) for name in {*now, *peak}}
    _add(main, beside)
    total = {name: max(main.get(name, Decimal(0)), peak.get(name, Decimal(0))) for name in {*main, *peak}}
    total |= {name: amount(value) for name, value in _resources(spec, "requests").items()}
    _add(total, spec.get("overhead") or {})
    return total


def _add(total: dict[str, Decimal], more: Obj | dict[str, Decimal]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, Decimal(0)) + amount(value)


def cpu_shares(millis: int) -> int:
    """cgroup's cpu.shares for a request."""
    return max(2, min(millis * 1024 // 1000, 262144))


def cpu_quota(millis: int) -> int:
    """Microseconds of CPU a period for a limit; 0: no limit."""
    return max(millis * CPU_PERIOD_US // 1000, 1000) if millis else 0


def qos_class(pod: Obj) -> str:
    """Guaranteed, Burstable or BestEffort."""
    spec = pod["spec"]
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    if spec.get("resources"):  # those of the pod as a whole stand in for its containers'
        containers = [spec]
    asked = guaranteed = False
    if containers:
        guaranteed = True
    for container in containers:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            request, limit = amount(requests.get(name)), amount(limits.get(name))
            asked = asked or bool(request or limit)
            if not limit or (name in requests and request != limit):
                guaranteed = False
    return "Guaranteed" if asked and guaranteed else "Burstable" if asked else "BestEffort"


def oom_score_adj(pod: Obj, container: Obj, capacity_bytes: int) -> int:
    """Kubelet's place for this container before the OOM killer."""
    quality = qos_class(pod)
    if quality == "Guaranteed":
        return -997
    if quality == "BestEffort":
        return 1000
    request = memory_bytes(container, "requests")
    score = 1000 - 1000 * request // max(capacity_bytes, 1)
    return min(max(score, 3), 999)
