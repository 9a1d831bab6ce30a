"""Cost against the number of nodes: whether twice as many nodes cost twice as much."""

from __future__ import annotations

from functools import partial

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Workload, needs_module, needs_program
from benchmarks.works import echo
from benchmarks.works.gathering import distinct, engine, equal


def simulated(kind: str, amount: int, meter: Meter) -> None:
    engine(partial({"equal": equal, "distinct": distinct}[kind], 1), amount, meter)


WORKLOADS = (
    Workload(
        "growth-simulated",
        "simulated nodes, 10 to 100,000",
        "Whole runs on simulated nodes that write one line each; gathered, grouped and folded.",
        "node",
        (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000),
        (10, 100, 1_000, 5_000),
        (
            Contender(OURS, partial(simulated, "equal"), "equal output, fanout 64"),
            Contender("distinct", partial(simulated, "distinct"), "each its own output, fanout 64"),
        ),
        counts="cpu",
        rounds=3,
    ),
    Workload(
        "growth-local",
        "local commands, 10 to 3,000",
        "A local `echo` for each node, fanout 64, gathered. Processor time of the tool itself.",
        "command",
        (10, 30, 100, 300, 1_000, 3_000),
        (10, 100, 300),
        (
            Contender(OURS, echo.ours(64), "fanout 64"),
            Contender(
                "ClusterShell", echo.clustershell(64), "fanout 64", needs_module("ClusterShell")
            ),
            Contender("trio.run_process", echo.run_process(64), "64 tasks"),
            Contender("xargs", echo.xargs(64), "-P 64", needs_program("xargs"), program="xargs"),
        ),
        counts="own",
        rounds=3,
    ),
)
