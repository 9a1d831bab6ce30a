"""Runs a plan with trioshell, over one of its transports."""

from __future__ import annotations

import importlib
import math
from typing import Any

import trio

import trioshell
from reliability.case import (
    BYSTANDER,
    BYSTANDER_BYTES,
    BYSTANDER_TIMEOUT,
    CONNECT_SECONDS,
    COPY_SECONDS,
    GRACE_SECONDS,
    Plan,
    Seen,
)
from reliability.program import Trigger
from trioshell import NotStarted, Unreachable
from trioshell.transports import Transport

_CLASSES = {
    "exec": "ExecTransport",
    "ssh": "SshTransport",
    "openssh": "OpenSshTransport",
    "openssh, shared": "OpenSshTransport",
}


class Planned(Exception):
    """What a handler raises where that is the fault."""


def transport(plan: Plan) -> Transport:
    """The transport that the plan names, with the files of its servers."""
    kind = getattr(importlib.import_module("trioshell.transports"), _CLASSES[plan.tool])
    files: dict[str, Any] = {}
    if plan.config:
        files = {"config": plan.config, "known_hosts": plan.known_hosts, "user": plan.user or None}
    if plan.tool == "openssh, shared":
        files["share"] = True
    made: Transport = kind(**files, **plan.settings)
    return made


def task(plan: Plan) -> trioshell.Task:
    """A Task over it."""
    return trioshell.Task(
        transport=transport(plan), connect_timeout=CONNECT_SECONDS, kill_grace=GRACE_SECONDS
    )


def warm_up(plan: Plan) -> None:
    """Have everything imported that a run needs."""

    async def once() -> None:
        async with task(plan) as warm:
            warm.shell("echo warm", nodes=plan.bystander)

    trio.run(once)


def perform(plan: Plan) -> Seen:
    """Run it."""
    return trio.run(_perform, plan)


async def _perform(plan: Plan) -> Seen:
    workers: list[trioshell.DistantWorker] = []
    scope = trio.CancelScope()

    def act() -> None:
        match plan.action:
            case "abort":
                workers[0].abort()
            case "cancel":
                scope.cancel()
            case "raise":
                raise Planned

    trigger = Trigger(plan, act)
    begin = trio.current_time()
    with scope:
        try:
            async with task(plan) as running:
                workers += _start(plan, running, trigger)
                if plan.action == "copy":
                    await trio.sleep(COPY_SECONDS)
                    workers[0].abort()
        except* Planned:
            pass
    return _seen(plan, workers, trigger, begin)


def _start(plan: Plan, running: trioshell.Task, trigger: Trigger) -> list[trioshell.DistantWorker]:
    class Handler:
        async def ev_read(self, worker: object, node: str, sname: str, msg: bytes) -> None:
            if trigger.line(node, len(msg)):
                await trio.sleep(trigger.seconds)

    if plan.action == "copy":
        return [running.copy(plan.source, plan.dest, list(plan.nodes))]
    bystander = running.shell(BYSTANDER, nodes=plan.bystander, timeout=BYSTANDER_TIMEOUT)
    worker = running.shell(
        plan.argv,
        nodes=list(plan.nodes),
        handler=Handler() if plan.action or plan.pause else None,
        timeout=plan.timeout,
        stdin=bool(plan.stdin),
        gather=not plan.pause,
    )
    if plan.stdin:
        worker.write(b"x" * plan.stdin)
        worker.set_write_eof()
    return [worker, bystander]


def _seen(
    plan: Plan, workers: list[trioshell.DistantWorker], trigger: Trigger, begin: float
) -> Seen:
    results = {str(node): result for node, result in workers[0].results().items()}
    seen = Seen(
        outcomes={node: _words(result.outcome) for node, result in results.items()},
        reasons={
            node: result.outcome.reason
            for node, result in results.items()
            if isinstance(result.outcome, Unreachable | NotStarted)
        },
        sizes={node: len(result.stdout) for node, result in results.items()},
    )
    if plan.pause:
        seen.sizes = trigger.sizes
    if plan.action in ("", "abort"):
        (found,) = workers[1].results().values()
        late = (found.ended_at or math.inf) - begin > BYSTANDER_TIMEOUT
        if not found.ok or len(found.stdout) != BYSTANDER_BYTES or late:
            seen.bystander = f"{found.outcome}, {len(found.stdout)} bytes"
    return seen


def _words(outcome: trioshell._results.Outcome) -> str:
    match outcome:
        case trioshell.Exited(rc):
            return f"Exited({rc})"
        case trioshell.Signaled(signum):
            return f"Signaled({signum})"
        case _:
            return type(outcome).__name__
