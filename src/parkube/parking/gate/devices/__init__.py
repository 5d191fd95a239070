"""The devices at a gate. `port` is what the app sees; one contract suite runs on every implementation."""
