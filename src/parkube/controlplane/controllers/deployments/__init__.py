"""Deployments: rolling updates, rollback and history over ReplicaSets."""
