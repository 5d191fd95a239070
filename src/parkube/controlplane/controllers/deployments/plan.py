"""What to do next with the ReplicaSets of one Deployment. Pure: numbers in, a short list of changes out.

                 template changed                      old pods gone, new ones available
    complete  -------------------->  progressing  ------------------------------------->  complete
                                        |   ^
                     deadline missed    v   | more pods became available
                                      stalled
    paused: nothing moves but proportional scaling.

One step is planned at a time; its effect comes back as events, and the next step is planned from those. So a crash
between steps loses nothing. Source: Kubernetes' documentation of Deployments (rolling update, proportional scaling).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from parkube.controlplane.controllers.deployments.model import ReplicaSetInfo, Wanted


class Scale(NamedTuple):
    """Set a ReplicaSet's replicas (which may stay the same when only its annotations move)."""

    target: ReplicaSetInfo
    replicas: int


@dataclass(slots=True)
class Plan:
    """The changes of one step. `current` is the ReplicaSet of the present template, if there is one."""

    current: ReplicaSetInfo | None
    revision: int  # that the present template has or gets
    create: int | None = None  # make the ReplicaSet of the present template with so many replicas
    scales: list[Scale] = field(default_factory=list)
    deletes: list[ReplicaSetInfo] = field(default_factory=list)
    annotate: bool = False  # the current ReplicaSet's annotations or minReadySeconds are behind


def _by_age(sets: Sequence[ReplicaSetInfo]) -> list[ReplicaSetInfo]:
    return sorted(sets, key=lambda s: (s.created, s.name))


def current_of(want: Wanted, sets: Sequence[ReplicaSetInfo]) -> ReplicaSetInfo | None:
    """The ReplicaSet of the present template: the oldest, should there be several."""
    same = [s for s in _by_age(sets) if s.template == want.template]
    return same[0] if same else None


def plan(want: Wanted, sets: Sequence[ReplicaSetInfo], *, old_pods: bool = False) -> Plan:
    """One step. `old_pods`: whether pods of other templates still exist (asked for Recreate only)."""
    current = current_of(want, sets)
    old = [s for s in _by_age(sets) if s is not current]
    newest = max((s.revision for s in old), default=0)
    revision = max(newest + 1, current.revision if current else 0)
    step = Plan(current, revision)
    if current is not None:
        step.annotate = (
            current.revision < revision
            or current.annotations != want.annotations
            or current.min_ready != want.min_ready
        )
    if want.paused or _scaled(want, sets):
        _scale(want, current, old, step)
        if want.paused:
            _clean_up(want, old, step)
        return step
    if want.recreate:
        _recreate(want, current, old, step, old_pods)
    else:
        _roll(want, current, old, step)
    if not step.scales and step.create is None and _complete(want, current, sets):
        _clean_up(want, old, step)
    return step


def _scaled(want: Wanted, sets: Sequence[ReplicaSetInfo]) -> bool:
    """Whether someone changed the Deployment's replicas since its ReplicaSets were last scaled."""
    return any(s.replicas > 0 and s.desired >= 0 and s.desired != want.replicas for s in sets)


def _scale(want: Wanted, current: ReplicaSetInfo | None, old: list[ReplicaSetInfo], step: Plan) -> None:
    every = [*old, *([current] if current else [])]
    active = [s for s in every if s.replicas > 0]
    if len(active) <= 1:
        only = active[0] if active else (current or (old[-1] if old else None))
        if only is not None and (only.replicas != want.replicas or (only.replicas and only.desired != want.replicas)):
            step.scales.append(Scale(only, want.replicas))
        return
    if (
        current is not None
        and current.replicas == want.replicas == current.available
        and current.desired == want.replicas
    ):
        step.scales.extend(Scale(s, 0) for s in old if s.replicas > 0)
        return
    if want.recreate:
        return
    total = sum(s.replicas for s in active)
    allowed = want.most if want.replicas > 0 else 0
    left = allowed - total
    biggest_first = sorted(active, key=lambda s: (-s.replicas, -s.created if left > 0 else s.created))
    sizes = {}
    for s in biggest_first:
        share = _proportion(s, want, allowed, total, left)
        sizes[s.key] = s.replicas + share
        left -= share
    sizes[biggest_first[0].key] = max(0, sizes[biggest_first[0].key] + left)
    step.scales.extend(
        Scale(s, sizes[s.key]) for s in biggest_first if sizes[s.key] != s.replicas or s.desired != want.replicas
    )


def _proportion(s: ReplicaSetInfo, want: Wanted, allowed: int, total: int, left: int) -> int:
    """This ReplicaSet's part of what is to be added or taken away."""
    if not s.replicas or left == 0:
        return 0
    if want.replicas == 0:
        return -s.replicas
    before = s.most if s.most > 0 else total
    share = round(s.replicas * allowed / before) - s.replicas
    return min(share, left) if left > 0 else max(share, left)


def _recreate(
    want: Wanted, current: ReplicaSetInfo | None, old: list[ReplicaSetInfo], step: Plan, old_pods: bool
) -> None:
    active = [s for s in old if s.replicas > 0]
    if active:
        step.scales.extend(Scale(s, 0) for s in active)
    elif old_pods:
        return
    elif current is None:
        step.create = want.replicas
    elif current.replicas != want.replicas:
        step.scales.append(Scale(current, want.replicas))


def _roll(want: Wanted, current: ReplicaSetInfo | None, old: list[ReplicaSetInfo], step: Plan) -> None:
    total = sum(s.replicas for s in old) + (current.replicas if current else 0)
    if current is None:
        step.create = max(0, min(want.most - total, want.replicas))
        return
    if current.replicas > want.replicas:
        step.scales.append(Scale(current, want.replicas))
        return
    if current.replicas < want.replicas and total < want.most:
        grow = min(want.most - total, want.replicas - current.replicas)
        step.scales.append(Scale(current, current.replicas + grow))
        return
    _shrink_old(want, current, old, total, step)


def _shrink_old(want: Wanted, current: ReplicaSetInfo, old: list[ReplicaSetInfo], total: int, step: Plan) -> None:
    """Take away old pods: broken ones first, then as many as availability allows."""
    if not any(s.replicas for s in old):
        return
    budget = total - want.least - max(0, current.replicas - current.available)
    if budget <= 0:
        return
    sizes = {s.key: s.replicas for s in old}
    for s in old:
        broken = min(budget, sizes[s.key] - min(s.available, sizes[s.key]))
        if s.observed >= s.generation and broken > 0:
            sizes[s.key] -= broken
            budget -= broken
    spare = min(budget, sum(s.available for s in old) + current.available - want.least)
    for s in old:
        cut = min(sizes[s.key], max(0, spare))
        sizes[s.key] -= cut
        spare -= cut
    step.scales.extend(Scale(s, sizes[s.key]) for s in old if sizes[s.key] != s.replicas)


def _complete(want: Wanted, current: ReplicaSetInfo | None, sets: Sequence[ReplicaSetInfo]) -> bool:
    return (
        current is not None
        and current.pods == current.available == want.replicas
        and sum(s.pods for s in sets) == want.replicas
    )


def _clean_up(want: Wanted, old: list[ReplicaSetInfo], step: Plan) -> None:
    """Forget the oldest revisions beyond the history limit."""
    extra = len([s for s in old if not s.deleting]) - want.history
    if extra <= 0:
        return
    for s in sorted((s for s in old if not s.deleting), key=lambda s: (s.revision, s.created))[:extra]:
        if s.pods == 0 and s.replicas == 0 and s.generation <= s.observed:
            step.deletes.append(s)
