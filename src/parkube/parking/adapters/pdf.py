"""Receipts, invoices, credit notes and payout statements as PDF: one A4 page or more, text only, made from data.

Not a layout for a brand. Characters outside Latin-1 are written without their accents, or as a question mark.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from parkube.parking.domain.money import amount_text
from parkube.parking.domain.payouts import Payout
from parkube.parking.domain.people import Organisation
from parkube.parking.domain.receipts import Papers
from parkube.parking.domain.times import zone

_WIDTH: Final = 170.0
_LINE: Final = 6.0


def document_pdf(papers: Papers) -> bytes:
    """A receipt, invoice or credit note. The same data give the same bytes."""
    made = papers.receipt
    pdf = _begun(made.issued_at, f"{papers.title} {made.number}")
    if papers.seller is not None:
        _block(pdf, "Sold by", _address(papers.seller))
    _block(pdf, "Garage", [papers.garage_name, papers.city])
    if papers.buyer is not None:
        buyer = papers.buyer
        number = f"VAT number {buyer.vat_number}" if buyer.vat_number else ""
        _block(pdf, "To", [buyer.name, *buyer.address.splitlines(), buyer.country, number])
    facts = [("Date", _moment(made.issued_at, papers.time_zone)), ("Booking", made.booking_id)]
    if made.refers_to is not None:
        facts.append(("Takes back from number", str(made.refers_to)))
    if made.entered_at is not None:
        facts.append(("Entered", _moment(made.entered_at, papers.time_zone)))
    if made.exited_at is not None:
        facts.append(("Left", _moment(made.exited_at, papers.time_zone)))
    if made.payment_ref:
        facts.append(("Payment", made.payment_ref))
    for name, value in facts:
        _row(pdf, name, value)
    _rule(pdf)
    for line in made.lines:
        _row(pdf, line.text, amount_text(line.amount_minor))
    _rule(pdf)
    _row(pdf, f"Net, {made.currency}", amount_text(made.total_minor - made.vat_minor))
    _row(pdf, f"VAT {made.vat_percent} %", amount_text(made.vat_minor))
    _row(pdf, f"Total, {made.currency}", amount_text(made.total_minor), bold=True)
    return bytes(pdf.output())


def statement_pdf(payout: Payout, owner: Organisation) -> bytes:
    """A payout's statement."""
    pdf = _begun(payout.made_at, f"Payout {payout.number}")
    _block(pdf, "To", [*_address(owner), owner.iban])
    _row(pdf, "Made", f"{payout.made_at:%Y-%m-%d %H:%M} UTC")
    _row(pdf, "State", payout.state)
    garage = None
    for line in payout.lines:
        if line.garage_id != garage:
            garage = line.garage_id
            _rule(pdf)
            _row(pdf, garage, "", bold=True)
        _row(pdf, line.text, amount_text(line.amount_minor))
    _rule(pdf)
    _row(pdf, f"Paid out, {payout.currency}", amount_text(payout.amount_minor), bold=True)
    return bytes(pdf.output())


def _begun(at: datetime, title: str) -> FPDF:
    pdf = FPDF(format="A4")
    pdf.set_margins(20, 20)
    pdf.set_title(title)
    pdf.set_creation_date(at)
    pdf.add_page()
    pdf.set_font("Helvetica", "B", 16)
    pdf.cell(_WIDTH, 12, _latin(title), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.set_font("Helvetica", "", 10)
    return pdf


def _block(pdf: FPDF, title: str, lines: Iterable[str]) -> None:
    pdf.set_font("Helvetica", "B", 10)
    pdf.cell(_WIDTH, _LINE, _latin(title), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.set_font("Helvetica", "", 10)
    for line in lines:
        if line.strip():
            pdf.multi_cell(_WIDTH, _LINE, _latin(line), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.ln(2)


def _row(pdf: FPDF, text: str, value: str, *, bold: bool = False) -> None:
    pdf.set_font("Helvetica", "B" if bold else "", 10)
    right = max(30.0, pdf.get_string_width(_latin(value)) + 4)
    top = pdf.get_y()
    pdf.multi_cell(_WIDTH - right, _LINE, _latin(text), new_x=XPos.RIGHT, new_y=YPos.LAST)
    pdf.cell(right, _LINE, _latin(value), align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.set_y(max(top + _LINE, pdf.get_y()))


def _rule(pdf: FPDF) -> None:
    pdf.ln(1)
    pdf.line(20, pdf.get_y(), 20 + _WIDTH, pdf.get_y())
    pdf.ln(1)


def _address(organisation: Organisation) -> list[str]:
    number = f"VAT number {organisation.vat_number}" if organisation.vat_number else ""
    return [organisation.name, *organisation.address.splitlines(), organisation.country, number]


def _moment(at: datetime, zone_name: str) -> str:
    return f"{at.astimezone(zone(zone_name)):%Y-%m-%d %H:%M %Z}"


def _latin(text: str) -> str:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        folded = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in folded if not unicodedata.combining(c)).encode("latin-1", "replace").decode("latin-1")
    return "".join(c if c.isprintable() else " " for c in text)
