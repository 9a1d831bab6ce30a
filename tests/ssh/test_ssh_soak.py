"""Tasks of all kinds, cut off at any moment, over servers that fail: nothing of them is left."""

from __future__ import annotations

import logging
import os
import random

import pytest
import trio

from trioshell import Task
from trioshell.testing import SshCluster
from trioshell.testing._cluster_faults import (
    DropsBeforeAuth,
    DropsInOutput,
    HangsInAuth,
    HangsInChannel,
    HangsInKex,
)

COMMANDS = [
    "echo hi",
    "sleep 0.05; echo x",
    "cat",
    "yes | head -c 300000",
    "sleep 100 & sleep 100",
    "trap '' TERM; sleep 50",
    "exit 3",
    "echo a >&2",
    "kill -9 $$",
]
FAULTS = [HangsInAuth(), HangsInChannel(), DropsBeforeAuth(), HangsInKex(), DropsInOutput(100)]


async def some_work(cluster: SshCluster, task: Task, chance: random.Random, faults: bool) -> None:
    for _ in range(chance.randint(1, 8)):
        stdin = chance.choice([True, False])
        worker = task.shell(
            chance.choice(COMMANDS),
            nodes=cluster.nodes,
            timeout=chance.choice([None, 0.1, 0.4, 1]),
            stdin=stdin,
            stderr=chance.choice([True, False]),
        )
        if stdin and chance.random() < 0.5:
            worker.write(b"x" * chance.choice([1, 100_000]))
            worker.set_write_eof()
        await trio.sleep(chance.random() * 0.2)
        node = f"node{chance.randint(1, 6)}"
        if faults and chance.random() < 0.3:
            cluster.fault(node, chance.choice(FAULTS))
        if faults and chance.random() < 0.2:
            cluster.drop(node)
        if chance.random() < 0.3:
            cluster.heal()
        if chance.random() < 0.1:
            task.abort()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("faults", [False, True])
async def test_whatever_happens_nothing_is_left(
    seed: int, faults: bool, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    async with SshCluster(6, max_sessions=3) as cluster:
        for _ in range(15):
            before = len(os.listdir("/proc/self/fd"))
            transport = cluster.transport(keepalive=1)
            fanout = chance.choice([1, 3, 20])
            with trio.move_on_after(chance.choice([0.05, 0.2, 0.5, 1, 2])):
                async with Task(
                    transport=transport, fanout=fanout, kill_grace=0.1, connect_timeout=3
                ) as task:
                    await some_work(cluster, task, chance, faults)
            cluster.heal()
            await cluster.wait_until(lambda seen: seen.connections_now == 0)
            assert len(os.listdir("/proc/self/fd")) <= before + 8  # the server's, in this process
            if not faults:  # with them, a command may be out of reach, and its outcome says so
                await cluster.wait_quiet()
    bad = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in bad] == []
