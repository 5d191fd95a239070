"""StatefulSets: pods with a number, in order, each with claims of its own, updated from the last to the first."""
