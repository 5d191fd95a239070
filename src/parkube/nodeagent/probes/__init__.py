"""Asks containers how they are: exec, HTTP, TCP and gRPC probes. What follows from the answer is the plan's."""
