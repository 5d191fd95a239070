"""A generated year of stays, replayed through the platform's services into its database, a day a transaction.

Each stay is booked, driven in and out by the garage's journal, charged, paid, receipted; once a month owners are paid
out. Some do not come, give up, stay on, or leave without being seen. Clock, identifiers and chance are the seed's, so
the same year ends the same. The payment provider is a stand-in that always takes the money: it is not the platform.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any

from sqlalchemy import func, select

from bench.measure import BenchError
from parkube.parking.adapters.database import SqlDatabase, batch
from parkube.parking.adapters.database import schema as t
from parkube.parking.adapters.signing import load_signer
from parkube.parking.domain.errors import Conflict
from parkube.parking.domain.garages import Garage, Gate, GateEvent
from parkube.parking.domain.ledger import Terms
from parkube.parking.domain.payments import Held, Order, OrderState
from parkube.parking.domain.people import Organisation
from parkube.parking.domain.sessions import LOST_EXIT_AFTER
from parkube.parking.domain.tariffs import Band, Step, Tariff
from parkube.parking.services import booking, journal, keeping, paying, payouts
from parkube.parking.services.links import Connection
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports_payments import Message

START = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
_HOURS = (1, 1, 1, 1, 1, 2, 6, 12, 16, 14, 12, 12, 12, 11, 10, 9, 8, 9, 10, 8, 5, 3, 2, 1)
"""How many arrive in each hour of a day, one against the other."""
_EVENING = Band("evening", 18 * 60, 7 * 60, (Step(0, 60, 100),), cap_minor=500)
TARIFFS = (
    Tariff((Step(0, 30, 150),), cap_minor=2500, name="centre"),
    Tariff((Step(0, 60, 200), Step(180, 60, 100)), cap_minor=1200, cap_window="rolling_24h", name="park and ride"),
    Tariff((Step(0, 20, 120),), bands=(_EVENING,), cap_minor=3000, rolling_cap_minor=3500, name="theatre"),
)


@dataclass(frozen=True, slots=True)
class Year:
    """How much of it: stays over days in garages, of owners who have ten garages each."""

    stays: int
    days: int = 365
    garages: int = 100
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What a replay came to. digest: of the whole ledger, in its order; the same year has the same."""

    stays: int = 0
    turned_away: int = 0
    charged_minor: int = 0
    entries: int = 0
    payouts: int = 0
    digest: str = ""


@dataclass(slots=True)
class _Bank:
    """Takes whatever it is asked for, at once. Implements services.ports_payments.Payments."""

    name: str = "bank"
    taken: dict[str, Held] = field(default_factory=dict)

    def can_hold(self, method: str) -> bool:
        return False

    async def start(self, order: Order, description: str, return_url: str) -> Held:
        amount = order.amount_minor
        return Held(self.name, f"pay:{order.id}", OrderState.CAPTURED, amount, order.currency, amount)

    async def find(self, reference: str) -> Held:
        raise BenchError(f"the bank was asked about {reference}, though it had answered")

    async def capture(self, order: Order, amount_minor: int) -> Held:
        raise BenchError("nothing was held")

    async def cancel(self, order: Order) -> Held:
        raise BenchError("nothing was held")

    async def refund(self, key: str, order: Order, amount_minor: int) -> str:
        return f"back:{key}"

    def message(self, headers: Mapping[str, str], body: bytes) -> Message | None:
        return None


