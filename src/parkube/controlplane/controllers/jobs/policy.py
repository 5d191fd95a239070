"""What a Job's failure and success policies say. Pure.

Source: API reference, PodFailurePolicy and SuccessPolicy; KEP-3329, KEP-3998.
"""

from __future__ import annotations

from typing import NamedTuple

from parkube.controlplane.controllers.jobs import indexes
from parkube.kubeapi.errors import Obj


class Verdict(NamedTuple):
    """What a failed pod means: `action` is Count, Ignore, FailIndex or FailJob; `why` is for people."""

    action: str = "Count"
    why: str = ""


def failure(policy: Obj | None, pod: Obj) -> Verdict:
    """The first rule that means this pod."""
    for number, rule in enumerate((policy or {}).get("rules") or ()):
        why = _exit_codes(rule.get("onExitCodes"), pod) if rule.get("onExitCodes") else _conditions(rule, pod)
        if why:
            return Verdict(rule.get("action", "Count"), f"{why} matching {rule.get('action')} rule at index {number}")
    return Verdict()


def _exit_codes(wanted: Obj, pod: Obj) -> str:
    status, m = pod.get("status") or {}, pod["metadata"]
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        if wanted.get("containerName") not in (None, container.get("name")):
            continue
        code = ((container.get("state") or {}).get("terminated") or {}).get("exitCode")
        if not code:
            continue
        if (code in (wanted.get("values") or ())) is (wanted.get("operator") == "In"):
            who = f"Container {container.get('name')} for pod {m['namespace']}/{m['name']}"
            return f"{who} failed with exit code {code}"
    return ""


def _conditions(rule: Obj, pod: Obj) -> str:
    found = {c.get("type"): c.get("status") for c in (pod.get("status") or {}).get("conditions") or ()}
    for pattern in rule.get("onPodConditions") or ():
        if found.get(pattern.get("type")) == pattern.get("status", "True"):
            m = pod["metadata"]
            return f"Pod {m['namespace']}/{m['name']} has condition {pattern['type']}"
    return ""


def success(policy: Obj | None, done: set[int], below: int) -> str:
    """Why the job has succeeded before all its indexes are done; empty where it has not."""
    for number, rule in enumerate((policy or {}).get("rules") or ()):
        named = rule.get("succeededIndexes")
        met = done if named is None else done & indexes.parse(named, below)
        count = rule.get("succeededCount")
        if count is None:
            count = len(indexes.parse(named, below)) if named is not None else below
        if len(met) >= count:
            return f"Matched rules at index {number}"
    return ""
