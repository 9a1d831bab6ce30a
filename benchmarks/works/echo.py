"""Short local commands: what it costs to start one and to collect what it says."""

from __future__ import annotations

import os
import subprocess

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Work, Workload, needs_module, needs_program

COMMAND = "echo hello"


def ours(fanout: int) -> Work:
    def work(amount: int, meter: Meter) -> None:
        import trio

        import trioshell
        import trioshell.transports._exec  # else imported when it counts

        async def main() -> None:
            async with trioshell.Task(fanout=fanout, transport="exec") as task:
                worker = task.shell(COMMAND, nodes=f"node[1-{amount}]")
            ((output, nodes),) = worker.iter_buffers()
            assert output == b"hello"
            assert len(nodes) == amount

        with meter:
            trio.run(main)

    return work


def clustershell(fanout: int) -> Work:
    def work(amount: int, meter: Meter) -> None:
        from ClusterShell.Task import task_self
        from ClusterShell.Worker.Exec import ExecWorker

        task = task_self()
        task.set_info("fanout", fanout)
        with meter:
            nodes = f"node[1-{amount}]"
            worker = ExecWorker(nodes, command=COMMAND, handler=None, timeout=None)
            task.schedule(worker)
            task.resume()
            ((output, folded),) = worker.iter_buffers()
            assert bytes(output) == b"hello"
            assert len(folded) == amount

    return work


def run_process(fanout: int) -> Work:
    def work(amount: int, meter: Meter) -> None:
        import trio

        async def main() -> None:
            left = iter(range(amount))

            async def run_some() -> None:
                for _ in left:
                    done = await trio.run_process(
                        ["/bin/sh", "-c", COMMAND], capture_stdout=True, stdin=subprocess.DEVNULL
                    )
                    assert done.stdout == b"hello\n"

            async with trio.open_nursery() as nursery:
                for _ in range(fanout):
                    nursery.start_soon(run_some)

        with meter:
            trio.run(main)

    return work


def xargs(fanout: int) -> Work:
    def work(amount: int, meter: Meter) -> None:
        numbers = "\n".join(map(str, range(amount))).encode()
        meter.program(["xargs", "-P", str(fanout), "-n1", "/bin/sh", "-c", COMMAND], numbers)

    return work


def parallel(fanout: int) -> Work:
    def work(amount: int, meter: Meter) -> None:
        numbers = "\n".join(map(str, range(amount))).encode()
        # -n0: the number is not put on the command line. -u: no temporary files.
        argv = ["parallel", "--will-cite", "-u", f"-j{fanout}", "-n0", COMMAND]
        meter.program(argv, numbers, {"PARALLEL_SHELL": "/bin/sh"})

    return work


def pdsh(fanout: int) -> Work:
    def work(amount: int, meter: Meter) -> None:
        argv = ["pdsh", "-R", "exec", "-f", str(fanout), "-w", f"node[1-{amount}]"]
        meter.program([*argv, "/bin/sh", "-c", COMMAND])

    return work


def bare(amount: int, meter: Meter) -> None:
    """What cannot be avoided, one after the other: a pipe, a process, its output, its end."""
    with meter:
        for _ in range(amount):
            reader, writer = os.pipe()
            actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
            argv = ["/bin/sh", "-c", COMMAND]
            pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
            os.close(writer)
            assert os.read(reader, 65536) == b"hello\n"
            os.close(reader)
            os.waitpid(pid, 0)


def at(fanout: int, amount: int, quick: int) -> Workload:
    contenders = [
        Contender(OURS, ours(fanout), f"Task(fanout={fanout}, transport='exec'), output gathered"),
        Contender(
            "ClusterShell",
            clustershell(fanout),
            f"ExecWorker, fanout {fanout}, output gathered, no handler",
            needs_module("ClusterShell"),
            share=2,
        ),
        Contender(
            "trio.run_process",
            run_process(fanout),
            f"{fanout} tasks that take turns, capture_stdout; killing only the direct child",
        ),
        Contender(
            "xargs",
            xargs(fanout),
            f"xargs -P {fanout} -n1, output into /dev/null",
            needs_program("xargs"),
            program="xargs",
        ),
        Contender(
            "parallel",
            parallel(fanout),
            f"parallel -u -j{fanout} with /bin/sh, output into /dev/null",
            needs_program("parallel"),
            share=10,
            program="parallel",
        ),
        Contender(
            "pdsh",
            pdsh(fanout),
            f"pdsh -R exec -f {fanout}, output into /dev/null",
            needs_program("pdsh"),
            share=3,
            program="pdsh",
        ),
    ]
    if fanout == 1:
        contenders.append(
            Contender("bare posix_spawn", bare, "os.posix_spawn in a loop, no program around it")
        )
    return Workload(
        f"echo-{fanout}",
        f"{amount:,} local `echo`, fanout {fanout}",
        f"`sh -c '{COMMAND}'` for each of {amount:,} nodes, here, {fanout} at a time.",
        "command",
        (amount,),
        (quick,),
        tuple(contenders),
    )


WORKLOADS = (at(1, 1_000, 100), at(64, 3_000, 400), at(512, 3_000, 600))
