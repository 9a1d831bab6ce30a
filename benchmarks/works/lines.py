"""Many short lines: what a line costs on its way from a pipe to a handler."""

from __future__ import annotations

import subprocess

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Workload, needs_module, needs_program

COMMANDS = 4


def ours(amount: int, meter: Meter) -> None:
    import trio

    import trioshell
    import trioshell.transports._exec  # else imported when it counts

    class Count(trioshell.EventHandler):
        lines = 0

        def ev_read(self, worker: object, node: object, sname: str, msg: bytes) -> None:
            self.lines += 1

    count = Count()

    async def main() -> None:
        async with trioshell.Task(transport="exec") as task:
            nodes = f"node[1-{COMMANDS}]"
            worker = task.shell(f"seq {amount // COMMANDS}", nodes=nodes, handler=count)
        assert all(len(result.stdout) > amount // COMMANDS for result in worker.results().values())

    with meter:
        trio.run(main)
    assert count.lines == amount // COMMANDS * COMMANDS


def clustershell(amount: int, meter: Meter) -> None:
    from ClusterShell.Event import EventHandler
    from ClusterShell.Task import task_self
    from ClusterShell.Worker.Exec import ExecWorker

    class Count(EventHandler):  # type: ignore[misc]  # it has no types
        lines = 0

        def ev_read(self, worker: object, node: str, sname: str, msg: bytes) -> None:
            self.lines += 1

    count = Count()
    task = task_self()
    command = f"seq {amount // COMMANDS}"
    with meter:
        nodes = f"node[1-{COMMANDS}]"
        task.schedule(ExecWorker(nodes, command=command, handler=count, timeout=None))
        task.resume()
    assert count.lines == amount // COMMANDS * COMMANDS


def pdsh(amount: int, meter: Meter) -> None:
    argv = ["pdsh", "-R", "exec", "-w", f"node[1-{COMMANDS}]", "seq", str(amount // COMMANDS)]
    meter.program(argv)


def bare(amount: int, meter: Meter) -> None:
    """What cannot be avoided: to read it in pieces of 64 KiB, and to split it."""
    argv = ["seq", str(amount // COMMANDS)]
    with meter:
        for _ in range(COMMANDS):
            with subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0) as process:
                assert process.stdout is not None
                lines = 0
                while chunk := process.stdout.read(65536):
                    lines += len(chunk.split(b"\n"))
            assert lines >= amount // COMMANDS


WORKLOADS = (
    Workload(
        "lines",
        "4 × 500,000 short lines into `ev_read`",
        "`seq 500000` in four local commands; each line is given to a handler that counts it, and "
        "all of them are gathered as well.",
        "line",
        (2_000_000,),
        (200_000,),
        (
            Contender(OURS, ours, "a sync ev_read, gathering on"),
            Contender(
                "ClusterShell",
                clustershell,
                "the same handler, gathering on",
                needs_module("ClusterShell"),
                share=20,
            ),
            Contender(
                "pdsh",
                pdsh,
                "pdsh -R exec into /dev/null: no handler, nothing gathered",
                needs_program("pdsh"),
                share=4,
                program="pdsh",
            ),
            Contender("bare split", bare, "reading 64 KiB at a time and bytes.split, no handler"),
        ),
    ),
)
