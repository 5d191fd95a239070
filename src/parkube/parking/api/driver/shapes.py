"""The driver's JSON: garages found, quotes, bookings, sessions, receipts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from parkube.parking.api.shapes import Moment, Shape, Timed
from parkube.parking.domain.sharing import Vehicle as VehicleRecord

Country = Annotated[str | None, Field(pattern="^[A-Z]{2}$")]
BayKind = Literal["standard", "ev", "accessible", "motorcycle"]


class SearchAsked(Timed):
    """A search's query. Times carry an offset, or are local times; without a window it is two hours from now."""

    lat: float | None = Field(default=None, ge=-90, le=90)
    lon: float | None = Field(default=None, ge=-180, le=180)
    from_: str | None = Field(default=None, alias="from", max_length=40)
    to: str | None = Field(default=None, max_length=40)
    limit: int = Field(default=20, ge=1, le=200)
    q: str = Field(default="", max_length=100)
    bay_kind: BayKind | None = None


class GarageFound(Shape):
    """One garage of a search, with what a stay in the window costs in all; what is unknown is null."""

    id: str
    name: str
    city: str
    latitude: float | None
    longitude: float | None
    distance_m: int | None
    price_cents: int | None
    currency: str
    free_bays: int | None
    almost_full: bool
    capacity: int | None
    bookable: bool
    verified: bool
    online: bool


class GaragesFound(Shape):
    """The nearest first, or by name where the search had no place."""

    items: list[GarageFound]


class Expected(Shape):
    """Free bays to expect at the arrival, and by how many that is wrong in the mean."""

    free_bays: int
    error_bays: float


class GarageDetail(GarageFound):
    """One garage with its tariff in words. expected: null where a forecast would be no better than as now."""

    expected: Expected | None = None

    time_zone: str
    usage: str
    gates: list[str]
    height_m: float | None
    tariff: list[str]


class Vehicle(Shape):
    """What the driver says of the vehicle; what is not said is not checked."""

    kind: Literal["car", "van", "camper", "motorcycle", "lorry", "bus"] | None = None
    height_m: float | None = Field(default=None, gt=0, le=10)
    length_m: float | None = Field(default=None, gt=0, le=40)
    weight_kg: int | None = Field(default=None, gt=0, le=60_000)

    def record(self) -> VehicleRecord:
        return VehicleRecord(self.kind, self.height_m, self.length_m, self.weight_kg)


class QuoteAsked(Timed):
    """A stay to be priced. Times carry an offset, or are local times of the garage."""

    garage_id: str = Field(min_length=1, max_length=63)
    from_: str = Field(alias="from", max_length=40)
    to: str = Field(max_length=40)
    bay_kind: BayKind = "standard"
    vehicle: Vehicle = Field(default_factory=lambda: Vehicle())


class Line(Shape):
    """One explained line of a price, VAT included."""

    text: str
    amount_cents: int


class Quote(Shape):
    """A price pinned until expires_at."""

    id: str
    garage_id: str
    from_: Moment = Field(alias="from")
    to: Moment
    price_cents: int
    currency: str
    vat_cents: int
    lines: list[Line]
    expires_at: Moment


class BookingAsked(Shape):
    """A quote taken up."""

    quote_id: str = Field(min_length=1, max_length=64)
    plate: str | None = Field(default=None, max_length=16)
    plate_country: Country = None


class Gate(Shape):
    """A gate that the booking may open."""

    name: str
    direction: Literal["entry", "exit", "both"]


class GarageOfBooking(Shape):
    """Where the booking is."""

    id: str
    name: str
    city: str
    latitude: float | None
    longitude: float | None
    gates: list[Gate]
    doors: list[str] = []
    online: bool


class Session(Shape):
    """The vehicle's stay."""

    state: Literal["running", "soft_closed", "closed"]
    entered_at: Moment
    exited_at: Moment | None


class Notice(Shape):
    """Something the driver should know of the booking."""

    kind: str
    at: Moment


class Booking(Shape):
    """A booking; `secret` is what later calls carry as bearer token, `grant` what the QR code holds."""

    id: str
    secret: str
    state: Literal["booked", "entered", "exited", "paid", "cancelled", "expired"]
    garage: GarageOfBooking
    from_: Moment = Field(alias="from")
    to: Moment
    price_cents: int
    due_cents: int
    currency: str
    lines: list[Line]
    plate: str | None
    bay_kind: BayKind
    drive_up: bool
    in_out: bool
    grant: str
    qr_svg: str
    session: Session | None
    notices: list[Notice] = []
    replaced_by: str | None = None


