"""Taking in a register of garages: all of it or nothing, with a report that names every row that was refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.garages import Garage
from parkube.parking.services.platform import Platform

SHRINKS_TO = 0.8
AT_ONCE: Final = 500
GARAGES_CHANGED = "garages_changed"
"""The setting by which a running platform notices that another process took garages in."""


@dataclass(slots=True)
class Report:
    """What an import did. `refused`, `duplicates` and `changes` are sentences that name the row."""

    read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)


async def take_in(
    platform: Platform,
    garages: Sequence[Garage],
    report: Report,
    *,
    source: str,
    force: bool,
    done: Callable[[int], object] = lambda _many: None,
) -> Report:
    """Writes a register's garages in one transaction. What the operator manages keeps what the operator said.

    `done` hears how many more rows are dealt with; nothing of them is kept before all are.
    Raises Invalid when the register is much shorter than the last time, unless forced: it may have been cut.
    """
    async with platform.database.writing() as transaction:
        known = {garage.id: garage for garage in await transaction.garages()}
        before = sum(1 for garage in known.values() if garage.source == source)
        if not force and len(garages) < before * SHRINKS_TO:
            raise Invalid(
                f"the file holds {len(garages)} garages where the last import had {before}: it may have been cut, "
                "nothing was imported (--force imports it all the same)"
            )
        written = []
        for garage in garages:
            old = known.get(garage.id)
            new = _kept(old, garage) if old else garage
            if old is None:
                report.added += 1
            elif old == new:
                report.unchanged += 1
                continue
            else:
                report.changed += 1
                report.changes.append(_said(old, new))
            written.append(new)
        done(len(garages) - len(written))
        for first in range(0, len(written), AT_ONCE):
            part = written[first : first + AT_ONCE]
            await transaction.put_garages(part)
            done(len(part))
        await transaction.put_setting(GARAGES_CHANGED, platform.new_id("ch"))
    for garage in written:
        platform.index.put(garage)
    return report


def _said(old: Garage, new: Garage) -> str:
    names = [name for name in Garage.__dataclass_fields__ if getattr(old, name) != getattr(new, name)]
    told = [
        f"{name}" if name in ("tariff", "gates") else f"{name} {getattr(old, name)!r} -> {getattr(new, name)!r}"
        for name in names
    ]
    return f"{new.id} ({new.name}): {', '.join(told)}"


def _kept(old: Garage, new: Garage) -> Garage:
    if not old.managed:
        return new
    return replace(old, usage=new.usage, height_m=new.height_m, source=new.source, source_ref=new.source_ref)
