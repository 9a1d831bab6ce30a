"""Runs the rounds: in each, all contenders of a workload in turn, in an order that is drawn."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import machine
from benchmarks.meter import Figures, memory
from benchmarks.results import Results, Sample
from benchmarks.workload import Contender, Workload

ROOT = Path(__file__).resolve().parents[1]
LOOK_SECONDS = 0.03
LONGEST_SECONDS = 900.0


@dataclass
class Plan:
    """What is to be measured.

    Attributes:
        workloads: which.
        rounds: how often, at most.
        quick: with the small amounts.
        seconds: begin no round that would not be over by then, and no workload after it.
        seed: what the orders are drawn from.
        tell: is told what is going on.
        keep: is called with the results after each round.
    """

    workloads: Iterable[Workload]
    rounds: int
    quick: bool
    seconds: float
    tell: Callable[[str], None]
    keep: Callable[[Results], None]
    seed: int = 1
    _settings: dict[str, Mapping[str, str]] = field(default_factory=dict)


def measure(plan: Plan, results: Results) -> None:
    """Carry the plan out and add what is found to `results`."""
    workloads = list(plan.workloads)
    results.drop(workload.name for workload in workloads)
    taking_part = {workload.name: _enter(workload, plan, results) for workload in workloads}
    draw = random.Random(plan.seed)
    begin, longest = time.monotonic(), 0.0
    with ExitStack() as stack:
        for number in range(plan.rounds):
            began = time.monotonic()
            if number and began - begin + longest > plan.seconds:
                plan.tell(f"no time for a round {number + 1}")
                break
            for workload in workloads:
                if time.monotonic() - begin > plan.seconds:
                    plan.tell(f"no time for {workload.name}")
                elif number < workload.rounds:
                    environment = _environment(workload, plan, stack)
                    contenders = taking_part[workload.name]
                    results.samples += _round(workload, contenders, number, plan, environment, draw)
                    plan.keep(results)
            longest = max(longest, time.monotonic() - began)


def _enter(workload: Workload, plan: Plan, results: Results) -> list[Contender]:
    """Note down what is measured, and find out who can take part."""
    left_out = {one.name: why for one in workload.contenders if (why := one.lacks())}
    for who, why in left_out.items():
        plan.tell(f"{workload.name}: without {who}: {why}")
    results.workloads[workload.name] = {
        "title": workload.title,
        "what": workload.what,
        "unit": workload.unit,
        "counts": workload.counts,
        "settings": {one.name: one.settings for one in workload.contenders},
        "left_out": left_out,
        "quick": plan.quick,
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "load_before": round(machine.load(), 2),
    }
    return [one for one in workload.contenders if one.name not in left_out]


def _environment(workload: Workload, plan: Plan, stack: ExitStack) -> Mapping[str, str]:
    """What the contenders find their servers by; a server is started when first needed."""
    key = f"{workload.setting.__module__}.{workload.setting.__qualname__}"
    if key not in plan._settings:
        plan._settings[key] = stack.enter_context(workload.setting())
    return plan._settings[key]


def _round(
    workload: Workload,
    contenders: list[Contender],
    number: int,
    plan: Plan,
    environment: Mapping[str, str],
    draw: random.Random,
) -> Iterator[Sample]:
    for size in workload.quick if plan.quick else workload.amounts:
        for place, one in enumerate(draw.sample(contenders, len(contenders))):
            amount = max(1, size // one.share)
            plan.tell(f"round {number + 1}: {workload.name}: {one.name}, {amount:,}")
            try:
                figures = perform(workload.name, one, amount, environment)
            except RuntimeError as exc:  # a peer that fails here is no reason to lose the rest
                plan.tell(f"{workload.name}: {one.name} failed: {exc}")
                continue
            yield Sample(workload.name, one.name, size, number, place, figures)


def perform(
    workload: str, contender: Contender, amount: int, environment: Mapping[str, str]
) -> Figures:
    """Have it done once, in a process of its own.

    Raises:
        RuntimeError: it failed, or took longer than is worth waiting for.
    """
    argv = [sys.executable, "-m", "benchmarks.one", workload, contender.name, str(amount)]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        argv,
        cwd=ROOT,
        env=os.environ | environment | {"PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that all of it can be ended
    )
    fds, peak, begin = 0, 0, time.monotonic()
    try:
        while True:
            try:
                out, err = process.communicate(timeout=LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                fds, peak = map(max, (fds, peak), _look(process.pid, contender.program))
                if time.monotonic() - begin > LONGEST_SECONDS:
                    raise RuntimeError(f"took more than {LONGEST_SECONDS:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        last = err.strip().splitlines()[-1:] or [f"status {process.returncode}"]
        raise RuntimeError(last[0])
    figures = Figures(**json.loads(out.splitlines()[-1]))
    figures.fds = fds
    if contender.program is not None:
        figures.peak_bytes = figures.grown_bytes = peak
    return figures


def _look(pid: int, program: str | None) -> tuple[int, int]:
    """The descriptors and the most memory of the process that does the work; or zeros."""
    try:
        if program is not None:
            pid = _child_called(pid, program)
        return len(os.listdir(f"/proc/{pid}/fd")), memory("VmHWM", pid)
    except OSError:  # it has just ended, or is not there yet
        return 0, 0


def _child_called(pid: int, program: str) -> int:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text().startswith(program):  # pdsh is pdsh.bin
            return int(child)
    raise ProcessLookupError(program)
