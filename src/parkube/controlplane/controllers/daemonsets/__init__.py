"""DaemonSets: one pod on each node that fits, rolling updates and their history."""
