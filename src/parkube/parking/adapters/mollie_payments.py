"""Mollie behind the payments port, by its own client: a payment for each order, confirmed at Mollie's checkout.

A card's money is held by `captureMode: manual`; the rest of a partial capture is released. Mollie's payment webhooks
carry only an id and no signature, so they are believed for nothing but a question; one that is signed is checked.
Source: Mollie's API reference v2 (payments, captures, refunds) and its pages on webhooks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs

import httpx
from mollie import ClientSDK, models
from mollie.utils import BackoffStrategy, RetryConfig
from mollie.utils.webhooks import InvalidSignatureException, SignatureValidator

from parkube.parking.domain.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from parkube.parking.domain.money import amount_text
from parkube.parking.domain.payments import Held, Order, OrderState
from parkube.parking.services.ports_payments import Message

NAME: Final = "mollie"
_METHODS: Final = {"card": ("creditcard", True), "ideal": ("ideal", False), "bancontact": ("bancontact", False)}
_STATES: Final = {
    "open": OrderState.PENDING,
    "pending": OrderState.PENDING,
    "authorized": OrderState.AUTHORISED,
    "paid": OrderState.CAPTURED,
    "canceled": OrderState.CANCELLED,
    "expired": OrderState.FAILED,
    "failed": OrderState.FAILED,
}
Answer = TypeVar("Answer")


class MolliePayments:
    """services.ports_payments.Payments."""

    name = NAME

    def __init__(
        self,
        api_key: str,
        webhook_url: str,
        signing_secret: str = "",
        server_url: str | None = None,
        retry_ms: int = 5000,
    ) -> None:
        self._client = ClientSDK(
            security=models.Security(api_key=api_key),
            server_url=server_url,
            timeout_ms=20_000,
            retry_config=RetryConfig("backoff", BackoffStrategy(200, 2000, 2, retry_ms), True),
        )
        self._webhook_url, self._secret = webhook_url, signing_secret

    def can_hold(self, method: str) -> bool:
        if method not in _METHODS:
            raise Invalid(f"{method!r} is not a way to pay here", [("method", f"one of {', '.join(_METHODS)}")])
        return _METHODS[method][1]

    async def start(self, order: Order, description: str, return_url: str) -> Held:
        if order.amount_minor <= 0:
            raise Invalid(f"a payment of {order.amount_minor} is none", [("amount_minor", "more than nothing")])
        asked: Any = {
            "description": description,
            "amount": _amount(order.amount_minor, order.currency),
            "redirect_url": return_url,
            "method": _METHODS[order.method][0],
            "metadata": {"order": order.id},
        }
        if self._webhook_url:
            asked["webhook_url"] = self._webhook_url
        if order.capture_later:
            asked["capture_mode"] = "manual"
        made = _held(await _told(self._client.payments.create_async(idempotency_key=order.id, payment_request=asked)))
        if (made.amount_minor, made.currency) != (order.amount_minor, order.currency):
            raise Conflict("this payment key was used for another amount", code="payment_key_reused")
        return made

    async def find(self, reference: str) -> Held:
        return _held(await _told(self._client.payments.get_async(payment_id=reference)))

    async def capture(self, order: Order, amount_minor: int) -> Held:
        held = await self.find(order.reference or "")
        if held.state is OrderState.CAPTURED and held.captured_minor == amount_minor:
            return held
        if held.state is not OrderState.AUTHORISED or not 0 < amount_minor <= held.amount_minor:
            raise Conflict("this much is not held", code="not_held")
        wanted: Any = {"amount": _amount(amount_minor, order.currency), "metadata": {"order": order.id}}
        await _told(
            self._client.captures.create_async(
                payment_id=held.reference, idempotency_key=f"{order.id}:capture", entity_capture=wanted
            )
        )
        if amount_minor < held.amount_minor:
            await self._release(order, held.reference)
        return await self.find(held.reference)

    async def cancel(self, order: Order) -> Held:
        held = await self.find(order.reference or "")
        if held.state in (OrderState.CANCELLED, OrderState.FAILED):
            return held
        if held.state is OrderState.CAPTURED:
            raise Conflict("the money has been taken: it can only be given back", code="not_held")
        if held.state is OrderState.AUTHORISED:
            await self._release(order, held.reference)
        else:
            await _told(
                self._client.payments.cancel_async(payment_id=held.reference, idempotency_key=f"{order.id}:cancel")
            )
        return await self.find(held.reference)

    async def refund(self, key: str, order: Order, amount_minor: int) -> str:
        wanted: Any = {
            "amount": _amount(amount_minor, order.currency),
            "description": f"Parking {order.booking_id}",
            "metadata": {"refund": key, "order": order.id},
        }
        made = await _told(
            self._client.refunds.create_async(
                payment_id=order.reference or "", idempotency_key=key, refund_request=wanted
            )
        )
        return made.id

    def message(self, headers: Mapping[str, str], body: bytes) -> Message | None:
        signature = headers.get("x-mollie-signature")
        try:
            text = body.decode()
            if signature is not None and self._secret:
                SignatureValidator(self._secret).validate_payload(text, signature)
        except InvalidSignatureException as error:
            raise Denied("the message's signature is wrong") from error
        except UnicodeDecodeError as error:
            raise Invalid("this is no message of the provider") from error
        reference = parse_qs(text).get("id", [""])[0]
        if not reference.startswith("tr_") or not reference[3:].isalnum() or len(reference) > 64:
            raise Invalid("this is no message about a payment")
        return Message(None, reference)

    async def _release(self, order: Order, reference: str) -> None:
        await _told(
            self._client.payments.release_authorization_async(
                payment_id=reference, idempotency_key=f"{order.id}:release"
            )
        )


def _amount(minor: int, currency: str) -> dict[str, str]:
    return {"currency": currency, "value": amount_text(minor)}


def _minor(amount: Any) -> int:
    # An amount that is not there comes as None or as the client's marker of what was not set.
    value = getattr(amount, "value", None)
    return 0 if value is None else int(Decimal(value) * 100)


def _held(payment: models.PaymentResponse) -> Held:
    state = _STATES.get(getattr(payment.status, "value", payment.status), OrderState.PENDING)
    amount = _minor(payment.amount)
    captured = 0
    if state is OrderState.CAPTURED:
        captured = _minor(payment.amount_captured) or amount
    url = payment.links.checkout.href if payment.links.checkout and state is OrderState.PENDING else None
    return Held(
        NAME, payment.id, state, amount, payment.amount.currency, captured, _minor(payment.amount_refunded), url
    )


async def _told(call: Awaitable[Answer]) -> Answer:
    """An answer, or the client's error as parking's."""
    try:
        return await call
    except models.ClientError as error:
        if error.status_code == 404:
            raise NotFound("the provider knows no such payment") from error
        if error.status_code in (409, 422):
            raise Conflict("the provider does not accept this", code="not_accepted") from error
        raise Unavailable("the payment provider does not answer", code="provider_unavailable") from error
    except (httpx.HTTPError, models.ResponseValidationError, models.NoResponseError) as error:
        raise Unavailable("the payment provider does not answer", code="provider_unavailable") from error
