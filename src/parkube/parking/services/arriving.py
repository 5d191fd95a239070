"""A garage's link opened: how wrong its clock is, which state it must be in, who may pass. Told anew each time."""

from __future__ import annotations

from datetime import datetime, timedelta

from parkube.parking.domain.site import site
from parkube.parking.services import access, terms
from parkube.parking.services.links import Connection
from parkube.parking.services.platform import Platform


async def arrived(platform: Platform, connection: Connection, clock: datetime | None) -> None:
    """clock: what the garage's showed as it said hello, None where it did not say."""
    connection.clock_error = clock - platform.clock() if clock is not None else timedelta(0)
    async with platform.database.reading() as transaction:
        orders = await transaction.site_orders(connection.garage_id)
    if orders:
        await terms.tell(platform, connection, site(orders))
    await access.tell_all(platform, connection)
