"""A network that goes silent in the middle of a run: a namespace of its own, whose link is cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

# Runs in a network namespace in which there is nothing but a loopback of its own.
PROGRAM = """
import subprocess
import sys

import trio

from trioshell import Read, Task, Unreachable
from trioshell.testing import SshCluster


async def main():
    async with SshCluster(1) as cluster:
        transport = cluster.openssh(keepalive=1, share=sys.argv[1] == "share")
        async with Task(transport=transport) as task:
            worker = task.shell("echo on; exec sleep 1000", nodes="node1")
            async for event in worker.events():
                if isinstance(event, Read):
                    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
                    began = trio.current_time()
            took = trio.current_time() - began
        outcome = worker.results()["node1"].outcome
        assert isinstance(outcome, Unreachable), outcome
        assert "keepalive" in outcome.reason, outcome
        assert "may still run there" in outcome.reason, outcome
        # Twice the keepalive until it is noticed, and then the try to reach the node again.
        assert 1 < took < 15, took
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


trio.run(main)
"""


@pytest.mark.parametrize("how", ["share", "alone"])
def test_a_cut_link_is_noticed_within_twice_the_keepalive(how: str) -> None:
    if os.getuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("a network namespace needs root, unshare (util-linux) and ip (iproute2)")
    script = f'ip link set lo up && exec "{sys.executable}" -W error -c "$0" {how}'
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, PROGRAM],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
