"""``trioshell demo``: the whole thing in a few seconds, on an embedded SSH cluster."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import trio

import trioshell
from trioshell.testing._cluster import SshCluster
from trioshell.testing._cluster_faults import NobodyListens

_USAGE = """\
usage: trioshell demo

Starts eight SSH servers on this machine (on free ports of 127.0.0.1, with keys of their
own), runs a few commands over real SSH connections to them, shows what comes of it, and
leaves nothing behind. Nothing else is contacted, and your own SSH files are not read.
"""

_NODES = "node[1-8]"
# A tree of processes of which the first ignores SIGTERM.
_STUBBORN = "trap '' TERM; (sleep 600 | sleep 600) & sleep 600 & echo started; wait; sleep 600"


def main(argv: Sequence[str] | None = None) -> int:
    """Show it, on stdout.

    Takes below ten seconds. Returns 0; 1 if something did not come out as it should; 2 for
    an argument, of which there is none but ``--help``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(_USAGE)
        return 0
    if arguments:
        sys.stderr.write(f"trioshell: demo takes no argument, not {arguments[0]!r}\n")
        return 2
    try:
        return trio.run(_show)
    except KeyboardInterrupt:
        return 130


async def _show() -> int:
    began = time.monotonic()
    _say(f"Eight SSH servers on this machine, called {_NODES}; commands are real processes.")
    all_well = True
    async with SshCluster(_NODES) as cluster:
        # Entered here, so that all steps share the connections: one login a node.
        async with cluster.transport() as transport:
            for step in _STEPS:
                async with trioshell.Task(transport=transport, kill_grace=0.5) as task:
                    all_well &= await step(task, cluster)
        logins = cluster.statistics().logins
    took = time.monotonic() - began
    _say(
        f"\nThat was {took:.1f} s and {logins} logins: a connection is reused for as long as it "
        "holds.\nThe servers, their files and all processes are gone again."
    )
    return 0 if all_well else 1


async def _gathered(task: trioshell.Task, cluster: SshCluster) -> bool:
    _title("One command on all nodes; equal output is shown once", "uname -sm")
    worker = await task.run("uname -sm", nodes=cluster.nodes)
    return _show_groups(worker) == 1


async def _copied(task: trioshell.Task, cluster: SshCluster) -> bool:
    _title("A file is copied to all nodes, and one of them changes its mind", "cat motd")
    with tempfile.TemporaryDirectory() as directory:
        motd = Path(directory) / "motd"
        motd.write_text("be kind to your cluster\n")
        await task.copy(motd, "motd", cluster.nodes).wait()
    await task.run("echo 'and to node5' >> motd", nodes="node5")
    worker = await task.run("cat motd", nodes=cluster.nodes)
    return _show_groups(worker) == 2


async def _failing(task: trioshell.Task, cluster: SshCluster) -> bool:
    _title(
        "One command fails and one node is down: each says why, and the others go on",
        "test $(hostname) != node3",
    )
    cluster.fault("node6", NobodyListens())
    cluster.drop("node6")
    worker = await task.run("test $(hostname) != node3", nodes=cluster.nodes)
    good = [str(node) for node, result in worker.results().items() if result.ok]
    for node, result in worker.results().items():
        if not result.ok:
            _say(f"   {node}: {result.outcome}")
    _say(f"   {len(good)} nodes: {trioshell.Exited(0)}")
    cluster.heal()
    return len(good) == 6


async def _timed_out(task: trioshell.Task, cluster: SshCluster) -> bool:
    _title("A timeout ends the command on the node too, and not only here", "sleep 600")
    worker = await task.run("sleep 600", nodes="node[1-2]", timeout=0.5)
    for node, result in worker.results().items():
        _say(f"   {node}: {result.outcome}")
    return _show_left(cluster)


async def _aborted(task: trioshell.Task, cluster: SshCluster) -> bool:
    _title("An abort ends a whole tree of processes, even one that ignores SIGTERM", _STUBBORN)
    worker = task.shell(_STUBBORN, nodes="node4")
    async for event in worker.events():
        if isinstance(event, trioshell.Read):
            for process in cluster.processes("node4"):
                if "sleep 600" in process.command and not process.command.startswith("sh"):
                    _say(f"   node4: process {process.pid}: {process.command[:60]}")
            worker.abort()
    _say(f"   node4: {worker.results()['node4'].outcome}")
    return _show_left(cluster, "node4")


_STEPS: tuple[Callable[[trioshell.Task, SshCluster], Awaitable[bool]], ...] = (
    _gathered,
    _copied,
    _failing,
    _timed_out,
    _aborted,
)


def _title(what: str, command: str) -> None:
    _say(f"\n== {what}\n   $ {command}")


def _show_groups(worker: trioshell.Worker) -> int:
    assert isinstance(worker, trioshell.DistantWorker)
    groups = list(worker.iter_buffers())
    for message, nodes in groups:
        _say(f"   {'-' * 15}\n   {nodes} ({len(nodes)})\n   {'-' * 15}")
        for line in message:
            _say(f"   {line.decode(errors='replace')}")
    return len(groups)


def _show_left(cluster: SshCluster, node: str | None = None) -> bool:
    # The guard of a connection, which ends commands on request, is a process there as well.
    left = [p for p in cluster.processes(node) if "sleep 600" in p.command]
    _say(f"   processes of it that are left there: {len(left)}")
    return not left


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
