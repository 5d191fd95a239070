"""Settlement files of payment providers, as rows to reconcile. Reads; what does not match is found elsewhere.

    builtin  kind,reference,amount,fee,currency            payment or refund, amounts with a decimal point
    stripe   the itemised payout reconciliation report: reporting_category, gross, fee, currency, and the metadata
             columns payment_metadata[order] and refund_metadata[refund] that our orders carry
    mollie   the settlement export: Type (payment, refund, …), ID, Amount, Currency, Fee

A file with a fault is refused whole, with every fault named by its line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.reconciliation import OTHER, PAYMENT, REFUND, Settled

Row = Mapping[str, str]
_MOST_BYTES: Final = 50_000_000
_STRIPE_KINDS: Final = {"charge": PAYMENT, "refund": REFUND}


def read(path: Path, provider: str) -> list[Settled]:
    """The rows of a provider's file. Raises Invalid with every fault."""
    if path.stat().st_size > _MOST_BYTES if path.is_file() else True:
        raise Invalid(f"{path} is not there, or is too big for a settlement")
    return parse(path.read_bytes(), provider, str(path))


def parse(data: bytes, provider: str, name: str = "the file") -> list[Settled]:
    """The same, of bytes."""
    known = _SHAPES.get(provider)
    if known is None:
        raise Invalid(f"settlements of {provider!r} cannot be read, those of {', '.join(_SHAPES)} can")
    columns, take = known
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is not UTF-8: it is another file") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    missing = sorted(columns - set(reader.fieldnames or ()))
    if missing:
        raise Invalid(f"{name} is no settlement of {provider}: it has no column {', '.join(missing)}")
    rows: list[Settled] = []
    faults: list[tuple[str, str]] = []
    try:
        for row in reader:
            line = reader.line_num
            try:
                rows.append(take(row, line))
            except (InvalidOperation, KeyError, TypeError, AttributeError, ValueError) as error:
                faults.append((f"line {line}", f"cannot be read: {error.__class__.__name__}"))
    except csv.Error as error:
        faults.append((f"line {reader.line_num}", f"{error}: the file has been cut"))
    if faults:
        raise Invalid("; ".join(f"{where} {what}" for where, what in faults), faults)
    return rows


def _builtin(row: Row, line: int) -> Settled:
    kind = row["kind"].strip()
    if kind not in (PAYMENT, REFUND):
        kind = OTHER
    return Settled(kind, row["reference"].strip(), _minor(row["amount"]), _minor(row["fee"]), row["currency"], line)


def _stripe(row: Row, line: int) -> Settled:
    kind = _STRIPE_KINDS.get(row["reporting_category"].strip(), OTHER)
    ours = row["payment_metadata[order]"] if kind == PAYMENT else row["refund_metadata[refund]"]
    amount = _minor(row["gross"])
    # A refund is negative in the report; a fee of its own, or a chargeback, keeps its sign.
    if kind == REFUND:
        amount = -amount
    reference = (ours or "").strip() or row["balance_transaction_id"].strip()
    return Settled(kind, reference, amount, _minor(row["fee"] or "0"), row["currency"].strip().upper(), line)


def _mollie(row: Row, line: int) -> Settled:
    kind = {"payment": PAYMENT, "refund": REFUND}.get(row["Type"].strip().lower(), OTHER)
    amount = _minor(row["Amount"])
    if kind == REFUND:
        amount = abs(amount)
    return Settled(kind, row["ID"].strip(), amount, _minor(row["Fee"] or "0"), row["Currency"].strip().upper(), line)


def _minor(text: str) -> int:
    amount = Decimal(text.strip()) * 100
    if amount != amount.to_integral_value() or not amount.is_finite():
        raise ValueError(text)
    return int(amount)


_SHAPES: Final[dict[str, tuple[set[str], Callable[[Row, int], Settled]]]] = {
    "builtin": ({"kind", "reference", "amount", "fee", "currency"}, _builtin),
    "stripe": (
        {
            "balance_transaction_id", "reporting_category", "gross", "fee", "currency", "payment_metadata[order]",
            "refund_metadata[refund]",
        },
        _stripe,
    ),
    "mollie": ({"Type", "ID", "Amount", "Currency", "Fee"}, _mollie),
}  # fmt: skip