class Replay:
    """One year on one database."""

    def __init__(self, database: SqlDatabase, year: Year) -> None:
        self.database, self.year, self.outcome = database, year, Outcome()
        self._now, self._count = START - DAY, 0
        self._chance = random.Random(year.seed)
        self._due: list[tuple[datetime, int, str, Any]] = []
        self._seqs: dict[str, int] = {}
        self._connections: dict[str, Connection] = {}

    async def run(self) -> AsyncIterator[Outcome]:
        """What it has come to after each day; the last has the digest. Raises BenchError where the books are wrong."""
        platform = await self._open()
        for day in range(self.year.days + 6):  # The last stays end after the year.
            until = START + (day + 1) * DAY
            for moment, what, about in self._arrivals(day):
                self._at(moment, what, about)
            async with batch(self.database, list(self._connections)) as database:
                await self._day(replace(platform, database=database), until)
            self._now = until
            if until.day == 1:
                await self._pay_owners(platform)
            yield self.outcome
        await self._check(platform)
        yield self.outcome

    async def _open(self) -> Platform:
        await self.database.upgrade()
        platform = Platform(
            database=self.database,
            signer=await load_signer(self.database),
            payments=_Bank(),
            clock=lambda: self._now,
            new_id=self._new_id,
        )
        gates = (Gate("entry", "entry"), Gate("exit", "exit"))
        garages = [
            Garage(f"nl-{index:04d}", f"Garage {index}", country="NL", capacity=40 + 10 * (index % 17), gates=gates,
                   managed=True, tariff=TARIFFS[index % len(TARIFFS)])
            for index in range(self.year.garages)
        ]  # fmt: skip
        async with self.database.writing() as transaction:
            await transaction.put_garages(garages)
        for index, garage in enumerate(garages):
            owner = f"org_{index // 10}"
            if index % 10 == 0:
                made = Organisation(owner, "owner", f"Owner {index // 10}", "", "NL", "", "", self._now)
                await payouts.put_organisation(platform, made)
            await payouts.put_terms(platform, garage.id, Terms(owner, 1200))
            self._connections[garage.id] = Connection(garage.id, _nothing, _nothing, self._now)
        await keeping.load(platform)
        return platform

    def _arrivals(self, day: int) -> Iterator[tuple[datetime, str, Any]]:
        """Bookings of a day, an even share of the year's; each is made shortly before the stay begins."""
        year, chance = self.year, self._chance
        if day >= year.days:
            return
        share = year.stays * (day + 1) // year.days - year.stays * day // year.days
        for _ in range(share):
            hour = chance.choices(range(24), _HOURS)[0]
            begins = START + day * DAY + timedelta(hours=hour, minutes=chance.randrange(60))
            garage = f"nl-{chance.randrange(year.garages):04d}"
            minutes = max(20, min(2880, int(chance.lognormvariate(4.8, 0.8))))
            yield begins - timedelta(minutes=chance.randrange(5)), "book", (garage, begins, minutes, chance.random())

    def _at(self, moment: datetime, what: str, about: Any) -> None:
        self._count += 1
        heappush(self._due, (moment, self._count, what, about))

    async def _day(self, platform: Platform, until: datetime) -> None:
        while self._due and self._due[0][0] < until:
            moment, _, what, about = heappop(self._due)
            self._now = max(self._now, moment)
            if what == "book":
                await self._book(platform, *about)
            elif what == "cancel":
                await booking.cancel(platform, about, booking.secret_of(platform.signer, about))
            elif what == "pay":
                await paying.pay(platform, about, booking.secret_of(platform.signer, about))
            else:
                await self._drive(platform, what, *about)
        self._now = until
        await journal.soft_close(platform)
        await keeping.expire(platform)

    async def _book(self, platform: Platform, garage: str, begins: datetime, minutes: int, fate: float) -> None:
        ends = begins + timedelta(minutes=minutes)
        try:
            quote = await booking.quote(platform, garage, begins.isoformat(), ends.isoformat())
            booked = await booking.book(platform, quote.id, None, None)
        except Conflict as refused:
            if refused.code != "no_free_bay":
                raise
            self.outcome.turned_away += 1
            return
        self.outcome.stays += 1
        if fate < 0.02:
            return  # nobody comes
        if fate < 0.04:
            self._at(max(self._now, begins - timedelta(minutes=1)), "cancel", booked.id)
            return
        leaves = ends + timedelta(minutes=minutes // 4 + 15) if fate > 0.95 else ends - timedelta(minutes=minutes // 8)
        self._at(begins + timedelta(minutes=1), "entry", (garage, booked.id, booked.jti))
        if fate < 0.05:
            leaves = ends + LOST_EXIT_AFTER + DAY  # its exit was lost: the platform has closed it by then
        else:
            self._at(leaves, "exit", (garage, booked.id, booked.jti))
        self._at(leaves + timedelta(minutes=2), "pay", booked.id)

    async def _drive(self, platform: Platform, gate: str, garage: str, booking_id: str, jti: str) -> None:
        seq = self._seqs[garage] = self._seqs.get(garage, 0) + 1
        event = GateEvent(garage, 0, seq, self._now, self._now, "opened", gate, jti, booking_id)
        await journal.receive(platform, self._connections[garage], [event])

    async def _pay_owners(self, platform: Platform) -> None:
        for index in range(0, self.year.garages, 10):
            for payout in await payouts.pay_out(platform, f"org_{index // 10}"):
                await payouts.transferred(platform, payout.id, f"bank:{payout.id}")
                self.outcome.payouts += 1

    async def _check(self, platform: Platform) -> None:
        """Goes through the ledger once, in its order, holding only the accounts that are not empty."""
        await self._pay_owners(platform)
        sums: dict[str, int] = {}
        digest, last = hashlib.sha256(), 0
        async with self.database.reading() as transaction:
            while page := await transaction.entries_after(last, 5000, None):
                last = page[-1].id or 0
                self.outcome.entries += len(page)
                for entry in page:
                    digest.update(f"{entry.kind} {entry.reference} {entry.at.isoformat()} {entry.moves}".encode())
                    for move in entry.moves:
                        for account, amount in ((move.debit, move.amount_minor), (move.credit, -move.amount_minor)):
                            sums[account] = sums.get(account, 0) + amount
                            if not sums[account]:
                                del sums[account]
            b = t.bookings.c
            charged, paid = (
                await transaction.connection.execute(select(func.sum(b.charged_minor), func.sum(b.paid_minor)))
            ).one()
            receipts = await transaction.connection.scalar(select(func.sum(t.receipts.c.total_minor)))
        open_accounts = [name for name in sums if name.startswith(("driver:", "prepaid:", "garage:", "payable:"))]
        if open_accounts or sum(sums.values()):
            raise BenchError(f"the ledger does not balance: {open_accounts[:5]}, all together {sum(sums.values())}")
        if not charged == paid == receipts == sums.get("provider:bank"):
            raise BenchError(f"charged {charged}, paid {paid}, receipts {receipts}, bank {sums.get('provider:bank')}")
        self.outcome.charged_minor, self.outcome.digest = int(charged), digest.hexdigest()

    def _new_id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._count:012d}"


async def _nothing(_: Any) -> None:
    """A garage that is told nothing: it only reports."""
