"""Which payment providers a configuration names; a secret that is missing is said, and none is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from parkube.parking.adapters.database import open_database
from parkube.parking.domain.errors import Invalid
from parkube.parking.main.providers import configured
from parkube.parking.main.wiring import new_id, now

STRIPE = {"PARKUBE_STRIPE_SECRET_KEY": "sk_secret", "PARKUBE_STRIPE_WEBHOOK_SECRET": "wh_secret"}
MOLLIE = {"PARKUBE_MOLLIE_API_KEY": "mollie_secret", "PARKUBE_PUBLIC_URL": "https://park.example"}


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, ["builtin"]),
        (STRIPE, ["builtin", "stripe"]),
        ({**STRIPE, "PARKUBE_PAYMENTS": "stripe"}, ["stripe", "builtin"]),
        ({**STRIPE, **MOLLIE, "PARKUBE_PAYMENTS": "mollie"}, ["mollie", "stripe", "builtin"]),
    ],
)
async def test_the_first_takes_new_money_and_the_others_give_back(
    environment: dict[str, str], names: list[str], tmp_path: Path
) -> None:
    database = open_database(f"sqlite:///{tmp_path}/p.sqlite")
    made = configured(environment, database, now, new_id)
    assert [one.name for one in made] == names
    assert "secret" not in repr(made)
    await database.close()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PARKUBE_PAYMENTS": "shells"}, "builtin, stripe or mollie"),
        ({"PARKUBE_PAYMENTS": "stripe"}, "PARKUBE_STRIPE_SECRET_KEY is not set"),
        ({"PARKUBE_STRIPE_SECRET_KEY": "sk_secret"}, "PARKUBE_STRIPE_WEBHOOK_SECRET"),
        ({"PARKUBE_PAYMENTS": "mollie", "PARKUBE_MOLLIE_API_KEY": "mollie_secret"}, "PARKUBE_PUBLIC_URL"),
    ],
)
async def test_a_configuration_that_is_not_whole_is_said(
    environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    database = open_database(f"sqlite:///{tmp_path}/p.sqlite")
    with pytest.raises(Invalid, match=said) as refused:
        configured(environment, database, now, new_id)
    assert "secret" not in str(refused.value).lower().replace("secret_key", "").replace("webhook_secret", "")
    await database.close()
