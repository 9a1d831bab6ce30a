"""Copies: one large file, and a tree of small ones, to sixteen nodes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.meter import Meter
from benchmarks.servers import CLUSTER, NODES, running_cluster
from benchmarks.workload import OURS, Contender, Workload, needs_module, needs_program

SMALL_FILES_A_DIRECTORY = 100
SMALL_BYTES = 1_000
Source = Callable[[Path, int], int]


def large(path: Path, megabytes: int) -> int:
    path.write_bytes(os.urandom(1_000_000) * megabytes)
    return 1


def small(path: Path, files: int) -> int:
    for number in range(files):
        directory = path / f"d{number // SMALL_FILES_A_DIRECTORY}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(b"%d" % number * SMALL_BYTES)
    return files


@contextmanager
def made(source: Source, amount: int) -> Iterator[tuple[Path, dict[str, Any], Callable[[], None]]]:
    """What is to be copied; how the nodes are reached; and a check that all of it arrived."""
    cluster: dict[str, Any] = json.loads(os.environ[CLUSTER])
    with TemporaryDirectory() as directory:
        path = Path(directory) / "copied"
        files = source(path, amount)
        arrived = [Path(root) / "copied" for root in cluster["roots"].values()]

        def check() -> None:
            for copy in arrived:
                found = sum(1 for file in copy.rglob("*") if file.is_file()) + copy.is_file()
                assert found == files, (copy, found)

        try:
            yield path, cluster, check
        finally:
            for copy in arrived:
                shutil.rmtree(copy, ignore_errors=True)
                if copy.is_file():
                    copy.unlink()


def ours(kind: str, source: Source, amount: int, meter: Meter) -> None:
    import trio

    import trioshell
    import trioshell.transports

    with made(source, amount) as (path, cluster, check):
        way = getattr(trioshell.transports, kind)(
            config=cluster["config"], known_hosts=cluster["known_hosts"]
        )

        async def main() -> None:
            async with trioshell.Task(fanout=NODES, transport=way) as task:
                worker = task.copy(path, "copied", cluster["nodes"])
            assert task.max_retcode() == 0, dict(worker.results())

        with meter:
            trio.run(main)
        check()


def asyncssh(source: Source, amount: int, meter: Meter) -> None:
    import asyncio

    import asyncssh

    with made(source, amount) as (path, cluster, check):

        async def copy(port: int) -> None:
            async with (
                asyncssh.connect(
                    "127.0.0.1",
                    port,
                    config=None,
                    agent_path=None,
                    known_hosts=None,
                    client_keys=[cluster["identity"]],
                ) as connection,
                connection.start_sftp_client() as sftp,
            ):
                await sftp.put(str(path), "copied", recurse=True)

        async def main() -> None:
            await asyncio.gather(*map(copy, cluster["ports"].values()))

        with meter:
            asyncio.run(main())
        check()


def parallel_ssh(source: Source, amount: int, meter: Meter) -> None:
    from gevent import joinall
    from pssh.clients import ParallelSSHClient
    from pssh.config import HostConfig

    with made(source, amount) as (path, cluster, check):
        hosts = [
            HostConfig(user="root", port=port, private_key=cluster["identity"])
            for port in cluster["ports"].values()
        ]
        with meter:
            client = ParallelSSHClient(
                ["127.0.0.1"] * len(hosts), host_config=hosts, pool_size=NODES, allow_agent=False
            )
            joinall(client.copy_file(str(path), "copied", recurse=True), raise_error=True)
        check()


def clustershell(source: Source, amount: int, meter: Meter) -> None:
    from ClusterShell.Task import task_self

    with made(source, amount) as (path, cluster, check):
        task = task_self()
        task.set_info("fanout", NODES)
        options = f"-O -F {cluster['config']} -oCiphers=aes128-gcm@openssh.com"
        task.set_info("scp_options", options)
        with meter:
            task.copy(str(path), "copied", cluster["nodes"])
            task.resume()
        assert task.max_retcode() == 0
        check()


def workload(
    name: str, title: str, what: str, unit: str, source: Source, amount: int, quick: int
) -> Workload:
    return Workload(
        name,
        title,
        f"{what} The embedded cluster, in a process of its own, serves the {NODES} nodes. It is "
        "what limits the wall time; the client's processor time counts.",
        unit,
        (amount,),
        (quick,),
        (
            Contender(OURS, partial(ours, "SshTransport", source), "transport='ssh'"),
            Contender(
                "trioshell openssh",
                partial(ours, "OpenSshTransport", source),
                "transport='openssh'",
                needs_program("ssh"),
            ),
            Contender("asyncssh", partial(asyncssh, source), "on asyncio, sftp.put, its defaults"),
            Contender(
                "parallel-ssh",
                partial(parallel_ssh, source),
                f"copy_file, pool_size {NODES}",
                needs_module("pssh"),
            ),
            Contender(
                "ClusterShell",
                partial(clustershell, source),
                "task.copy with scp(1) -O, aes128-gcm",
                needs_program("scp"),
            ),
        ),
        counts="cpu",
        setting=running_cluster,
        rounds=2,  # minutes each
    )


WORKLOADS = (
    workload(
        "copy-large",
        f"one file of 100 MB to {NODES} nodes",
        f"One file of 100 MB to {NODES} nodes at once.",
        "MB",
        large,
        100,
        2,
    ),
    workload(
        "copy-small",
        f"5,000 small files to {NODES} nodes",
        f"A tree of 5,000 files of 1 to 4 kB in directories of {SMALL_FILES_A_DIRECTORY}, "
        f"to {NODES} nodes at once.",
        "file",
        small,
        5_000,
        60,
    ),
)
