"""Who asks, what they may do, and what is done to objects on their way in. Knows the registry, not HTTP."""
