"""What can be imported from where, what `import trioshell` brings along, and what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PUBLIC = {
    "trioshell": (
        "Task run EventHandler NodeSet MsgTree "
        "Worker DistantWorker ExecWorker SshWorker CopyWorker StreamWorker "
        "NodeResult Exited Signaled TimedOut Aborted Unreachable NotStarted "
        "Start Pickup Read Written Hup Close "
        "TrioshellError WorkerError TaskError TransportError FailedNodesError"
    ),
    "trioshell.transports": "Transport Session ExecTransport SshTransport OpenSshTransport",
    "trioshell.testing": "SimulatedTransport simulate SshCluster check_transport",
}

# By what a module or its package is called. `import trioshell` brings none of these.
NOT_AT_IMPORT = (
    "argparse",
    "asyncio",
    "asyncssh",
    "trio_asyncio",
    "rich",
    "trioshell.cli",
    "trioshell.testing",
    "trioshell.transports._ssh",
    "trioshell.transports._openssh",
    "ClusterShell.CLI",
    "ClusterShell.Engine",
    "ClusterShell.Event",
    "ClusterShell.MsgTree",
    "ClusterShell.Task",
    "ClusterShell.Worker",
)

MAX_COST = 1.3  # times what `import trio` costs

# `import trioshell` alone loads next to nothing; this is what a program has that uses it.
IN_USE = "trioshell, trioshell._run, trioshell._stream, trioshell._msgtree"


def run_python(code: str) -> str:
    """What a fresh interpreter prints, which imports the trioshell that is tested here."""
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parent.parent))
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users have their bytecode cached
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def imported_by(module: str) -> set[str]:
    return set(run_python(f"import {module}, sys; print(*sys.modules)").split())


def unwanted(modules: set[str]) -> list[str]:
    return sorted(
        name
        for name in modules
        if any(name == unwanted or name.startswith(f"{unwanted}.") for unwanted in NOT_AT_IMPORT)
    )


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names(module: str) -> None:
    namespace = import_module(module)
    names = PUBLIC[module].split()
    assert [name for name in names if not hasattr(namespace, name)] == []
    assert [name for name in names if name not in namespace.__all__] == []
    assert [name for name in namespace.__all__ if not hasattr(namespace, name)] == []


def test_a_name_that_is_not_there() -> None:
    for module in PUBLIC:
        with pytest.raises(AttributeError, match="no_such_name"):
            _ = import_module(module).no_such_name


def test_import_brings_nothing_along() -> None:
    assert unwanted(imported_by(IN_USE) - imported_by("trio")) == []


def test_import_alone_does_not_even_bring_trio() -> None:
    assert "trio" not in imported_by("trioshell")


def test_what_is_brought_along_would_be_found() -> None:
    found = unwanted(imported_by("trioshell.cli, ClusterShell.Task") - imported_by("trio"))
    assert {"trioshell.cli", "ClusterShell.Task", "ClusterShell.Engine.Engine"} <= set(found)


def import_seconds(modules: str) -> float:
    """The processor time of an import, the interpreter's own start not counted."""
    clock = "time.process_time()"
    return float(run_python(f"import time; t = {clock}; import {modules}; print({clock} - t)"))


def relative_cost(modules: str, pairs: int = 5) -> float:
    """What importing `modules` costs, in imports of trio.

    The least of several runs is what the work needs when nothing disturbs it; the runs
    alternate, so that a slow time of the machine meets both.
    """
    ours, trios = [], []
    for _ in range(pairs):
        ours.append(import_seconds(modules))
        trios.append(import_seconds("trio"))
    return min(ours) / min(trios)


def test_import_is_cheap() -> None:
    import_seconds(IN_USE)  # writes the bytecode, where there is none yet
    # Noise only ever adds to a figure, so one quiet round out of a few is proof.
    rounds: list[float] = []
    while len(rounds) < 4 and min(rounds, default=9.0) > MAX_COST:
        rounds.append(relative_cost(IN_USE))
    assert min(rounds) <= MAX_COST, rounds


def test_a_dear_import_would_be_found() -> None:
    assert relative_cost("trio, asyncssh", pairs=2) > MAX_COST
