"""Start-up: what a program pays before its first command, and the command line before its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Workload, needs_module, needs_program

# `import trioshell` alone loads next to nothing; this is what a program has that uses it.
IN_USE = "trioshell, trioshell._run, trioshell._stream, trioshell._msgtree"


def environment() -> dict[str, str]:
    """Ours, with bytecode kept as users have it."""
    return {name: word for name, word in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(argv: tuple[str, ...]) -> None:
    """Run a program to its end, unheard."""
    subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment(),
        check=True,
    )


def command(argv: tuple[str, ...], amount: int, meter: Meter) -> None:
    run(argv)  # whatever is written at the first start
    with meter:
        for _ in range(amount):
            run(argv)


def importing(modules: str, amount: int, meter: Meter) -> None:
    """The start of the interpreter is not counted: its clock starts where the import does."""
    clocks = "time.perf_counter(), time.process_time()"
    code = f"import time; w, c = {clocks}; import {modules}; v, d = {clocks}; print(v - w, d - c)"
    seconds = cpu = 0.0
    for number in range(amount + 1):
        told = subprocess.run(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=environment(),
            check=True,
        ).stdout
        if number:  # the first may have had to write the bytecode
            seconds += float(told.split()[0])
            cpu += float(told.split()[1])
    with meter:
        time.sleep(0)
    meter.figures.seconds, meter.figures.cpu, meter.figures.cpu_children = seconds, cpu, 0.0


OUR_COMMAND = (sys.executable, "-m", "trioshell")
CLUSH = (sys.executable, "-m", "ClusterShell.CLI.Clush")


def command_line(name: str, title: str, ours: str, clush: str, pdsh: str) -> Workload:
    return Workload(
        name,
        title,
        f"{title}, from the start of the process to its end; `clush` does the same. The time of "
        "everything that is started counts.",
        "start",
        (10,),
        (3,),
        (
            Contender(OURS, partial(command, (*OUR_COMMAND, *ours.split())), ours),
            Contender(
                "clush",
                partial(command, (*CLUSH, *clush.split())),
                clush,
                needs_module("ClusterShell"),
            ),
            Contender(
                "pdsh",
                partial(command, ("pdsh", *pdsh.split())),
                pdsh,
                needs_program("pdsh"),
            ),
            Contender("python", partial(command, (sys.executable, "-c", "pass")), "-c pass"),
        ),
        counts="cpu",
    )


def imported(name: str, modules: str, settings: str) -> Contender:
    return Contender(
        name, partial(importing, modules), settings, needs_module(modules.partition(",")[0])
    )


WORKLOADS = (
    command_line("start-version", "`trioshell --version`", "--version", "--version", "-V"),
    command_line(
        "start-exec",
        "`trioshell -R exec -w n1 true`",
        "-R exec -w n1 true",
        "-R exec -w n1 true",
        "-R exec -w n1 true",
    ),
    Workload(
        "import",
        "`import trioshell`",
        "The import alone, in a fresh interpreter, with everything that a program loads that uses "
        "it; next to what others cost.",
        "import",
        (10,),
        (3,),
        (
            imported(OURS, IN_USE, "with Task, run and MsgTree loaded"),
            imported("trio", "trio", "what it is built on"),
            imported("asyncssh", "asyncssh", "loaded by the first SSH session only"),
            imported("ClusterShell.Task", "ClusterShell.Task", "all that a user of it imports"),
        ),
        counts="cpu",
    ),
)
