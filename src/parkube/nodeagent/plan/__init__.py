"""The pure core of the node agent: what a pod should become and what its status says. No I/O, no clock of its own."""
