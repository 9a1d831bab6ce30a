"""SSH: what a login costs its client, what a further command does, and what a megabyte does."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.libssh2_client import Libssh2Client, Place
from benchmarks.meter import Meter
from benchmarks.servers import DIRECTORY, running_sshd
from benchmarks.sshd import no_sshd
from benchmarks.workload import OURS, Contender, Work, Workload, needs_module, needs_program

FANOUT = 16
COLD, REUSED, BULK = "cold", "reused", "bulk"


def place() -> Place:
    directory = Path(os.environ[DIRECTORY])
    return Place(directory, int((directory / "port").read_text()))


def lacks(also: Callable[[], str]) -> Callable[[], str]:
    """For `Contender.lacks`: there must be an sshd, whatever else is needed."""
    return lambda: no_sshd() or also()


def bulk_command(megabytes: int) -> str:
    return f"head -c {megabytes * 1_000_000} /dev/zero"


# -- ours ------------------------------------------------------------------------------------


def transport(kind: str, where: Place) -> Any:
    import trioshell.transports

    make = getattr(trioshell.transports, kind)
    more = {"share": True} if kind == "OpenSshTransport" else {}
    return make(config=where.config, known_hosts=where.known_hosts, **more)


def ours(kind: str, stage: str, amount: int, meter: Meter) -> None:
    import trio

    from trioshell import Task

    where = place()
    way = transport(kind, where)

    async def run(nodes: str, command: str = "echo hello") -> Any:
        async with Task(transport=way, fanout=FANOUT) as task:
            worker = task.shell(command, nodes=nodes, timeout=600, stdin=False)
        assert task.max_retcode() == 0, dict(worker.results())
        return worker

    async def main() -> None:
        async with way:
            await run("warm")
            if stage == BULK:
                with meter:
                    worker = await run("warm", bulk_command(amount))
                size = len(worker.results()["warm"].stdout)
                assert size == amount * 1_000_000, size
                return
            hosts = f"h[1-{amount}]"
            if stage == REUSED:
                await run(hosts)
            with meter:
                await run(hosts)

    trio.run(main)


# -- the peers ---------------------------------------------------------------------------------


def asyncssh(tuned: bool, stage: str, amount: int, meter: Meter) -> None:
    import asyncio

    import asyncssh

    where = place()
    options: dict[str, Any] = {"username": "root", "agent_path": None, "config": None}
    if tuned:
        options["known_hosts"] = asyncssh.read_known_hosts(str(where.known_hosts))
        options["client_keys"] = [asyncssh.read_private_key(str(where.key))]
        options["encryption_algs"] = ["aes128-gcm@openssh.com"]
    else:
        options["known_hosts"] = str(where.known_hosts)
        options["client_keys"] = [str(where.key)]

    async def main() -> None:
        turn = asyncio.Semaphore(FANOUT)

        async def cold() -> Any:
            async with turn:
                connection = await asyncssh.connect("127.0.0.1", where.port, **options)
                assert (await connection.run("echo hello")).stdout == "hello\n"
                return connection

        async def again(connection: Any) -> None:
            async with turn:
                assert (await connection.run("echo hello")).stdout == "hello\n"

        connections = [await cold()]
        if stage == BULK:
            with meter:
                result = await connections[0].run(bulk_command(amount), encoding=None)
            assert len(result.stdout) == amount * 1_000_000
        elif stage == COLD:
            with meter:
                connections += await asyncio.gather(*(cold() for _ in range(amount)))
        else:
            connections += await asyncio.gather(*(cold() for _ in range(amount)))
            with meter:
                await asyncio.gather(*map(again, connections[1:]))
        for connection in connections:
            connection.close()
            await connection.wait_closed()

    asyncio.run(main())


def parallel_ssh(stage: str, amount: int, meter: Meter) -> None:
    from pssh.clients import ParallelSSHClient

    where = place()

    def client(number: int) -> Any:
        return ParallelSSHClient(
            ["127.0.0.1"] * number,
            user="root",
            port=where.port,
            pkey=str(where.key),
            pool_size=FANOUT,
            allow_agent=False,
        )

    def echo(client: Any) -> None:
        for output in client.run_command("echo hello"):
            assert list(output.stdout) == ["hello"]

    echo(client(1))
    many = client(amount)
    if stage == REUSED:
        echo(many)
    with meter:
        echo(many)


def libssh2(stage: str, amount: int, meter: Meter) -> None:
    """What libssh2 could bring at best: driven from Trio, without anything around it."""
    import trio

    where = place()

    async def main() -> None:
        turn = trio.Semaphore(FANOUT)
        clients = [await Libssh2Client.log_in(where)]

        async def cold() -> None:
            async with turn:
                client = await Libssh2Client.log_in(where)
                assert await client.run("echo hello") == len("hello\n")
                clients.append(client)

        async def again(client: Libssh2Client) -> None:
            async with turn:
                assert await client.run("echo hello") == len("hello\n")

        async def log_in_everywhere() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(amount):
                    nursery.start_soon(cold)

        if stage == BULK:
            with meter:
                assert await clients[0].run(bulk_command(amount)) == amount * 1_000_000
        elif stage == COLD:
            with meter:
                await log_in_everywhere()
        else:
            await log_in_everywhere()
            with meter:
                async with trio.open_nursery() as nursery:
                    for client in clients[1:]:
                        nursery.start_soon(again, client)

    trio.run(main)


def clustershell(stage: str, amount: int, meter: Meter) -> None:
    from ClusterShell.Task import task_self

    where = place()
    task = task_self()
    task.set_info("fanout", FANOUT)
    cheap = "-oKexAlgorithms=curve25519-sha256 -oCiphers=aes128-gcm@openssh.com"
    task.set_info("ssh_options", f"-F {where.config} {cheap}")

    def run(nodes: str) -> None:
        task.run("echo hello", nodes=nodes)
        found = {bytes(output): str(nodes) for output, nodes in task.iter_buffers()}
        assert list(found) == [b"hello"], (found, task.max_retcode())

    run("warm")
    with meter:
        run(f"h[1-{amount}]")


def pdsh(stage: str, amount: int, meter: Meter) -> None:
    cheap = "-oKexAlgorithms=curve25519-sha256 -oCiphers=aes128-gcm@openssh.com"
    argv = ["pdsh", "-R", "ssh", "-f", str(FANOUT), "-w", f"h[1-{amount}]", "echo hello"]
    arguments = f"-F {place().config} -a -x {cheap} -l%u %h"
    meter.program(argv, environment={"PDSH_SSH_ARGS": arguments})


CHEAP = "curve25519-sha256, aes128-gcm"


def contenders(stage: str) -> tuple[Contender, ...]:
    nothing: Callable[[], str] = str
    ways: list[tuple[str, Callable[..., None], str, Callable[[], str]]] = [
        (OURS, partial(ours, "SshTransport"), "transport='ssh', its defaults", nothing),
        (
            "trioshell openssh",
            partial(ours, "OpenSshTransport"),
            "OpenSshTransport(share=True), its defaults",
            needs_program("ssh"),
        ),
        ("asyncssh", partial(asyncssh, False), "on asyncio, its defaults", nothing),
        (
            "asyncssh tuned",
            partial(asyncssh, True),
            "on asyncio; known_hosts and key read once, aes128-gcm",
            nothing,
        ),
        (
            "parallel-ssh",
            parallel_ssh,
            "pool_size as the fanout, no agent; it checks no host keys",
            needs_module("pssh"),
        ),
        (
            "libssh2 from Trio",
            libssh2,
            "bare, by ssh2-python: the host key is checked, and nothing else is done",
            needs_module("ssh2"),
        ),
        (
            "ClusterShell",
            clustershell,
            f"its ssh worker with ssh(1), {CHEAP}; a login for each command",
            needs_module("ClusterShell"),
        ),
        (
            "pdsh",
            pdsh,
            f"pdsh -R ssh with ssh(1), {CHEAP}; a login for each command",
            needs_program("pdsh"),
        ),
    ]
    some = []
    for name, function, settings, also in ways:
        if stage != COLD and name == "pdsh":
            continue  # for every command it logs in anew, as ClusterShell does
        if stage == BULK and name in ("ClusterShell", "parallel-ssh"):
            continue  # a huge line without a newline is not what they are made for
        program = "pdsh" if name == "pdsh" else None
        work: Work = partial(function, stage)
        some.append(Contender(name, work, settings, lacks(also), program=program))
    return tuple(some)


def workload(stage: str, amount: int, quick: int, title: str, what: str) -> Workload:
    unit = "MB" if stage == BULK else "host"
    every = f"{what} One sshd on loopback stands for all hosts; the client's processor time counts."
    return Workload(
        f"ssh-{stage}",
        title,
        every,
        unit,
        (amount,),
        (quick,),
        contenders(stage),
        counts="cpu",
        setting=running_sshd,
    )


WORKLOADS = (
    workload(
        COLD,
        48,
        8,
        "a login and an `echo` over SSH",
        f"A login and `echo hello` on each of 48 hosts, {FANOUT} at a time.",
    ),
    workload(
        REUSED,
        48,
        8,
        "a second `echo` over SSH",
        f"A second `echo hello` on each of 48 hosts, {FANOUT} at a time, over the connections "
        "that are open already, where they are kept.",
    ),
    workload(
        BULK,
        200,
        20,
        "200 MB of output over SSH",
        "200 MB of zeros from one command, kept.",
    ),
)
