"""The last desired state on disk, so that a node starts its pods again with no network."""
