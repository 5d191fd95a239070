"""The scheduler's picture of the nodes: what each has and what stands on it, pods just assumed there included. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from parkube.kubeapi.compact import NodeInfo, PodInfo, PodShape

Port = tuple[str, str, int]  # protocol, address, number
_ANY = "0.0.0.0"


class NodeState:
    """One node and the sum of what its pods request. `version` moves with every change."""

    __slots__ = ("info", "keys", "nominated", "ports", "used", "version", "weight_cpu", "weight_memory")

    def __init__(self, info: NodeInfo) -> None:
        self.info = info
        self.keys: set[str] = set()
        self.used: dict[str, int] = {}
        self.weight_cpu = self.weight_memory = 0
        self.ports: dict[Port, int] = {}
        self.nominated: dict[str, PodShape] = {}  # pods for which others were told to go; room is kept for them
        self.version = 0

    def copy(self) -> NodeState:
        """One to try things on."""
        new = NodeState(self.info)
        new.keys, new.used, new.ports = set(self.keys), dict(self.used), dict(self.ports)
        new.weight_cpu, new.weight_memory, new.nominated = self.weight_cpu, self.weight_memory, self.nominated
        return new

    def add(self, key: str, shape: PodShape, sign: int = 1) -> None:
        """Count a pod in (or out, with `sign` -1)."""
        self.version += 1
        if sign > 0:
            self.keys.add(key)
        else:
            self.keys.discard(key)
        for name, value in shape.requests.items():
            self.used[name] = self.used.get(name, 0) + sign * value
        self.weight_cpu += sign * shape.weight[0]
        self.weight_memory += sign * shape.weight[1]
        for port in shape.host_ports:
            left = self.ports.get(port, 0) + sign
            if left > 0:
                self.ports[port] = left
            else:
                self.ports.pop(port, None)

    def lacking(self, shape: PodShape) -> list[str]:
        """What there is too little of, in the words of the API's events; empty when the pod fits."""
        allocatable, used, count = self._counted(shape)
        out = []
        if count + 1 > allocatable.get("pods", 110):
            out.append("Too many pods")
        for name, value in shape.requests.items():
            if value > allocatable.get(name, 0) - used.get(name, 0):
                out.append(f"Insufficient {name}")
        return out

    def _counted(self, shape: PodShape) -> tuple[dict[str, int], dict[str, int], int]:
        """What there is, and what is used of it and by how many pods, nominated ones that go first included."""
        held = [s for s in self.nominated.values() if s.priority >= shape.priority] if self.nominated else ()
        if not held:
            return self.info.allocatable, self.used, len(self.keys)
        used = dict(self.used)
        for other in held:
            for name, value in other.requests.items():
                used[name] = used.get(name, 0) + value
        return self.info.allocatable, used, len(self.keys) + len(held)

    def port_taken(self, shape: PodShape) -> bool:
        """Whether one of the pod's host ports is in use; an unspecified address stands for all."""
        held = [p for s in self.nominated.values() if s.priority >= shape.priority for p in s.host_ports]
        for protocol, address, number in shape.host_ports:
            for taken_protocol, taken_address, taken in (*self.ports, *held):
                if (protocol, number) == (taken_protocol, taken) and (
                    address == taken_address or _ANY in (address, taken_address)
                ):
                    return True
        return False

    def fits(self, shape: PodShape) -> bool:
        """Whether there is room for one more pod of this shape."""
        allocatable, used, count = self._counted(shape)
        if count + 1 > allocatable.get("pods", 110):
            return False
        for name, value in shape.requests.items():
            if value > allocatable.get(name, 0) - used.get(name, 0):
                return False
        return not shape.host_ports or not self.port_taken(shape)


class Cluster:
    """All nodes by name, and where each pod stands or is assumed to stand."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeState] = {}
        self._placed: dict[str, tuple[str, PodShape]] = {}
        self._waiting: dict[str, dict[str, PodShape]] = {}  # node not known (yet) -> its pods
        self._priorities: Counter[int] = Counter()  # of placed pods
        self._nominations: dict[str, str] = {}  # pod -> node
        self.version = 0
        self.changed: dict[str, bool] = {}  # names to look at again; True: the node itself changed, not just its pods

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, name: str) -> NodeState | None:
        """One node."""
        return self._nodes.get(name)

    def states(self) -> Iterator[NodeState]:
        """Every node."""
        return iter(self._nodes.values())

    def names(self) -> list[str]:
        """Every node's name."""
        return list(self._nodes)

    def node_of(self, key: str) -> str:
        """Where a pod stands, or ""."""
        placed = self._placed.get(key)
        return placed[0] if placed else ""

    def has_below(self, priority: int) -> bool:
        """Whether any placed pod is of lower priority."""
        return any(p < priority and n > 0 for p, n in self._priorities.items())

    def nominee(self, key: str) -> str:
        """The node that is being cleared for this pod, or ""."""
        return self._nominations.get(key, "")

    def nominate(self, key: str, node: str, shape: PodShape | None) -> None:
        """Keep room for a pod on a node; `node` "" ends that."""
        before = self._nominations.pop(key, "")
        for name in {before, node} - {""}:
            state = self._nodes.get(name)
            if state is None:
                continue
            state.nominated.pop(key, None)
            if name == node and shape is not None:
                state.nominated[key] = shape
                self._nominations[key] = node
            state.version += 1
            self._touch(name, False)

    def set_node(self, info: NodeInfo) -> None:
        """A node appeared or changed."""
        state = self._nodes.get(info.name)
        if state is None:
            state = self._nodes[info.name] = NodeState(info)
            for key, shape in self._waiting.pop(info.name, {}).items():
                state.add(key, shape)
        state.info = info
        state.version += 1
        self._touch(info.name, True)

    def drop_node(self, name: str) -> None:
        """A node is gone; its pods are remembered, should it come back."""
        state = self._nodes.pop(name, None)
        if state is not None:
            self._waiting[name] = {key: self._placed[key][1] for key in state.keys if key in self._placed}
            self._touch(name, True)

    def place(self, key: str, node: str, shape: PodShape) -> None:
        """A pod stands on a node (seen, or assumed): counted once however often it is said."""
        known = self._placed.get(key)
        if known == (node, shape):
            return
        if known is not None:
            self.remove(key)
        self._placed[key] = (node, shape)
        self._priorities[shape.priority] += 1
        state = self._nodes.get(node)
        if state is None:
            self._waiting.setdefault(node, {})[key] = shape
            return
        state.add(key, shape)
        self._touch(node, False)

    def remove(self, key: str) -> bool:
        """A pod is gone or finished; whether it had a place."""
        known = self._placed.pop(key, None)
        if known is None:
            return False
        node, shape = known
        self._priorities[shape.priority] -= 1
        state = self._nodes.get(node)
        if state is not None:
            state.add(key, shape, -1)
            self._touch(node, False)
        elif node in self._waiting:
            self._waiting[node].pop(key, None)
            if not self._waiting[node]:
                del self._waiting[node]
        return True

    def see(self, pod: PodInfo) -> bool:
        """Take over what the API says of a pod; whether that freed room."""
        if pod.finished or not pod.node:
            return bool(pod.finished) and self.remove(pod.key)
        before = self._placed.get(pod.key)
        self.place(pod.key, pod.node, pod.shape)
        return before is not None and before != (pod.node, pod.shape)  # moved, or resized

    def _touch(self, name: str, whole: bool) -> None:
        self.version += 1
        self.changed[name] = whole or self.changed.get(name, False)
