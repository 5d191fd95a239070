"""Who manages which field: `metadata.managedFields`, and server-side apply that rests on it. Pure; knows no kind.

Sets of fields are held as they are on the wire (`fieldsV1`), so that an update reads, changes and writes them in place.
Source: Kubernetes documentation, "Server-Side Apply"; KEP-555; the published sets' encoding `FieldsV1`.
"""

from parkube.controlplane.registry.managed.apply import ApplyConflict, applied
from parkube.controlplane.registry.managed.entries import Managed, Writer, base_of, updated
from parkube.controlplane.registry.managed.nodes import Node, node_of

__all__ = ["ApplyConflict", "Managed", "Node", "Writer", "applied", "base_of", "node_of", "updated"]
