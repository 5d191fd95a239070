"""The double-entry ledger: every entry moves amounts from account to account, and nothing is ever changed.

A move names its debit and its credit account and one positive amount, so an entry that does not balance cannot be
written. An entry says what its moves come to, and the database refuses one whose moves come to anything else, so none
is half there. A mistake is mended by an entry that points at the one it corrects.

Accounts:
    driver:<booking>         what a driver owes us (debit) and has paid (credit)
    prepaid:<booking>        money taken before the stay was charged: the driver's until then
    refunds:<booking>        what goes back to a driver and has not left the provider yet
    garage:<garage>          what we owe a garage's owner
    vat:<country>            VAT on parking, to be paid on
    commission:<currency>    what the platform earns
    commission-vat:<country> VAT on that, to be paid on
    discounts:<currency>     discounts that the platform bears
    payable:<organisation>   a payout that is made and has not left the bank yet
    provider:<name>          money that lies with a payment provider
    fees:<name>              what a provider kept for itself
    bank:<currency>          the platform's own account
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from parkube.parking.domain.errors import ParkingError


class LedgerError(ParkingError):
    """An entry that must not be written."""

    code = "ledger"


@dataclass(frozen=True, slots=True)
class Move:
    """An amount in minor units, moved from the credited account to the debited one."""

    debit: str
    credit: str
    amount_minor: int

    def __post_init__(self) -> None:
        if self.amount_minor <= 0:
            raise LedgerError(f"a move of {self.amount_minor} between {self.debit} and {self.credit}")
        if self.debit == self.credit:
            raise LedgerError(f"a move from {self.debit} to itself")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in the books, in one currency. (kind, reference) is its own, so nothing is written twice.

    booking_id is None where it is about no single stay: a payout, a settlement. id is the database's, once written.
    """

    kind: str
    reference: str
    booking_id: str | None
    at: datetime
    currency: str
    moves: tuple[Move, ...]
    text: str = ""
    corrects: int | None = None
    id: int | None = None

    @property
    def total_minor(self) -> int:
        """What its moves come to."""
        return sum(move.amount_minor for move in self.moves)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the platform keeps of a garage's net turnover, in hundredths of a percent, and the VAT on that."""

    organisation_id: str
    commission_bp: int
    vat_percent: Decimal = Decimal(21)
    country: str = "NL"


def charged(
    booking_id: str,
    garage_id: str,
    gross_minor: int,
    vat_minor: int,
    currency: str,
    at: datetime,
    reference: str,
    country: str = "NL",
) -> Entry:
    """A stay's charge: the driver owes it, the owner has earned the net, the rest is VAT."""
    driver = f"driver:{booking_id}"
    parts = ((f"garage:{garage_id}", gross_minor - vat_minor), (f"vat:{country}", vat_minor))
    moves = tuple(Move(driver, account, amount) for account, amount in parts if amount > 0)
    return Entry("charge", reference, booking_id, at, currency, moves)


def discounted(
    booking_id: str, bearer: str, gross_minor: int, vat_minor: int, currency: str, at: datetime, reference: str,
    text: str, country: str = "NL",
) -> Entry:  # fmt: skip
    """Less to pay: the driver owes less, whoever bears it (a garage's or the platform's account) earns less."""
    parts = ((bearer, gross_minor - vat_minor), (f"vat:{country}", vat_minor))
    moves = tuple(Move(account, f"driver:{booking_id}", amount) for account, amount in parts if amount > 0)
    return Entry("discount", reference, booking_id, at, currency, moves, text)


def credited(
    booking_id: str, garage_id: str, gross_minor: int, vat_minor: int, currency: str, at: datetime, reference: str,
    text: str, corrects: int | None, country: str = "NL",
) -> Entry:  # fmt: skip
    """A paid charge taken back, in part or whole: the money waits to go back to the driver."""
    parts = ((f"garage:{garage_id}", gross_minor - vat_minor), (f"vat:{country}", vat_minor))
    moves = tuple(Move(account, f"refunds:{booking_id}", amount) for account, amount in parts if amount > 0)
    return Entry("credit", reference, booking_id, at, currency, moves, text, corrects)


def refunded(booking_id: str, provider: str, amount_minor: int, currency: str, at: datetime, reference: str) -> Entry:
    """Money has left the provider, back to the driver."""
    move = Move(f"refunds:{booking_id}", f"provider:{provider}", amount_minor)
    return Entry("refund", reference, booking_id, at, currency, (move,))


def refunded_by_bank(booking_id: str, amount_minor: int, currency: str, at: datetime, reference: str) -> Entry:
    """The same by a transfer from our bank, where the provider refused to send it back."""
    move = Move(f"refunds:{booking_id}", f"bank:{currency}", amount_minor)
    return Entry("refund", reference, booking_id, at, currency, (move,))


def prepaid(booking_id: str, provider: str, amount_minor: int, currency: str, at: datetime, reference: str) -> Entry:
    """Money taken before the stay: the provider holds it, it is still the driver's."""
    move = Move(f"provider:{provider}", f"prepaid:{booking_id}", amount_minor)
    return Entry("prepayment", reference, booking_id, at, currency, (move,))


