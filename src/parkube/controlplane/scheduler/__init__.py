"""The scheduler: which node a pod goes to, and why it stays pending. Sees a `Client` and shared informers only."""

from __future__ import annotations

from parkube.controlplane.scheduler.scheduler import Scheduler

__all__ = ["Scheduler"]
