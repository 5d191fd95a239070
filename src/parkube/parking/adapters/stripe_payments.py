"""Stripe behind the payments port, by its own client: a Checkout Session for each order, where the driver confirms it.

What is held is the session's PaymentIntent (capture_method manual). Source: Stripe's API reference (checkout/sessions,
payment_intents, refunds) and its page on webhook signatures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

import stripe

from parkube.parking.domain.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from parkube.parking.domain.payments import Held, Order, OrderState, PaymentRefused
from parkube.parking.services.ports_payments import Message

NAME: Final = "stripe"
_HOLDS: Final = {"card": True, "ideal": False, "bancontact": False}
_EXPANDED: Final = ["payment_intent.latest_charge"]
_SIGNED_WITHIN_S: Final = 300
Answer = TypeVar("Answer")


class StripePayments:
    """services.ports_payments.Payments."""

    name = NAME

    def __init__(self, secret_key: str, webhook_secret: str, api_base: str | None = None, retries: int = 2) -> None:
        where: Any = {"api": api_base} if api_base else None
        self._client = stripe.StripeClient(
            secret_key, base_addresses=where, max_network_retries=retries, http_client=stripe.HTTPXClient(timeout=20)
        )
        self._webhook_secret = webhook_secret

    def can_hold(self, method: str) -> bool:
        if method not in _HOLDS:
            raise Invalid(f"{method!r} is not a way to pay here", [("method", f"one of {', '.join(_HOLDS)}")])
        return _HOLDS[method]

    async def start(self, order: Order, description: str, return_url: str) -> Held:
        if order.amount_minor <= 0:
            raise Invalid(f"a payment of {order.amount_minor} is none", [("amount_minor", "more than nothing")])
        asked: Any = {
            "mode": "payment",
            "client_reference_id": order.id,
            "success_url": return_url,
            "cancel_url": return_url,
            "payment_method_types": [order.method],
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": order.currency.lower(),
                        "unit_amount": order.amount_minor,
                        "product_data": {"name": description},
                    },
                }
            ],
            "payment_intent_data": {
                "capture_method": "manual" if order.capture_later else "automatic",
                "metadata": {"order": order.id},
            },
            "expand": _EXPANDED,
        }
        made = await _told(self._client.v1.checkout.sessions.create_async(asked, {"idempotency_key": order.id}))
        return _held(made)

    async def find(self, reference: str) -> Held:
        return _held(await self._session(reference))

    async def capture(self, order: Order, amount_minor: int) -> Held:
        session = await self._session(order.reference or "")
        held = _held(session)
        if held.state is OrderState.CAPTURED and held.captured_minor == amount_minor:
            return held
        if held.state is not OrderState.AUTHORISED or not 0 < amount_minor <= held.amount_minor:
            raise Conflict("this much is not held", code="not_held")
        await _told(
            self._client.v1.payment_intents.capture_async(
                _intent_of(session).id, {"amount_to_capture": amount_minor}, {"idempotency_key": f"{order.id}:capture"}
            )
        )
        return await self.find(held.reference)

    async def cancel(self, order: Order) -> Held:
        session = await self._session(order.reference or "")
        held = _held(session)
        if held.state in (OrderState.CANCELLED, OrderState.FAILED):
            return held
        if held.state is OrderState.CAPTURED:
            raise Conflict("the money has been taken: it can only be given back", code="not_held")
        if held.state is OrderState.AUTHORISED:
            await _told(
                self._client.v1.payment_intents.cancel_async(
                    _intent_of(session).id, {}, {"idempotency_key": f"{order.id}:cancel"}
                )
            )
        else:
            await _told(self._client.v1.checkout.sessions.expire_async(held.reference))
        return await self.find(held.reference)

    async def refund(self, key: str, order: Order, amount_minor: int) -> str:
        session = await self._session(order.reference or "")
        if session.payment_intent is None:
            raise Conflict("nothing was taken", code="not_held")
        asked: Any = {
            "payment_intent": _intent_of(session).id,
            "amount": amount_minor,
            "metadata": {"refund": key, "order": order.id},
        }
        made = await _told(self._client.v1.refunds.create_async(asked, {"idempotency_key": key}))
        return str(made.id)

    def message(self, headers: Mapping[str, str], body: bytes) -> Message | None:
        try:
            event = stripe.Webhook.construct_event(
                body.decode(), headers.get("stripe-signature", ""), self._webhook_secret, _SIGNED_WITHIN_S
            )
        except stripe.SignatureVerificationError as error:
            raise Denied("the message's signature is wrong") from error
        except ValueError as error:
            raise Invalid("this is no message of the provider") from error
        about: Any = event.data.object
        if about["object"] != "checkout.session":
            return None
        return Message(str(event.id), str(about["id"]))

    async def _session(self, reference: str) -> Any:
        asked: Any = {"expand": _EXPANDED}
        return await _told(self._client.v1.checkout.sessions.retrieve_async(reference, asked))


def _intent_of(session: Any) -> Any:
    return session.payment_intent


def _held(session: Any) -> Held:
    intent = session.payment_intent
    state, captured, back = OrderState.PENDING, 0, 0
    if session.status == "expired":
        state = OrderState.FAILED
    elif intent is not None and intent.status == "requires_capture":
        state = OrderState.AUTHORISED
    elif intent is not None and intent.status == "canceled":
        state = OrderState.CANCELLED
    elif intent is not None and intent.status == "succeeded":
        state, captured = OrderState.CAPTURED, int(intent.amount_received)
        back = int(intent.latest_charge.amount_refunded) if intent.latest_charge is not None else 0
    url = session.url if state is OrderState.PENDING else None
    return Held(NAME, session.id, state, int(session.amount_total), session.currency.upper(), captured, back, url)


async def _told(call: Awaitable[Answer]) -> Answer:
    """An answer, or the client's error as parking's."""
    try:
        return await call
    except stripe.CardError as error:
        raise PaymentRefused("the bank refuses this payment") from error
    except stripe.IdempotencyError as error:
        raise Conflict("this payment key was used for another amount", code="payment_key_reused") from error
    except stripe.InvalidRequestError as error:
        if error.http_status == 404:
            raise NotFound("the provider knows no such payment") from error
        raise Conflict("the provider does not accept this", code="not_accepted") from error
    except stripe.StripeError as error:
        raise Unavailable("the payment provider does not answer", code="provider_unavailable") from error
