"""Who may do what: one table of roles and rights, and where a role holds. Pure; who asks is known elsewhere.

A membership gives a role in one garage, in one organisation and all its garages, or (operator, support) everywhere.
A driver's rights are about the driver's own things and need no membership.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What somebody is."""

    DRIVER = "driver"
    OWNER = "owner"
    OWNER_STAFF = "owner_staff"
    OPERATOR = "operator"
    SUPPORT = "support"
    PARTNER = "partner"


class Right(StrEnum):
    """What somebody may do."""

    OWN_ACCOUNT = "own_account"
    SEE_GARAGE = "see_garage"
    READ_PLATES = "read_plates"
    SET_TERMS = "set_terms"
    RUN_SITE = "run_site"
    SEE_MONEY = "see_money"
    GIVE_BACK = "give_back"
    GIVE_DISCOUNT = "give_discount"
    MANAGE_STAFF = "manage_staff"
    RUN_FLEET = "run_fleet"
    MANAGE_OWNERS = "manage_owners"
    MOVE_MONEY = "move_money"
    SEE_TRAIL = "see_trail"
    HELP_PEOPLE = "help_people"
    SELL = "sell"


TABLE: Final[Mapping[Role, frozenset[Right]]] = {
    Role.DRIVER: frozenset({Right.OWN_ACCOUNT}),
    Role.OWNER: frozenset(
        {Right.SEE_GARAGE, Right.READ_PLATES, Right.SEE_MONEY, Right.GIVE_BACK, Right.GIVE_DISCOUNT, Right.MANAGE_STAFF,
         Right.SEE_TRAIL, Right.SET_TERMS, Right.RUN_SITE}
    ),
    Role.OWNER_STAFF: frozenset({Right.SEE_GARAGE, Right.READ_PLATES, Right.GIVE_DISCOUNT, Right.RUN_SITE}),
    Role.OPERATOR: frozenset(Right) - {Right.OWN_ACCOUNT, Right.SELL},
    Role.SUPPORT: frozenset(
        {Right.SEE_GARAGE, Right.READ_PLATES, Right.GIVE_BACK, Right.GIVE_DISCOUNT, Right.SEE_TRAIL, Right.HELP_PEOPLE}
    ),
    Role.PARTNER: frozenset({Right.SELL}),
}  # fmt: skip
"""Every role and all its rights."""

EVERYWHERE: Final = (Role.OPERATOR, Role.SUPPORT)
"""The roles that may be held without a place."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A role and where it holds: in a garage, in an organisation, or everywhere where both are None."""

    role: Role
    organisation_id: str | None = None
    garage_id: str | None = None
    id: str = ""
    person_id: str = ""

    def holds_in(self, garage_id: str | None, organisation_id: str | None) -> bool:
        """Whether it reaches a garage (with its owner) or an organisation; the platform itself is (None, None)."""
        if self.organisation_id is None and self.garage_id is None:
            return self.role in EVERYWHERE or self.role is Role.DRIVER
        if self.garage_id is not None:
            return self.garage_id == garage_id
        return organisation_id is not None and self.organisation_id == organisation_id


def may(
    memberships: Sequence[Membership], right: Right, garage_id: str | None = None, organisation_id: str | None = None
) -> bool:
    """Whether one of the memberships gives the right at that place."""
    return any(right in TABLE[one.role] and one.holds_in(garage_id, organisation_id) for one in memberships)
