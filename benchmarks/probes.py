"""What the regression guard measures: little pieces of real work, each beside a bare baseline."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.servers import CLUSTER, running_cluster
from benchmarks.works.startup import IN_USE, OUR_COMMAND, environment, run

# Does its work once, and says how many processor seconds it took.
Go = Callable[[], float]


@dataclass(frozen=True)
class Probe:
    """A piece of our work, and what it is compared with.

    Attributes:
        name: what it is called in the reference.
        ours: does the work.
        bare: does what cannot be avoided of it.
        baseline: what that is, in a few words.
    """

    name: str
    ours: Go
    bare: Go
    baseline: str


def own_cpu(work: Callable[[], object]) -> Go:
    """The processor time that this process itself needs for the work, all threads together."""

    def go() -> float:
        before = resource.getrusage(resource.RUSAGE_SELF)
        work()
        after = resource.getrusage(resource.RUSAGE_SELF)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return go


def children_cpu(argv: tuple[str, ...]) -> Go:
    """The processor time of a program, from its start to its end."""

    def go() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(argv)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return go


def trio_run(async_fn: Callable[[], Awaitable[object]]) -> Go:
    import trio

    return own_cpu(lambda: trio.run(async_fn))


@contextmanager
def echo(commands: int = 300) -> Iterator[Probe]:
    """Local commands: own CPU beside that of a loop of bare spawns."""
    import trioshell

    async def ours() -> None:
        async with trioshell.Task(fanout=64, transport="exec") as task:
            worker = task.shell("echo hello", nodes=f"node[1-{commands}]")
        ((output, nodes),) = worker.iter_buffers()
        assert (bytes(output), len(nodes)) == (b"hello", commands)

    def bare() -> None:
        argv = ["/bin/sh", "-c", "echo hello"]
        for _ in range(commands):
            reader, writer = os.pipe()
            actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
            pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
            os.close(writer)
            assert os.read(reader, 65536) == b"hello\n"
            os.close(reader)
            os.waitpid(pid, 0)

    yield Probe("echo", trio_run(ours), own_cpu(bare), "a loop of bare posix_spawn")


@contextmanager
def lines(amount: int = 400_000) -> Iterator[Probe]:
    """Lines into a handler, gathered: beside reading and splitting them."""
    import trioshell

    class Count(trioshell.EventHandler):
        lines = 0

        def ev_read(self, worker: object, node: object, sname: str, msg: bytes) -> None:
            self.lines += 1

    async def ours() -> None:
        count = Count()
        async with trioshell.Task(transport="exec") as task:
            task.shell(["seq", str(amount)], nodes="node1", handler=count)
        assert count.lines == amount

    def bare() -> None:
        argv = ["seq", str(amount)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0) as process:
            assert process.stdout is not None
            while chunk := process.stdout.read(65536):
                for line in chunk.split(b"\n"):
                    len(line)

    yield Probe("lines", trio_run(ours), own_cpu(bare), "reading and splitting them")


@contextmanager
def gathering(nodes: int = 500, count: int = 100) -> Iterator[Probe]:
    """Equal lines of many nodes in a MsgTree: beside the same in a dictionary."""
    from trioshell import MsgTree

    output = [b"line %d of what every node writes" % number for number in range(count)]
    names = [f"node{number}" for number in range(nodes)]

    def ours() -> None:
        tree = MsgTree()
        for name in names:
            for line in output:
                tree.add(name, line)
        ((_, keys),) = tree.walk()
        assert len(list(keys)) == nodes

    def bare() -> None:
        gathered: dict[str, list[bytes]] = {name: [] for name in names}
        for name in names:
            for line in output:
                gathered[name].append(line)
        assert len({b"\n".join(lines) for lines in gathered.values()}) == 1

    yield Probe("gathering", own_cpu(ours), own_cpu(bare), "a dictionary of lists")


@contextmanager
def simulated(nodes: int = 1_000) -> Iterator[Probe]:
    """The engine without processes: beside as many child tasks that send one message each."""
    import trio

    import trioshell
    from trioshell.testing import Script, SimulatedTransport, simulate

    async def ours() -> None:
        transport = SimulatedTransport(Script(b"hello\n"), record=False)
        async with trioshell.Task(fanout=64, transport=transport) as task:
            worker = task.shell("true", nodes=f"node[1-{nodes}]")
        ((_, folded),) = worker.iter_buffers()
        assert len(folded) == nodes

    async def bare() -> None:
        send, receive = trio.open_memory_channel[int](64)
        limiter = trio.CapacityLimiter(64)

        async def one(number: int) -> None:
            await send.send(number)
            limiter.release_on_behalf_of(number)

        async def start_all() -> None:
            async with trio.open_nursery() as nursery:
                for number in range(nodes):
                    await limiter.acquire_on_behalf_of(number)
                    nursery.start_soon(one, number)
            await send.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_all)
            assert len([number async for number in receive]) == nodes

    probe_ours, probe_bare = own_cpu(lambda: simulate(ours)), own_cpu(lambda: simulate(bare))
    yield Probe("simulated", probe_ours, probe_bare, "as many bare Trio tasks")


@contextmanager
def importing() -> Iterator[Probe]:
    """The import: beside that of Trio. The start of the interpreter is in neither."""

    def go(modules: str) -> Go:
        clock = "time.process_time()"
        code = f"import time; t = {clock}; import {modules}; print({clock} - t)"
        argv = [sys.executable, "-c", code]

        def run() -> float:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=environment(),
                check=True,
            )
            return float(done.stdout)

        return run

    yield Probe("import", go(IN_USE), go("trio"), "import trio")


@contextmanager
def starting() -> Iterator[Probe]:
    """The command line with one local command: beside a Python that imports Trio."""
    ours = children_cpu((*OUR_COMMAND, "-R", "exec", "-w", "n1", "true"))
    bare = children_cpu((sys.executable, "-c", "import trio"))
    yield Probe("start", ours, bare, "python -c 'import trio'")


@contextmanager
def ssh(hosts: int = 12) -> Iterator[Probe]:
    """A login and an `echo` on each host: beside asyncssh on asyncio."""
    import asyncio

    import asyncssh

    import trioshell
    from trioshell.transports import SshTransport

    with running_cluster() as told:
        cluster: dict[str, Any] = json.loads(told[CLUSTER])
        files = {"config": cluster["config"], "known_hosts": cluster["known_hosts"]}

        async def ours() -> None:
            async with trioshell.Task(fanout=4, transport=SshTransport(**files)) as task:
                worker = task.shell("echo hello", nodes=f"node[1-{hosts}]")
            ((output, _),) = worker.iter_buffers()
            assert output == b"hello"

        async def one(port: int, turn: asyncio.Semaphore) -> None:
            async with (
                turn,
                asyncssh.connect(
                    "127.0.0.1",
                    port,
                    config=None,
                    agent_path=None,
                    known_hosts=cluster["known_hosts"],
                    client_keys=[cluster["identity"]],
                ) as connection,
            ):
                assert (await connection.run("echo hello")).stdout == "hello\n"

        async def bare() -> None:
            turn = asyncio.Semaphore(4)
            ports = list(cluster["ports"].values())[:hosts]
            await asyncio.gather(*(one(port, turn) for port in ports))

        probe_bare = own_cpu(lambda: asyncio.run(bare()))
        yield Probe("ssh", trio_run(ours), probe_bare, "asyncssh on asyncio")


PROBES: tuple[Callable[[], AbstractContextManager[Probe]], ...] = (
    echo,
    lines,
    gathering,
    simulated,
    importing,
    starting,
    ssh,
)
