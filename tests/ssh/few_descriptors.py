"""Run by a test: many nodes with few file descriptors. Prints the set of their outcomes.

The arguments are the ssh config and the known_hosts of a server that every name leads to.
"""

from __future__ import annotations

import os
import resource
import sys

import trio

from trioshell import Task, run
from trioshell.transports import SshTransport


async def main(config: str, known_hosts: str) -> None:
    async with SshTransport(config=config, known_hosts=known_hosts, user="root") as transport:
        await run("true", "any0", transport=transport)  # what is opened once is open by now
        limit = max(map(int, os.listdir("/proc/self/fd"))) + 4
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        async with Task(transport=transport, connect_timeout=60, fanout=8) as task:
            worker = task.shell("true", nodes="any[1-20]")
        print({result.outcome for result in worker.results().values()})


trio.run(main, sys.argv[1], sys.argv[2])
