"""A tariff in a few short phrases, for people. Not its written form, and no price of a stay."""

from __future__ import annotations

from parkube.parking.domain.money import amount_text
from parkube.parking.domain.tariffs.explain import energy_text
from parkube.parking.domain.tariffs.model import BAY_KINDS, CALENDAR_DAY, DAYS, Step, Tariff, Variant
from parkube.parking.domain.tariffs.written import clock_text


def tariff_words(tariff: Tariff) -> list[str]:
    """A tariff in a few short phrases, for people."""
    words = [f"first {tariff.free_minutes} min free"] if tariff.free_minutes else []
    if tariff.entry_fee_minor:
        words.append(f"{tariff.currency} {amount_text(tariff.entry_fee_minor)} for the entry")
    words.extend(_step_words(tariff, tariff.steps))
    for band in tariff.bands:
        when = ", ".join(str(day) for day in sorted(band.dates)) or ", ".join(d for d in DAYS if d in band.days)
        hours = f"{clock_text(band.starts_minute)}-{clock_text(band.ends_minute)}"
        cap = "" if band.cap_minor is None else f", at most {tariff.currency} {amount_text(band.cap_minor)}"
        rates = ", ".join(_step_words(tariff, band.steps))
        words.append(f"{' '.join(filter(None, (band.name, when, hours)))}: {rates}{cap}")
    if tariff.cap_minor is not None:
        day = "a calendar day" if tariff.cap_window == CALENDAR_DAY else "24 hours"
        words.append(f"at most {tariff.currency} {amount_text(tariff.cap_minor)} in {day}")
    if tariff.rolling_cap_minor is not None:
        words.append(f"at most {tariff.currency} {amount_text(tariff.rolling_cap_minor)} in 24 hours")
    if tariff.stay_cap_minor is not None:
        words.append(f"at most {tariff.currency} {amount_text(tariff.stay_cap_minor)} for a stay")
    if tariff.minimum_minutes:
        words.append(f"billed as at least {tariff.minimum_minutes} min")
    if tariff.maximum_minutes:
        words.append(f"stays of at most {tariff.maximum_minutes} min")
    if tariff.energy_minor_per_kwh:
        words.append(f"energy {tariff.currency} {energy_text(tariff)}")
    if tariff.dynamic is not None:
        words.append(f"prices move from {tariff.dynamic.lowest_percent} to {tariff.dynamic.highest_percent} % of these")
    words.extend(f"{_for_whom(variant)}: {'; '.join(tariff_words(variant.tariff))}" for variant in _shown(tariff))
    return words


def _shown(tariff: Tariff) -> list[Variant]:
    """Vouchers are between the owner and who holds one."""
    return [variant for variant in tariff.variants if not variant.vouchers]


def _for_whom(variant: Variant) -> str:
    kinds = [kind for kind in BAY_KINDS if kind in variant.bay_kinds]
    whom = [", ".join(kinds) + " bays"] if kinds else []
    whom += ["for " + ", ".join(sorted(variant.user_groups))] if variant.user_groups else []
    whom += [f"from {variant.tariff.valid_from}"] if variant.tariff.valid_from else []
    whom += [f"until {variant.tariff.valid_to}"] if variant.tariff.valid_to else []
    return " ".join(whom)


def _step_words(tariff: Tariff, steps: tuple[Step, ...]) -> list[str]:
    words = []
    for step in steps:
        amount = f"{tariff.currency} {amount_text(step.price_minor)}"
        rate = f"{amount} per {step.every_minutes} min" if step.every_minutes else f"{amount} once"
        words.append(f"after {step.from_minutes} min: {rate}" if step.from_minutes else rate)
    return words
