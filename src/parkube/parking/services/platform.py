"""What every use case shares: the ports, the index in memory, the live news, the links. Put together by main."""

from __future__ import annotations

from dataclasses import dataclass, field

from parkube.parking.domain.errors import NotFound
from parkube.parking.services.index import GarageIndex
from parkube.parking.services.links import Links
from parkube.parking.services.live import Live
from parkube.parking.services.ports import Clock, Cluster, Database, NewId, NoCluster, Signer
from parkube.parking.services.ports_payments import Payments
from parkube.parking.services.ports_people import Issuer, Mail, NoIssuer, NoMail


@dataclass(slots=True)
class Platform:
    """The platform's parts. `clock` and `new_id` come from outside, so that tests hold them.

    `payments` takes new money; `earlier` are providers that took some before, so that it can still go back.
    """

    database: Database
    signer: Signer
    payments: Payments
    clock: Clock
    new_id: NewId
    cluster: Cluster = field(default_factory=NoCluster)
    index: GarageIndex = field(default_factory=GarageIndex)
    live: Live = field(default_factory=Live)
    links: Links = field(default_factory=Links)
    garages_mark: str | None = None
    earlier: tuple[Payments, ...] = ()
    mail: Mail = field(default_factory=NoMail)
    issuer: Issuer = field(default_factory=NoIssuer)

    def provider(self, name: str) -> Payments:
        """The provider of that name. Raises NotFound."""
        for one in (self.payments, *self.earlier):
            if one.name == name:
                return one
        raise NotFound(f"there is no payment provider {name!r} here")
