"""A server that answers as Mollie's API reference v2 says, for what the adapter asks; the driver is the test."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

KEY = "test_parkube"
_AT = "2026-05-04T08:00:00+00:00"


class MollieServer:
    """Payments, captures, refunds. `silent_after` drops that many answers after doing what was asked."""

    def __init__(self) -> None:
        self.payments: dict[str, dict[str, Any]] = {}
        self.count = 0
        self.answered: dict[tuple[str, str], tuple[int, Any]] = {}
        self.silent_after = 0
        self.requests = 0
        one = "/v2/payments/{id}"
        self.app = Starlette(
            routes=[
                Route("/v2/payments", self._call(self._create), methods=["POST"]),
                Route(one, self._call(self._get), methods=["GET"]),
                Route(one, self._call(self._cancel), methods=["DELETE"]),
                Route(one + "/captures", self._call(self._capture), methods=["POST"]),
                Route(one + "/release-authorization", self._call(self._release), methods=["POST"]),
                Route(one + "/refunds", self._call(self._refund), methods=["POST"]),
            ]
        )

    def confirm(self, payment_id: str) -> None:
        """The driver pays at the checkout."""
        payment = self.payments[payment_id]
        payment["status"] = "authorized" if payment.get("captureMode") == "manual" else "paid"
        payment["_links"].pop("checkout", None)
        if payment["status"] == "paid":
            payment["amountRemaining"] = payment["amount"]

    def give_up(self, payment_id: str) -> None:
        """The driver goes away, and the payment expires."""
        self.payments[payment_id]["status"] = "expired"

    def message(self, payment_id: str) -> tuple[dict[str, str], bytes]:
        """A payment's webhook: an id in a form, unsigned."""
        return {"content-type": "application/x-www-form-urlencoded"}, f"id={payment_id}".encode()

    def _call(self, do: Any) -> Any:
        async def endpoint(request: Request) -> Response:
            self.requests += 1
            if request.headers.get("authorization") != f"Bearer {KEY}":
                return _answer({"status": 401, "title": "Unauthorized Request", "detail": "", "_links": {}}, 401)
            body = await request.body()
            given = orjson.loads(body) if body else {}
            key = (request.url.path, request.headers.get("idempotency-key", ""))
            if request.method != "GET" and key[1] and key in self.answered:
                status, known = self.answered[key]
                return _answer(known, status)
            payment_id = request.path_params.get("id", "")
            if payment_id and payment_id not in self.payments:
                return _fault(404, f"No payment exists with token {payment_id}.")
            answer: Response = do(payment_id, given)
            if request.method != "GET" and key[1] and answer.status_code < 300:
                self.answered[key] = (answer.status_code, orjson.loads(bytes(answer.body) or b"null"))
            if self.silent_after:
                self.silent_after -= 1
                return _fault(503, "try again")
            return answer

        return endpoint

    def _create(self, _id: str, given: dict[str, Any]) -> Response:
        if given.get("captureMode") == "manual" and given.get("method") != "creditcard":
            return _fault(422, "The capture mode is not supported for this method")
        self.count += 1
        number = f"tr_{self.count}"
        self.payments[number] = {
            "resource": "payment", "id": number, "mode": "test", "status": "open", "sequenceType": "oneoff",
            "createdAt": _AT, "profileId": "pfl_1", "description": given["description"], "amount": given["amount"],
            "metadata": given.get("metadata"), "method": given.get("method"), "captureMode": given.get("captureMode"),
            "_links": {
                "self": _link(number), "dashboard": _link(number),
                "checkout": {"href": f"https://checkout.example/{number}", "type": "text/html"},
            },
        }  # fmt: skip
        return _answer(self.payments[number], 201)

    def _get(self, number: str, _given: dict[str, Any]) -> Response:
        return _answer(self.payments[number])

    def _cancel(self, number: str, _given: dict[str, Any]) -> Response:
        if self.payments[number]["status"] != "open":
            return _fault(422, "The payment cannot be canceled")
        self.payments[number]["status"] = "canceled"
        return _answer(self.payments[number])

    def _capture(self, number: str, given: dict[str, Any]) -> Response:
        payment = self.payments[number]
        if payment["status"] != "authorized" or _value(given["amount"]) > _value(payment["amount"]):
            return _fault(422, "The amount is higher than the maximum")
        payment.update(status="paid", amountCaptured=given["amount"])
        made = {
            "resource": "capture", "id": f"cpt_{number}", "mode": "test", "amount": given["amount"],
            "status": "succeeded", "paymentId": number, "createdAt": _AT,
            "_links": {"self": _link(number), "payment": _link(number), "documentation": _link(number)},
        }  # fmt: skip
        return _answer(made, 201)

    def _release(self, number: str, _given: dict[str, Any]) -> Response:
        payment = self.payments[number]
        if payment["status"] == "authorized":
            payment["status"] = "canceled"
        return _answer(None, 202)

    def _refund(self, number: str, given: dict[str, Any]) -> Response:
        payment, amount = self.payments[number], _value(given["amount"])
        back = _value(payment.get("amountRefunded") or {"value": "0"})
        taken = _value(payment.get("amountCaptured") or payment["amount"])
        if payment["status"] != "paid" or back + amount > taken:
            return _fault(422, "The specified amount cannot be refunded")
        payment["amountRefunded"] = {"currency": payment["amount"]["currency"], "value": str(back + amount)}
        self.count += 1
        made = {
            "resource": "refund", "id": f"re_{self.count}", "mode": "test", "description": given.get("description"),
            "amount": given["amount"], "metadata": given.get("metadata"), "paymentId": number, "status": "pending",
            "createdAt": _AT,
            "_links": {"self": _link(number), "payment": _link(number), "documentation": _link(number)},
        }  # fmt: skip
        return _answer(made, 201)


def _link(number: str) -> dict[str, str]:
    return {"href": f"https://api.example/v2/payments/{number}", "type": "application/hal+json"}


def _value(amount: dict[str, str]) -> Decimal:
    return Decimal(amount["value"])


def _answer(body: Any, status: int = 200) -> Response:
    return Response(b"" if body is None else orjson.dumps(body), status, media_type="application/hal+json")


def _fault(status: int, detail: str) -> Response:
    links = {"documentation": {"href": "https://docs.example/errors", "type": "text/html"}}
    return _answer({"status": status, "title": "Fault", "detail": detail, "_links": links}, status)
