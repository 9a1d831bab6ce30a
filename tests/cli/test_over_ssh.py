"""The program over SSH, on the embedded cluster, by either of our ways to it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio

from tests.cli.conftest import Done, Programs, finish
from trioshell.testing import SshCluster

RULE = b"-" * 15


@pytest.fixture(params=["ssh", "openssh"])
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def run(programs: Programs, cluster: SshCluster, way: str, *words: str) -> Done:
    """trioshell with the cluster's own ssh configuration."""
    options = ("-R", way, "-o", f"-F {cluster.config_file}")
    return await trio.to_thread.run_sync(programs.run, "trioshell", *options, *words)


def is_running(pid: int) -> bool:
    """False for a process that is gone, or dead and not buried yet."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


async def test_commands_copies_and_failures(programs: Programs, way: str) -> None:
    async with SshCluster("n[1-3]") as cluster:
        done = await run(programs, cluster, way, "-w", "n[1-3]", "-b", "-S", "hostname; exit 3")
        blocks = [b"%b\nn%d\n%b\nn%d\n" % (RULE, number, RULE, number) for number in (1, 2, 3)]
        assert done.out == b"".join(blocks)
        assert done.err == b"trioshell: n[1-3] (3): exited with exit code 3\n"
        assert done.status == 3

        (programs.place / "a").write_text("data")
        done = await run(programs, cluster, way, "-w", "n[1-3]", "--copy", "a", "--dest", "b")
        assert done == Done(0, b"", b"")
        done = await run(programs, cluster, way, "-w", "n[1-3]", "cat b")
        assert sorted(done.out.splitlines()) == [b"n1: data", b"n2: data", b"n3: data"]
        back = ("--rcopy", "b", "--dest", str(programs.place))
        done = await run(programs, cluster, way, "-w", "n[1-2]", *back)
        assert (done.status, done.err) == (0, b"")
        assert (programs.place / "b.n2").read_text() == "data"


async def test_a_node_that_cannot_be_reached_is_told_apart(programs: Programs, way: str) -> None:
    async with SshCluster("n[1-2]") as cluster:
        nodes = ("-w", "n[1-2]", "-w", "nowhere.invalid")
        done = await run(programs, cluster, way, *nodes, "-S", "-t", "5", "echo hi")
    assert sorted(done.out.splitlines()) == [b"n1: hi", b"n2: hi"]
    assert done.err.startswith(b"trioshell: nowhere.invalid: unreachable: ")
    assert done.err.count(b"\n") == 1
    assert done.status == 255


async def test_an_interrupt_ends_what_runs_there(programs: Programs, way: str) -> None:
    async with SshCluster("n1") as cluster:
        process = programs.start(
            "trioshell", "-R", way, "-o", f"-F {cluster.config_file}", "-w", "n1",
            "trap '' HUP; sleep 1000 & echo $!; wait",
        )  # fmt: skip
        assert process.stdout is not None
        line = await trio.to_thread.run_sync(process.stdout.readline)
        process.send_signal(signal.SIGINT)
        done = await trio.to_thread.run_sync(finish, process)
        assert (done.status, done.err) == (130, b"Keyboard interrupt (n1 did not complete).\n")
        assert not is_running(int(line.split()[1]))
