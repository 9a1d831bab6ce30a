"""Nodes that wait for their turn: what one costs, and how many tasks are alive meanwhile."""

from __future__ import annotations

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Workload

FANOUT = 64


def ours(amount: int, meter: Meter) -> None:
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
        async with trioshell.Task(fanout=FANOUT, transport=transport) as task:
            task.shell("true", nodes=nodes)
            await trio.sleep(0.5)
        return alive.most

    few = simulate(run, f"node[1-{FANOUT}]")
    with meter:
        most = simulate(run, f"node[1-{amount}]")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    task = trioshell.Task(transport=SimulatedTransport(record=False))
    task.shell("true", nodes=f"node[1-{amount}]")
    each = (tracemalloc.get_traced_memory()[0] - before) / amount
    meter.note(bytes_each=each, tasks=most, tasks_of_fanout=few)


WORKLOADS = (
    Workload(
        "pending",
        "100,000 nodes that wait",
        "A worker of 100,000 simulated nodes at fanout 64: memory of a node that waits (by "
        "tracemalloc), and how many child tasks are alive at most. No peer: it is a bound.",
        "node",
        (100_000,),
        (10_000,),
        (Contender(OURS, ours, "fanout 64, SimulatedTransport"),),
        counts="cpu",
        rounds=3,
    ),
)
