"""Nodes: their health, the taints that follow, eviction, addresses for their pods, and clearing up after them."""