class StayAsked(Shape):
    """A stay that begins now, without a booking."""

    garage_id: str = Field(min_length=1, max_length=63)
    gate: str | None = Field(default=None, max_length=32)
    plate: str | None = Field(default=None, max_length=16)
    plate_country: Country = None
    bay_kind: BayKind = "standard"
    vehicle: Vehicle = Field(default_factory=Vehicle)


class ChangeAsked(Shape):
    """What is to change; what is absent stays."""

    to: str | None = Field(default=None, max_length=40)
    plate: str | None = Field(default=None, min_length=1, max_length=16)
    plate_country: Country = None

    @model_validator(mode="after")
    def _something(self) -> ChangeAsked:
        if self.to is None and self.plate is None:
            raise ValueError("nothing is to change: give `to`, `plate` or both")
        return self


class BookingChanged(Shape):
    """The booking afterwards, and what it costs more than before (less: below 0)."""

    booking: Booking
    difference_cents: int
    preview: bool


class CredentialAsked(Shape):
    """A PIN is made by the platform; a card's number is read off the card."""

    kind: Literal["pin", "rfid"]
    value: str | None = Field(default=None, max_length=64)


class Credential(Shape):
    """What opens the booking's gates."""

    kind: Literal["pin", "rfid", "plate"]
    value: str


class GuaranteeAsked(Shape):
    """What the driver wants instead of the bay that is not there."""

    wish: Literal["another", "money"]


class OpenAsked(Shape):
    """Which gate to open."""

    gate: str = Field(pattern="^[a-z][a-z0-9-]{0,31}$")


class OpenAnswer(Shape):
    """What became of a command to open: `sent` when the garage has not answered yet."""

    command_id: str
    state: Literal["sent", "opened", "refused"]
    reason: str | None = None
    code: str | None = None


class PayAsked(Shape):
    """How to pay, and where the driver comes back to after confirming it at the bank."""

    method: str = Field(default="card", pattern="^[a-z_]{2,32}$")
    return_url: str = Field(default="", max_length=2000)


class Order(Shape):
    """A payment on its way. `url` is where the driver confirms it, null where nothing is to be confirmed."""

    id: str
    state: Literal["asked", "pending", "authorised", "captured", "cancelled", "failed"]
    method: str
    amount_cents: int
    captured_cents: int
    currency: str
    url: str | None


class Receipt(Shape):
    """What was paid for, VAT included and apart. A credit note's amounts are negative, it refers to a receipt."""

    kind: Literal["receipt", "credit_note"]
    refers_to: int | None
    number: int
    booking_id: str
    garage: GarageOfBooking
    issued_at: Moment
    entered_at: Moment | None
    exited_at: Moment | None
    lines: list[Line]
    total_cents: int
    vat_cents: int
    vat_percent: str
    net_cents: int
    currency: str


class Place(Shape):
    """A city or garage whose name matches."""

    kind: Literal["city", "garage"]
    name: str
    city: str
    latitude: float
    longitude: float
    garages: int
    garage_id: str | None = None


class Places(Shape):
    """Cities first."""

    items: list[Place]


class CodeAsked(Shape):
    """Where a code is to be sent."""

    email: str = Field(min_length=3, max_length=254)


class CodeShown(CodeAsked):
    """The code that came by mail."""

    code: str = Field(min_length=4, max_length=20)


class LoggedIn(Shape):
    """The bearer token of the calls that follow; it is shown once."""

    token: str
    person_id: str


class Account(Shape):
    """Who is logged in."""

    id: str
    email: str | None
    name: str
    since: Moment


class BookingRow(Shape):
    """A booking in a list."""

    id: str
    garage_id: str
    state: Literal["booked", "entered", "exited", "paid", "cancelled", "expired"]
    from_: Moment = Field(alias="from")
    to: Moment
    charged_cents: int
    due_cents: int
    currency: str
    plate: str | None


class Documents(Shape):
    """Receipts and credit notes, by number."""

    items: list[Receipt]


class BuyerAsked(Shape):
    """To whom a receipt is to be an invoice."""

    name: str = Field(min_length=1, max_length=200)
    address: str = Field(min_length=1, max_length=400)
    country: str = Field(default="NL", pattern="^[A-Z]{2}$")
    vat_number: str = Field(default="", max_length=32)


class Buyer(BuyerAsked):
    """The buyer of an invoice, and its number."""

    number: int
