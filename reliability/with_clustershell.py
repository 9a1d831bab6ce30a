"""Runs a plan with ClusterShell, at its best settings."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from reliability.case import (
    BYSTANDER,
    BYSTANDER_BYTES,
    BYSTANDER_TIMEOUT,
    CONNECT_SECONDS,
    COPY_SECONDS,
    Plan,
    Seen,
)
from reliability.program import Trigger


class Planned(Exception):
    """What a handler raises where that is the fault."""


def _task(plan: Plan) -> Any:
    task = import_module("ClusterShell.Task").task_self()
    task.set_info("fanout", 64)
    task.set_info("connect_timeout", CONNECT_SECONDS)
    if plan.config:
        task.set_info("ssh_options", f"-F {plan.config} -o UserKnownHostsFile={plan.known_hosts}")
        task.set_info("scp_options", f"-F {plan.config} -o UserKnownHostsFile={plan.known_hosts}")
        if plan.user:
            task.set_info("ssh_user", plan.user)
    if plan.pause:
        task.set_default("stdout_msgtree", False)
    return task


def _worker(plan: Plan, command: str, nodes: str, handler: Any, timeout: float | None) -> Any:
    if plan.config:
        kind = import_module("ClusterShell.Worker.Ssh").WorkerSsh
    else:
        kind = import_module("ClusterShell.Worker.Exec").ExecWorker
    return kind(nodes, handler, timeout, command=command)


def warm_up(plan: Plan) -> None:
    """Have its engine made, which it keeps."""
    task = _task(plan)
    task.schedule(_worker(plan, "echo warm", plan.bystander, None, None))
    task.resume()


class _Node:
    """What a handler has been told of the nodes of its worker."""

    def __init__(self, trigger: Trigger | None) -> None:
        self.trigger = trigger
        self.rcs: dict[str, int] = {}
        self.began = time.monotonic()
        self.seconds = 0.0
        self.size = 0

    def ev_read(self, worker: Any, node: str, sname: str, msg: bytes) -> None:
        self.size += len(msg) + 1
        if self.trigger is not None and self.trigger.line(node, len(msg)):
            time.sleep(self.trigger.seconds)

    def ev_hup(self, worker: Any, node: str, rc: int) -> None:
        self.rcs[node] = rc

    def ev_close(self, worker: Any, timedout: bool) -> None:
        self.seconds = time.monotonic() - self.began

    # The engine asks for these, too.
    def ev_start(self, worker: Any) -> None: ...
    def ev_pickup(self, worker: Any, node: str) -> None: ...
    def ev_written(self, worker: Any, node: str, sname: str, size: int) -> None: ...


def perform(plan: Plan) -> Seen:
    """Run it."""
    task = _task(plan)
    workers: list[Any] = []

    def act() -> None:
        if plan.action == "raise":
            raise Planned
        workers[0].abort()

    told = _Node(Trigger(plan, act))
    beside = _Node(None)
    nodes = ",".join(plan.nodes)
    if plan.action == "copy":
        workers.append(task.copy(plan.source, plan.dest, nodes, handler=told))
        task.timer(COPY_SECONDS, handler=_AbortsLater(workers))
    else:
        workers.append(_worker(plan, plan.command, nodes, told, plan.timeout))
        workers.append(_worker(plan, BYSTANDER, plan.bystander, beside, BYSTANDER_TIMEOUT))
        for worker in workers:
            task.schedule(worker)
        if plan.stdin:
            workers[0].write(b"x" * plan.stdin)
        workers[0].set_write_eof()
    try:
        task.resume()
    except Planned:
        pass
    seen = _seen(plan, workers[0], told)
    if plan.action in ("", "abort"):
        late = beside.seconds > BYSTANDER_TIMEOUT
        rc = beside.rcs.get(plan.bystander)
        if rc != 0 or late or beside.size != BYSTANDER_BYTES:
            seen.bystander = f"rc {rc}, {beside.size} bytes"
    return seen


class _AbortsLater:
    def __init__(self, workers: list[Any]) -> None:
        self._workers = workers

    def ev_timer(self, timer: Any) -> None:
        self._workers[0].abort()


def _seen(plan: Plan, worker: Any, told: _Node) -> Seen:
    seen = Seen(sizes=told.trigger.sizes if told.trigger is not None else {})
    late = {str(node) for node in worker.iter_keys_timeout()}
    for node in plan.nodes:
        seen.outcomes[node] = f"rc {told.rcs[node]}" if node in told.rcs else "no end reported"
        if node in late:
            seen.outcomes[node] = "timed out"
        if plan.pause:  # nothing was gathered
            continue
        buffer = worker.node_buffer(node)
        text = bytes(buffer) if buffer else b""
        seen.sizes[node] = len(text) + 1 if text else 0
        if told.rcs.get(node) == 255 and text:
            seen.reasons[node] = text.splitlines()[-1].decode(errors="replace")
    return seen
