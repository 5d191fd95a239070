"""Asks the probes of running containers at their times and tells what came of it. One task for each probe.

startup (if any) ──ok──> liveness and readiness      startup failed too often: not live
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.memory import ProbeView
from parkube.nodeagent.probes.check import Outcome, Target, check
from parkube.nodeagent.probes.judge import Judge, Timing

Asker = Callable[[Obj, Target], Awaitable[Outcome]]
Unhealthy = Callable[[str, str], None]  # (reason of the event, message)

_EAGER_S = 0.1


@dataclass(slots=True)
class _Watched:
    view: ProbeView
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Prober:
    """The probes of all containers of one node."""

    def __init__(
        self,
        clock: Callable[[], float],
        ask: Asker = check,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._ask, self._sleep = clock, ask, sleep
        self._watched: dict[str, _Watched] = {}

    def watch(
        self, container_id: str, container: Obj, target: Target, started_at: float, before: ProbeView | None,
        changed: Callable[[], None], unhealthy: Unhealthy,
    ) -> ProbeView | None:  # fmt: skip
        """Begin (or go on) with this container's probes; None when it has none.

        `before`: what was known of it by an earlier agent, so that a restart of the agent makes nothing unready.
        """
        known = self._watched.get(container_id)
        if known is not None:
            return known.view
        probes = {kind: container.get(f"{kind}Probe") for kind in ("startup", "liveness", "readiness")}
        if not any(probes.values()):
            return None
        view = before or ProbeView(started=not probes["startup"], ready=not probes["readiness"])
        watched = self._watched[container_id] = _Watched(view)
        job = _Job(self, container_id, target, started_at, view, changed, unhealthy)
        if probes["startup"] and not view.started:
            self._start(watched, job.startup(probes["startup"], probes))
        else:
            self._rest(watched, job, probes)
        return view

    def _rest(self, watched: _Watched, job: _Job, probes: dict[str, Obj | None]) -> None:
        for kind in ("liveness", "readiness"):
            probe = probes[kind]
            if probe:
                self._start(watched, job.repeat(kind, probe))

    def _start(self, watched: _Watched, job: Awaitable[None]) -> None:
        watched.tasks.append(asyncio.ensure_future(job))

    def forget(self, container_id: str) -> None:
        """The container is no more."""
        watched = self._watched.pop(container_id, None)
        for task in watched.tasks if watched else ():
            task.cancel()

    def known(self) -> list[str]:
        """The ids of the containers that are being asked."""
        return list(self._watched)

    async def close(self) -> None:
        """End all probing."""
        tasks = [task for watched in self._watched.values() for task in watched.tasks]
        self._watched.clear()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


@dataclass(slots=True)
class _Job:
    prober: Prober
    container_id: str
    target: Target
    started_at: float
    view: ProbeView
    changed: Callable[[], None]
    unhealthy: Unhealthy

    async def startup(self, probe: Obj, probes: dict[str, Obj | None]) -> None:
        """Until it succeeds once, or is given up."""
        judge = Judge(Timing.of(probe))
        await self._wait_first(judge.timing)
        await self._eagerly(probe, judge.timing)
        while True:
            if await self._once("Startup", probe, judge):
                if judge.verdict:
                    self.view.started = True
                    watched = self.prober._watched.get(self.container_id)
                    if watched is not None:
                        self.prober._rest(watched, self, probes)
                else:
                    self.view.live = False
                self.changed()
                return
            await self.prober._sleep(judge.timing.period)

    async def repeat(self, kind: str, probe: Obj) -> None:
        """For as long as the container runs."""
        judge = Judge(Timing.of(probe))
        if kind == "readiness" and self.view.ready:
            judge.verdict = True
        await self._wait_first(judge.timing)
        if kind == "readiness" and not self.view.ready:
            await self._eagerly(probe, judge.timing)
        while True:
            if await self._once(kind.capitalize(), probe, judge):
                if kind == "readiness":
                    self.view.ready = bool(judge.verdict)
                    self.changed()
                elif not judge.verdict:
                    self.view.live = False
                    self.changed()
                    return
            await self.prober._sleep(judge.timing.period)

    async def _eagerly(self, probe: Obj, timing: Timing) -> None:
        """Wait for a first success within one period, by asking often: a container that is up after 100 ms need not
        be called unready for ten seconds. Nothing is counted here, and a command is not run so often."""
        if "exec" in probe:
            return
        end, pause = self.prober._clock() + timing.period, _EAGER_S
        while self.prober._clock() + pause < end and not (await self.prober._ask(probe, self.target)).ok:
            await self.prober._sleep(pause)
            pause *= 2

    async def _wait_first(self, timing: Timing) -> None:
        await self.prober._sleep(max(0.0, self.started_at + timing.initial_delay - self.prober._clock()))

    async def _once(self, kind: str, probe: Obj, judge: Judge) -> bool:
        outcome = await self.prober._ask(probe, self.target)
        if not outcome.ok:
            self.view.message = outcome.message
            self.unhealthy("Unhealthy", f"{kind} probe failed: {outcome.message}")
        elif outcome.warning:
            self.unhealthy("ProbeWarning", f"{kind} probe warning: {outcome.warning}")
        return judge.add(outcome.ok)
