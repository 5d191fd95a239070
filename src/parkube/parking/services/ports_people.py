"""What the services need for people: the records, and a way to send mail. Protocols only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.errors import Unavailable
from parkube.parking.domain.people import Person
from parkube.parking.domain.retention import Rule
from parkube.parking.domain.rights import Membership

if TYPE_CHECKING:
    from parkube.parking.services.trail import Noted

SESSION, API_KEY = "session", "api_key"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a bearer shows, known by its SHA-256 alone."""

    hash: str
    person_id: str
    kind: str
    name: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LoginCode:
    """A code that was sent to an address, and how often it was asked for and missed since."""

    email: str
    code_hash: str
    expires_at: datetime
    sent: int
    failures: int
    locked_until: datetime | None
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer to a request that carried an idempotency key; status is None while it is being made."""

    scope: str
    key: str
    fingerprint: str
    at: datetime
    status: int | None = None
    headers: dict[str, str] | None = None
    body: bytes | None = None


class PeopleTransaction(Protocol):
    """The records of people and of what was done by whom, inside one transaction."""

    async def add_to_trail(self, noted: Noted) -> None: ...
    async def trail_before(
        self, before_id: int | None, limit: int, garage_ids: Sequence[str] | None, subject: str | None
    ) -> Sequence[Noted]:
        """A page of the trail, the latest first."""

    async def add_person(self, person: Person) -> None: ...
    async def save_person(self, person: Person) -> None: ...
    async def person(self, person_id: str) -> Person | None: ...
    async def person_of_email(self, email: str) -> Person | None: ...
    async def person_of_subject(self, issuer: str, subject: str) -> Person | None: ...
    async def add_membership(self, membership: Membership, at: datetime) -> None: ...
    async def remove_membership(self, membership_id: str) -> None: ...
    async def memberships(self, person_id: str) -> Sequence[Membership]: ...
    async def memberships_in(self, organisation_id: str, garage_ids: Sequence[str]) -> Sequence[Membership]: ...

    async def add_token(self, token: AccessToken) -> None: ...
    async def token(self, token_hash: str) -> AccessToken | None: ...
    async def remove_token(self, token_hash: str) -> None: ...
    async def remove_tokens(self, person_id: str) -> None: ...
    async def lock_login_code(self, email: str) -> LoginCode | None: ...
    async def put_login_code(self, code: LoginCode) -> None: ...
    async def remove_login_code(self, email: str) -> None: ...

    async def bookings_of(self, person_id: str, after_id: str, limit: int) -> Sequence[Booking]:
        """A page of a person's bookings, by id."""

    async def bookings_in(self, garage_id: str, after_id: str, limit: int) -> Sequence[Booking]:
        """A page of a garage's bookings, by id."""

    async def adopt_booking(self, booking_id: str, person_id: str) -> None:
        """Makes a booking that is nobody's this person's."""

    async def unname_bookings(self, person_id: str) -> None:
        """Takes the person and the plates off their bookings."""

    async def obey_retention(self, rule: Rule, now: datetime, secret: str) -> int:
        """Does to all rows that are over their time what the rule says. Returns how many."""

    async def kept_answer(self, scope: str, key: str) -> Kept | None: ...
    async def keep_answer(self, kept: Kept) -> None:
        """Writes it, or what it has become."""

    async def forget_answer(self, scope: str, key: str) -> None: ...


class Mail(Protocol):
    """Sends mail. Raises Unavailable where it cannot."""

    async def send(self, to: str, subject: str, text: str) -> None: ...


class NoMail:
    """Where no mail is configured."""

    async def send(self, to: str, subject: str, text: str) -> None:
        raise Unavailable("no mail is configured here, set PARKUBE_MAIL_URL", code="mail_unavailable")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an issuer says somebody is."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool


class Issuer(Protocol):
    """An OpenID Connect issuer. Raises Unavailable where it does not answer."""

    async def begin(self, state: str, nonce: str, verifier: str) -> str:
        """Where a browser goes to log in."""

    async def finish(self, code: str, nonce: str, verifier: str) -> Identity:
        """Who came back with that code. Raises Denied where the answer is not right."""


class NoIssuer:
    """Where no issuer is configured."""

    async def begin(self, state: str, nonce: str, verifier: str) -> str:
        raise Unavailable("no issuer is configured here, set PARKUBE_OIDC_ISSUER", code="no_issuer")

    async def finish(self, code: str, nonce: str, verifier: str) -> Identity:
        raise Unavailable("no issuer is configured here, set PARKUBE_OIDC_ISSUER", code="no_issuer")
