"""The payment providers that the configuration names. Secrets come from the environment alone, and are never shown.

    PARKUBE_PAYMENTS                builtin, stripe or mollie: which takes new money (default builtin, for trials)
    PARKUBE_PUBLIC_URL              where the providers reach this platform, https://…
    PARKUBE_STRIPE_SECRET_KEY       and PARKUBE_STRIPE_WEBHOOK_SECRET
    PARKUBE_MOLLIE_API_KEY          and PARKUBE_MOLLIE_SIGNING_SECRET, where its webhooks are signed

Each provider whose secret is there is kept beside the first, so that what it took earlier can still go back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from parkube.parking.adapters.database import SqlDatabase
from parkube.parking.adapters.payments import BuiltinPayments
from parkube.parking.domain.errors import Invalid
from parkube.parking.services.ports import Clock, NewId
from parkube.parking.services.ports_payments import Payments

Environment = Mapping[str, str]


def configured(environment: Environment, database: SqlDatabase, clock: Clock, new_id: NewId) -> tuple[Payments, ...]:
    """The provider for new money first, then the others. Raises Invalid where its configuration is not whole."""
    wanted = environment.get("PARKUBE_PAYMENTS") or "builtin"
    if wanted not in _MAKERS and wanted != "builtin":
        raise Invalid(f"PARKUBE_PAYMENTS is {wanted!r}, it is builtin, {' or '.join(_MAKERS)}")
    made: dict[str, Payments] = {}
    for name, (secret, others, make) in _MAKERS.items():
        if environment.get(secret):
            missing = [other for other in others if not environment.get(other)]
            if missing:
                raise Invalid(f"{name} needs {' and '.join(missing)} too")
            made[name] = make(environment)
        elif name == wanted:
            raise Invalid(f"PARKUBE_PAYMENTS is {name}, and {secret} is not set")
    secret = environment.get("PARKUBE_BUILTIN_WEBHOOK_SECRET") or new_id("")
    made["builtin"] = BuiltinPayments(database, clock, new_id, secret)
    return (made.pop(wanted), *made.values())


def _stripe(environment: Environment) -> Payments:
    # Only where it is used: a provider's client is tens of megabytes.
    from parkube.parking.adapters.stripe_payments import StripePayments

    return StripePayments(
        environment["PARKUBE_STRIPE_SECRET_KEY"],
        environment["PARKUBE_STRIPE_WEBHOOK_SECRET"],
        environment.get("PARKUBE_STRIPE_API_URL") or None,
    )


def _mollie(environment: Environment) -> Payments:
    from parkube.parking.adapters.mollie_payments import MolliePayments

    return MolliePayments(
        environment["PARKUBE_MOLLIE_API_KEY"],
        environment["PARKUBE_PUBLIC_URL"].rstrip("/") + "/api/v1/provider/mollie/webhook",
        environment.get("PARKUBE_MOLLIE_SIGNING_SECRET") or "",
        environment.get("PARKUBE_MOLLIE_API_URL") or None,
    )


_MAKERS: Final[dict[str, tuple[str, tuple[str, ...], Callable[[Environment], Payments]]]] = {
    "stripe": ("PARKUBE_STRIPE_SECRET_KEY", ("PARKUBE_STRIPE_WEBHOOK_SECRET",), _stripe),
    "mollie": ("PARKUBE_MOLLIE_API_KEY", ("PARKUBE_PUBLIC_URL",), _mollie),
}
