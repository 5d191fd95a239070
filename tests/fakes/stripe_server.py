"""A server that answers as Stripe's API reference says, for what the adapter asks of it; the driver is the test."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KEY = "sk_test_parkube"
WEBHOOK_SECRET = "whsec_parkube"


class StripeServer:
    """Checkout Sessions, PaymentIntents, refunds. `silent_after` drops that many answers after doing what was asked."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.intents: dict[str, dict[str, Any]] = {}
        self.refunds: list[dict[str, Any]] = []
        self.answered: dict[str, tuple[str, int, Any]] = {}
        self.silent_after = 0
        self.requests = 0
        base = "/v1/checkout/sessions"
        self.app = Starlette(
            routes=[
                Route(base, self._call(self._create), methods=["POST"]),
                Route(base + "/{id}", self._call(self._session), methods=["GET"]),
                Route(base + "/{id}/expire", self._call(self._expire), methods=["POST"]),
                Route("/v1/payment_intents/{id}/capture", self._call(self._capture), methods=["POST"]),
                Route("/v1/payment_intents/{id}/cancel", self._call(self._cancel), methods=["POST"]),
                Route("/v1/refunds", self._call(self._refund), methods=["POST"]),
            ]
        )

    def confirm(self, session_id: str) -> None:
        """The driver pays at the checkout."""
        session = self.sessions[session_id]
        manual = session["_asked"]["payment_intent_data[capture_method]"] == "manual"
        number = f"pi_{len(self.intents) + 1}"
        self.intents[number] = {
            "id": number, "object": "payment_intent", "amount": session["amount_total"],
            "amount_received": 0 if manual else session["amount_total"], "currency": session["currency"],
            "status": "requires_capture" if manual else "succeeded",
            "metadata": {"order": session["_asked"]["payment_intent_data[metadata][order]"]},
            "latest_charge": {"id": f"ch_{number}", "object": "charge", "amount_refunded": 0},
        }  # fmt: skip
        session.update(payment_intent=number, status="complete", url=None)

    def give_up(self, session_id: str) -> None:
        """The driver goes away, and the session expires."""
        self.sessions[session_id].update(status="expired", url=None)

    def message(self, session_id: str) -> tuple[dict[str, str], bytes]:
        """checkout.session.completed, signed."""
        session = {k: v for k, v in self.sessions[session_id].items() if k != "_asked"}
        body = orjson.dumps(
            {"id": f"evt_{session_id}", "object": "event", "type": "checkout.session.completed",
             "data": {"object": session}}
        )  # fmt: skip
        stamp = str(int(time.time()))
        signature = hmac.digest(WEBHOOK_SECRET.encode(), stamp.encode() + b"." + body, "sha256").hex()
        return {"stripe-signature": f"t={stamp},v1={signature}"}, body

    def _call(self, do: Any) -> Any:
        async def endpoint(request: Request) -> Response:
            self.requests += 1
            if request.headers.get("authorization") != f"Bearer {KEY}":
                return _error(401, "invalid_request_error", "Invalid API Key provided")
            given = dict(parse_qsl((await request.body()).decode())) | dict(request.query_params)
            key = request.headers.get("idempotency-key") if request.method == "POST" else None
            print_of = hashlib.sha256(repr((request.url.path, sorted(given.items()))).encode()).hexdigest()
            if key in self.answered:
                before, status, body = self.answered[key]
                if before != print_of:
                    return _error(400, "idempotency_error", "Keys for idempotent requests can only be used again alike")
                return JSONResponse(body, status)
            answer: Response = do(request.path_params.get("id", ""), given)
            if key is not None and answer.status_code < 500:
                self.answered[key] = (print_of, answer.status_code, orjson.loads(bytes(answer.body)))
            if self.silent_after:
                self.silent_after -= 1
                return _error(503, "api_error", "try again")
            return answer

        return endpoint

    def _create(self, _id: str, given: dict[str, str]) -> Response:
        number = f"cs_test_{len(self.sessions) + 1}"
        self.sessions[number] = {
            "id": number, "object": "checkout.session", "status": "open", "payment_status": "unpaid",
            "amount_total": int(given["line_items[0][price_data][unit_amount]"]),
            "currency": given["line_items[0][price_data][currency]"], "payment_intent": None,
            "client_reference_id": given["client_reference_id"], "url": f"https://checkout.example/{number}",
            "_asked": given,
        }  # fmt: skip
        return self._session(number, given)

    def _session(self, number: str, _given: dict[str, str]) -> Response:
        session = self.sessions.get(number)
        if session is None:
            return _error(404, "invalid_request_error", f"No such checkout.session: {number}", "resource_missing")
        shown = {k: v for k, v in session.items() if k != "_asked"}
        if shown["payment_intent"]:
            shown["payment_intent"] = self.intents[shown["payment_intent"]]
        return JSONResponse(shown)

    def _expire(self, number: str, given: dict[str, str]) -> Response:
        self.give_up(number)
        return self._session(number, given)

    def _capture(self, number: str, given: dict[str, str]) -> Response:
        intent = self.intents[number]
        amount = int(given.get("amount_to_capture", intent["amount"]))
        if intent["status"] != "requires_capture":
            return _error(400, "invalid_request_error", "wrong status", "payment_intent_unexpected_state")
        if amount > intent["amount"]:
            return _error(400, "invalid_request_error", "too much", "amount_too_large")
        intent.update(status="succeeded", amount_received=amount)
        return JSONResponse(intent)

    def _cancel(self, number: str, _given: dict[str, str]) -> Response:
        intent = self.intents[number]
        if intent["status"] == "succeeded":
            return _error(400, "invalid_request_error", "wrong status", "payment_intent_unexpected_state")
        intent.update(status="canceled")
        return JSONResponse(intent)

    def _refund(self, _id: str, given: dict[str, str]) -> Response:
        intent, amount = self.intents[given["payment_intent"]], int(given["amount"])
        charge = intent["latest_charge"]
        if charge["amount_refunded"] + amount > intent["amount_received"]:
            return _error(400, "invalid_request_error", "Refund amount is greater than unrefunded amount on charge")
        charge["amount_refunded"] += amount
        made = {"id": f"re_{len(self.refunds) + 1}", "object": "refund", "amount": amount, "status": "succeeded"}
        self.refunds.append(made)
        return JSONResponse(made)


def _error(status: int, kind: str, message: str, code: str | None = None) -> JSONResponse:
    return JSONResponse({"error": {"type": kind, "message": message, "code": code}}, status)
