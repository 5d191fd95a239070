"""`kubectl get csr`."""

from __future__ import annotations

from parkube.controlplane.registry.columns.cells import AGE, NAME, at, column, human_duration
from parkube.controlplane.registry.resource import Column
from parkube.kubeapi.errors import Obj


def _condition(request: Obj) -> str:
    status = request.get("status") or {}
    kinds = [condition.get("type") for condition in status.get("conditions") or ()]
    shown = [kind for kind in ("Approved", "Denied", "Failed") if kind in kinds]
    if "Denied" in shown and "Approved" in shown:
        shown.remove("Approved")
    text = ",".join(shown) or "Pending"
    return text + (",Issued" if status.get("certificate") else "")


def _duration(request: Obj) -> str:
    seconds = (request.get("spec") or {}).get("expirationSeconds")
    return "<none>" if seconds is None else human_duration(seconds)


CSR_COLUMNS: tuple[Column, ...] = (
    NAME,
    AGE,
    column("SignerName", at("spec", "signerName", default="<none>")),
    column("Requestor", at("spec", "username")),
    column("RequestedDuration", _duration),
    column("Condition", _condition),
)
