"""What the configuration names outside the platform: payment providers, mail, limits, and staff's issuer.

Secrets come from the environment alone, and are never shown.

    PARKUBE_PAYMENTS                builtin, stripe or mollie: which takes new money (default builtin, for trials)
    PARKUBE_PUBLIC_URL              where the providers reach this platform, https://…
    PARKUBE_STRIPE_SECRET_KEY       and PARKUBE_STRIPE_WEBHOOK_SECRET
    PARKUBE_MOLLIE_API_KEY          and PARKUBE_MOLLIE_SIGNING_SECRET, where its webhooks are signed

    PARKUBE_MAIL_URL                smtp://user:password@host:587, smtps://…; PARKUBE_MAIL_FROM is the sender
    PARKUBE_MAIL_FOLDER             instead, for trials: each message goes into a file there
    PARKUBE_OIDC_ISSUER             where staff log in, with PARKUBE_OIDC_CLIENT_ID, PARKUBE_OIDC_CLIENT_SECRET and
                                    PARKUBE_PUBLIC_URL: the issuer sends back to …/api/v1/staff/callback
    PARKUBE_RATE_PER_S              how many calls a second one address may make (default 50, 0 for any number), ten
                                    times as many at once; FORWARDED_ALLOW_IPS names the proxies that are believed

Each provider whose secret is there is kept beside the first, so that what it took earlier can still go back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from parkube.parking.adapters.database import SqlDatabase
from parkube.parking.adapters.mail import FolderMail, SmtpMail
from parkube.parking.adapters.payments import BuiltinPayments
from parkube.parking.api.rates import Rate
from parkube.parking.domain.errors import Invalid
from parkube.parking.services.ports import Clock, NewId
from parkube.parking.services.ports_payments import Payments
from parkube.parking.services.ports_people import Issuer, Mail, NoIssuer, NoMail

Environment = Mapping[str, str]
_CALLS_PER_S: Final = "50"


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


def mail(environment: Environment) -> Mail:
    """How codes are sent. Raises Invalid."""
    if environment.get("PARKUBE_MAIL_URL"):
        if not environment.get("PARKUBE_MAIL_FROM"):
            raise Invalid("PARKUBE_MAIL_URL needs PARKUBE_MAIL_FROM too")
        return SmtpMail(environment["PARKUBE_MAIL_URL"], environment["PARKUBE_MAIL_FROM"])
    if environment.get("PARKUBE_MAIL_FOLDER"):
        return FolderMail(Path(environment["PARKUBE_MAIL_FOLDER"]))
    return NoMail()


def issuer(environment: Environment) -> Issuer:
    """Where staff log in. Raises Invalid where its configuration is not whole."""
    url = environment.get("PARKUBE_OIDC_ISSUER")
    if not url:
        return NoIssuer()
    needed = ("PARKUBE_OIDC_CLIENT_ID", "PARKUBE_OIDC_CLIENT_SECRET", "PARKUBE_PUBLIC_URL")
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise Invalid(f"PARKUBE_OIDC_ISSUER needs {' and '.join(missing)} too")
    from parkube.parking.adapters.oidc import OidcIssuer

    client_id, secret, public = (environment[name] for name in needed)
    return OidcIssuer(url, client_id, secret, public.rstrip("/") + "/api/v1/staff/callback")


def every_call(environment: Environment) -> Rate | None:
    """The limit for every call of one address, if there is one. Raises Invalid."""
    text = environment.get("PARKUBE_RATE_PER_S") or _CALLS_PER_S
    if not text.isdigit():
        raise Invalid(f"PARKUBE_RATE_PER_S is {text!r}, it is a number of calls a second")
    return Rate(int(text) * 10, float(text)) if int(text) else None
