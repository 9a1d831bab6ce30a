"""Names that do not fold: what thousands of them cost that have nothing in common."""

from __future__ import annotations

import hashlib

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Workload, needs_module


def names(amount: int) -> list[str]:
    """Digests as names: each a pattern of its own, so that no two of them fold."""
    return [f"n{hashlib.sha1(b'%d' % number).hexdigest()[:10]}" for number in range(amount)]


def ours(amount: int, meter: Meter) -> None:
    import trio

    import trioshell
    import trioshell.transports._exec  # else imported when it counts

    nodes = names(amount)

    async def main() -> None:
        async with trioshell.Task(transport="exec") as task:
            worker = task.shell("echo hello", nodes=nodes)
        ((_, folded),) = worker.iter_buffers()
        assert str(folded).count(",") == amount - 1

    with meter:
        trio.run(main)


def clustershell(amount: int, meter: Meter) -> None:
    from ClusterShell.NodeSet import NodeSet
    from ClusterShell.Task import task_self
    from ClusterShell.Worker.Exec import ExecWorker

    nodes = names(amount)
    task = task_self()
    task.set_info("fanout", 64)
    with meter:
        worker = ExecWorker(
            NodeSet.fromlist(nodes), command="echo hello", handler=None, timeout=None
        )
        task.schedule(worker)
        task.resume()
        ((_, folded),) = worker.iter_buffers()
        assert str(NodeSet.fromlist(folded)).count(",") == amount - 1


def bare(amount: int, meter: Meter) -> None:
    from ClusterShell.NodeSet import NodeSet

    nodes = names(amount)
    with meter:
        assert str(NodeSet.fromlist(nodes)).count(",") == amount - 1


WORKLOADS = (
    Workload(
        "names",
        "1,177 names that do not fold",
        "A local `echo` on each of 1,177 nodes whose names are digests; gathered, and named "
        "again. Both fold by ClusterShell's NodeSet.",
        "node",
        (1_177,),
        (300,),
        (
            Contender(OURS, ours, "fanout 64"),
            Contender("ClusterShell", clustershell, "fanout 64", needs_module("ClusterShell")),
            Contender("bare NodeSet", bare, "NodeSet.fromlist and str, no command at all"),
        ),
        counts="cpu",
    ),
)