def settled(booking_id: str, due_minor: int, rest_minor: int, currency: str, at: datetime, reference: str) -> Entry:
    """Prepaid money used: what is due pays the stay, the rest waits to go back."""
    parts = ((f"driver:{booking_id}", due_minor), (f"refunds:{booking_id}", rest_minor))
    moves = tuple(Move(f"prepaid:{booking_id}", account, amount) for account, amount in parts if amount > 0)
    return Entry("settle", reference, booking_id, at, currency, moves)


def commissioned(
    booking_id: str, garage_id: str, entries: Iterable[Entry], terms: Terms, currency: str, at: datetime, reference: str
) -> Entry:
    """What brings a booking's commission to its share of the net that the garage earns by it now.

    Worked out on the sum and not on each event, so that a stay charged, discounted and refunded in parts costs the
    owner exactly what one charge of the rest would have. Without moves where nothing changes.
    """
    garage, earnings, fee = f"garage:{garage_id}", f"commission:{currency}", f"commission-vat:{terms.country}"
    known = tuple(entries)
    net = -sum(_signed(move, garage) for e in known if e.kind != "commission" for move in e.moves)
    wanted = _half_up(Decimal(net * terms.commission_bp) / 10_000)
    parts = {earnings: wanted, fee: _half_up(Decimal(wanted) * terms.vat_percent / 100)}
    moves = []
    for account, target in parts.items():
        more = target + sum(_signed(move, account) for e in known for move in e.moves)
        if more:
            moves.append(Move(garage, account, more) if more > 0 else Move(account, garage, -more))
    return Entry("commission", reference, booking_id, at, currency, tuple(moves))


def paid_out(organisation_id: str, sums: Mapping[str, int], currency: str, at: datetime, reference: str) -> Entry:
    """What the garages' accounts hold for their owner becomes payable. A garage that owes us lessens it."""
    owner = f"payable:{organisation_id}"
    moves = [Move(account, owner, held) if held > 0 else Move(owner, account, -held) for account, held in sums.items()]
    return Entry("payout", reference, None, at, currency, tuple(moves))


def left_the_bank(organisation_id: str, amount_minor: int, currency: str, at: datetime, reference: str) -> Entry:
    """A payout was transferred."""
    return Entry(
        "transfer",
        reference,
        None,
        at,
        currency,
        (Move(f"payable:{organisation_id}", f"bank:{currency}", amount_minor),),
    )


def settlement(provider: str, gross_minor: int, fee_minor: int, currency: str, at: datetime, reference: str) -> Entry:
    """A provider paid out what it held, less its fees. A provider that took more back than it had is the other way."""
    parts = ((f"bank:{currency}", gross_minor - fee_minor), (f"fees:{provider}", fee_minor))
    holder = f"provider:{provider}"
    moves = [
        Move(account, holder, amount) if amount > 0 else Move(holder, account, -amount)
        for account, amount in parts
        if amount
    ]
    return Entry("settlement", reference, None, at, currency, tuple(moves))


def reversal(wrong: Entry, at: datetime, text: str) -> Entry:
    """The correction of a written entry: every move back, pointing at it. Once for each entry, by its reference."""
    if wrong.id is None:
        raise LedgerError("only an entry that is written can be corrected")
    if wrong.kind == "reversal":
        raise LedgerError("a correction is not corrected: write the right entry")
    moves = tuple(Move(move.credit, move.debit, move.amount_minor) for move in wrong.moves)
    return Entry("reversal", str(wrong.id), wrong.booking_id, at, wrong.currency, moves, text, wrong.id)


def paid(booking_id: str, provider: str, amount_minor: int, currency: str, at: datetime, reference: str) -> Entry:
    """A payment: the provider holds the money, the driver owes it no longer."""
    move = Move(f"provider:{provider}", f"driver:{booking_id}", amount_minor)
    return Entry("payment", reference, booking_id, at, currency, (move,))


def balances(entries: Iterable[Entry]) -> dict[tuple[str, str], int]:
    """Debit minus credit of every account, by (account, currency). They add up to nothing in each currency."""
    sums: dict[tuple[str, str], int] = {}
    for entry in entries:
        for move in entry.moves:
            debit, credit = (move.debit, entry.currency), (move.credit, entry.currency)
            sums[debit] = sums.get(debit, 0) + move.amount_minor
            sums[credit] = sums.get(credit, 0) - move.amount_minor
    return sums


def balance(entries: Iterable[Entry], account: str) -> int:
    """Debit minus credit of one account."""
    return sum(_signed(move, account) for entry in entries for move in entry.moves)


def vat(entry: Entry) -> int:
    """Debit minus credit of the VAT on parking in one entry: negative where it is charged, positive given back."""
    return sum(
        move.amount_minor * (move.debit.startswith("vat:") - move.credit.startswith("vat:")) for move in entry.moves
    )


def _signed(move: Move, account: str) -> int:
    return move.amount_minor * ((move.debit == account) - (move.credit == account))


def _half_up(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))
