"""What the engine costs, next to its peers: short commands, many lines, pending targets.

Run it as ``python benchmarks/engine.py`` (``--rounds N``, ``--quick``). In each round ours
and every peer do the same work in turn, each in a process of its own, and what counts is the
ratio within a round: the machine may be busy with something else. A peer that is not
installed is left out with a word.

- *echo*: 3 000 local ``echo`` through a shell, fanout 64, output gathered and grouped. Peers:
  ClusterShell's ExecWorker, ``xargs -P 64``, ``pdsh -R exec``.
- *lines*: 500 000 short lines from each of four commands into a sync `ev_read`, gathered as
  well. Peers: ClusterShell with the same handler; reading and splitting, and nothing else.
- *pending*: a worker of 100 000 simulated nodes: how many child tasks are alive at most, and
  what a target costs that waits. No peer: it is a bound.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

FANOUT = 64
NODES = 64  # simulated ones that run at once


@dataclass
class Cost:
    """What one piece of work took: seconds, CPU seconds of the process itself, and how much
    of the work there was.
    """

    seconds: float
    cpu: float
    amount: int
    more: str = ""


# -- ours -----------------------------------------------------------------------------------


def ours_echo(amount: int) -> None:
    import trio

    import trioshell

    async def main() -> None:
        async with trioshell.Task(fanout=FANOUT, transport="exec") as task:
            worker = task.shell("echo hello", nodes=f"node[1-{amount}]")
        ((output, nodes),) = worker.iter_buffers()
        assert output == b"hello"
        assert len(nodes) == amount

    trio.run(main)


def ours_lines(amount: int) -> None:
    import trio

    import trioshell

    class Count(trioshell.EventHandler):
        lines = 0

        def ev_read(self, worker: object, node: object, sname: str, msg: bytes) -> None:
            self.lines += 1

    async def main() -> None:
        count = Count()
        async with trioshell.Task(fanout=FANOUT, transport="exec") as task:
            worker = task.shell(f"seq {amount // 4}", nodes="node[1-4]", handler=count)
        assert count.lines == amount
        assert all(len(result.stdout) > amount // 4 for result in worker.results().values())

    trio.run(main)


def ours_pending(amount: int) -> str:
    import tracemalloc

    import trio

    import trioshell
    from trioshell.testing import Script, SimulatedTransport, simulate

    class Alive(trio.abc.Instrument):
        now = most = 0

        def task_spawned(self, task: object) -> None:
            self.now += 1
            self.most = max(self.most, self.now)

        def task_exited(self, task: object) -> None:
            self.now -= 1

    async def run(nodes: str) -> int:
        alive = Alive()
        transport = SimulatedTransport(Script(1.0), record=False)
        trio.lowlevel.add_instrument(alive)
        async with trioshell.Task(fanout=NODES, transport=transport) as task:
            task.shell("true", nodes=nodes)
            await trio.sleep(0.5)
        return alive.most

    few = simulate(run, f"node[1-{NODES}]")
    most = simulate(run, f"node[1-{amount}]")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    task = trioshell.Task(transport=SimulatedTransport(record=False))
    task.shell("true", nodes=f"node[1-{amount}]")
    each = (tracemalloc.get_traced_memory()[0] - before) / amount
    return (
        f"child tasks alive at most: {most} with {amount} targets, {few} with {NODES} "
        f"(fanout {NODES}); {each:.0f} bytes a pending target"
    )


# -- the peers ------------------------------------------------------------------------------


def clustershell_echo(amount: int) -> None:
    from ClusterShell.Task import task_self
    from ClusterShell.Worker.Exec import ExecWorker

    task = task_self()
    task.set_info("fanout", FANOUT)
    worker = ExecWorker(f"node[1-{amount}]", command="echo hello", handler=None, timeout=None)
    task.schedule(worker)
    task.resume()
    ((output, nodes),) = worker.iter_buffers()
    assert bytes(output) == b"hello"
    assert len(nodes) == amount


def clustershell_lines(amount: int) -> None:
    from ClusterShell.Event import EventHandler
    from ClusterShell.Task import task_self
    from ClusterShell.Worker.Exec import ExecWorker

    class Count(EventHandler):  # type: ignore[misc]  # untyped
        lines = 0

        def ev_read(self, worker: object, node: str, sname: str, msg: bytes) -> None:
            self.lines += 1

    count = Count()
    task = task_self()
    command = f"seq {amount // 4}"
    task.schedule(ExecWorker("node[1-4]", command=command, handler=count, timeout=None))
    task.resume()
    assert count.lines == amount


def xargs_echo(amount: int) -> None:
    numbers = "\n".join(map(str, range(amount))).encode()
    argv = ["xargs", "-P", str(FANOUT), "-I{}", "sh", "-c", "echo hello"]
    subprocess.run(argv, input=numbers, stdout=subprocess.DEVNULL, check=True)


def pdsh_echo(amount: int) -> None:
    argv = ["pdsh", "-R", "exec", "-f", str(FANOUT), "-w", f"node[1-{amount}]"]
    argv += ["sh", "-c", "echo hello"]
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


def bare_lines(amount: int) -> None:
    """What cannot be avoided: to read it in pieces of 64 KiB, and to split it."""
    argv = ["seq", str(amount // 4)]
    for _ in range(4):
        with subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0) as process:
            assert process.stdout is not None
            lines = 0
            while chunk := process.stdout.read(65536):
                lines += len(chunk.split(b"\n"))
        assert lines >= amount // 4


Work = Callable[[int], object]

WORKS: dict[str, tuple[int, dict[str, Work]]] = {
    "echo": (
        3_000,
        {
            "trioshell": ours_echo,
            "ClusterShell": clustershell_echo,
            "xargs": xargs_echo,
            "pdsh": pdsh_echo,
        },
    ),
    "lines": (
        2_000_000,
        {"trioshell": ours_lines, "ClusterShell": clustershell_lines, "bare split": bare_lines},
    ),
    "pending": (100_000, {"trioshell": ours_pending}),
}

# A peer that would take minutes is given less to do; it is the rate that is compared.
LESS = {("lines", "ClusterShell"): 10, ("echo", "pdsh"): 3}


# -- measuring ------------------------------------------------------------------------------


def perform(work: str, who: str, amount: int) -> Cost:
    """Do it here and now; the process does nothing else."""
    function = WORKS[work][1][who]
    function_warm_up(who)
    before = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.perf_counter()
    more = function(amount)
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu, amount, str(more or ""))


def function_warm_up(who: str) -> None:
    """Import what a program has imported long before it runs its first command."""
    if who == "trioshell":
        from trioshell.transports import ExecTransport  # noqa: F401  # imported lazily else
    elif who == "ClusterShell":
        import ClusterShell.Worker.Exec  # noqa: F401  # it takes its time


def perform_apart(work: str, who: str, amount: int) -> Cost:
    argv = [sys.executable, __file__, "--one", work, who, str(amount)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=600)
    return Cost(**json.loads(done.stdout))


def measure(work: str, rounds: int, quick: bool) -> list[dict[str, object]]:
    amount, functions = WORKS[work]
    costs: dict[str, list[Cost]] = {who: [] for who in functions}
    for who in ("xargs", "pdsh"):
        if who in costs and shutil.which(who) is None:
            print(f"{work}: {who} is not installed, and is left out")
            del costs[who]
    for _ in range(rounds):
        for who, own in costs.items():
            part = amount // LESS.get((work, who), 1) // (4 if quick else 1)
            own.append(perform_apart(work, who, part))
    rows: list[dict[str, object]] = []
    for who, own in costs.items():
        rates = [cost.amount / cost.seconds for cost in own]
        ratios = [
            (ours.amount / ours.seconds) / (cost.amount / cost.seconds)
            for ours, cost in zip(costs["trioshell"], own, strict=True)
        ]
        rows.append(
            {
                "work": work,
                "who": who,
                "a_second": statistics.median(rates),
                "ours_is_faster_by": statistics.median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
                "own_cpu_ms_each": statistics.median(c.cpu / c.amount for c in own) * 1e3,
                "more": own[-1].more,
            }
        )
    return rows


def show(rows: list[dict[str, object]]) -> None:
    for row in rows:
        if row["more"]:
            print(f"{row['work']:8} {row['who']:14} {row['more']}")
            continue
        faster = "{ours_is_faster_by:7.2f} x ({lowest:.2f} to {highest:.2f})".format(**row)
        print(
            "{work:8} {who:14} {a_second:12,.0f}/s   own CPU {own_cpu_ms_each:9.5f} ms".format(
                **row
            ),
            "" if row["who"] == "trioshell" else f"  trioshell is faster by {faster}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a quarter of the work")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("works", nargs="*", metavar="WORK", help=", ".join(WORKS))
    options = parser.parse_args()
    if options.one:
        work, who, amount = options.one
        print(json.dumps(asdict(perform(work, who, int(amount)))))
        return
    unknown = set(options.works) - set(WORKS)
    if unknown:
        parser.error(f"there is no work {', '.join(sorted(unknown))}; there is {', '.join(WORKS)}")
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, {options.rounds} rounds")
    for work in options.works or WORKS:
        rows = measure(work, options.rounds, options.quick)
        if options.json:
            for row in rows:
                print(json.dumps(row))
        else:
            show(rows)


if __name__ == "__main__":
    main()
