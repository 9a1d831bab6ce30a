"""A few huge outputs: what a megabyte costs on its way from a pipe into a result."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Workload, needs_module, needs_program

COMMANDS = 4
LINE = b"x" * 99 + b"\n"


def _file(directory: str, amount: int) -> Path:
    file = Path(directory, "output")
    file.write_bytes(LINE * (amount * 1_000_000 // COMMANDS // len(LINE)))
    return file


def ours(amount: int, meter: Meter) -> None:
    import trio

    import trioshell
    import trioshell.transports._exec  # else imported when it counts

    with TemporaryDirectory() as directory:
        file = _file(directory, amount)

        async def main() -> None:
            async with trioshell.Task(transport="exec") as task:
                worker = task.shell(["cat", str(file)], nodes=f"node[1-{COMMANDS}]")
            size = file.stat().st_size
            assert all(len(result.stdout) == size for result in worker.results().values())

        with meter:
            trio.run(main)


def clustershell(amount: int, meter: Meter) -> None:
    from ClusterShell.Task import task_self
    from ClusterShell.Worker.Exec import ExecWorker

    with TemporaryDirectory() as directory:
        file = _file(directory, amount)
        task = task_self()
        with meter:
            nodes = f"node[1-{COMMANDS}]"
            worker = ExecWorker(nodes, command=f"cat {file}", handler=None, timeout=None)
            task.schedule(worker)
            task.resume()
            ((output, _),) = worker.iter_buffers()
            assert len(bytes(output)) == file.stat().st_size - 1


def run_process(amount: int, meter: Meter) -> None:
    import trio

    with TemporaryDirectory() as directory:
        file = _file(directory, amount)

        async def cat() -> None:
            done = await trio.run_process(["cat", str(file)], capture_stdout=True)
            outputs.append(done.stdout)

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(COMMANDS):
                    nursery.start_soon(cat)

        outputs: list[bytes] = []
        with meter:
            trio.run(main)
        assert all(len(output) == file.stat().st_size for output in outputs)


def pdsh(amount: int, meter: Meter) -> None:
    with TemporaryDirectory() as directory:
        file = _file(directory, amount)
        meter.program(["pdsh", "-R", "exec", "-w", f"node[1-{COMMANDS}]", "cat", str(file)])


def bare(amount: int, meter: Meter) -> None:
    """What cannot be avoided: to read it in pieces of 64 KiB, and to join them."""
    with TemporaryDirectory() as directory:
        file = _file(directory, amount)
        outputs = []
        with meter:
            for _ in range(COMMANDS):
                chunks = []
                with subprocess.Popen(
                    ["cat", str(file)], stdout=subprocess.PIPE, bufsize=0
                ) as process:
                    assert process.stdout is not None
                    while chunk := process.stdout.read(65536):
                        chunks.append(chunk)
                outputs.append(b"".join(chunks))
        assert all(len(output) == file.stat().st_size for output in outputs)


WORKLOADS = (
    Workload(
        "bulk",
        "4 × 100 MB of output, kept",
        "`cat` of a file with lines of 100 bytes in four local commands; all of it is kept (equal "
        "outputs are one copy at the end, but not before).",
        "MB",
        (400,),
        (40,),
        (
            Contender(OURS, ours, "no handler, gathering on"),
            Contender(
                "ClusterShell",
                clustershell,
                "no handler, gathering on",
                needs_module("ClusterShell"),
                share=10,
            ),
            Contender("trio.run_process", run_process, "capture_stdout, nothing grouped"),
            Contender(
                "pdsh",
                pdsh,
                "pdsh -R exec into /dev/null: nothing kept",
                needs_program("pdsh"),
                share=4,
                program="pdsh",
            ),
            Contender("bare read", bare, "reading 64 KiB at a time and bytes.join, nothing else"),
        ),
    ),
)
