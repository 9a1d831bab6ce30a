"""A service with one long-lived Task, and the books about what it has run."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

import trioshell
from reliability.far import FarCluster
from reliability.marks import MARK
from trioshell.transports import OpenSshTransport, SshTransport

# What ends must not need longer than this, whatever the machine does otherwise.
PATIENCE_SECONDS = 60.0


class Counts:
    """A handler that counts what must come exactly once for each node, or each worker."""

    def __init__(self) -> None:
        self.pickups: Counter[object] = Counter()
        self.hups: Counter[object] = Counter()
        self.starts = 0
        self.closes = 0

    def ev_start(self, worker: trioshell.Worker) -> None:
        self.starts += 1

    def ev_pickup(self, worker: trioshell.Worker, node: object) -> None:
        self.pickups[node] += 1

    def ev_hup(self, worker: trioshell.Worker, node: object, rc: int | None) -> None:
        self.hups[node] += 1

    def ev_close(self, worker: trioshell.Worker, timedout: bool) -> None:
        self.closes += 1


class Service:
    """What works need: the Task, the ways to nodes, chance, and where to put down what is wrong.

    `unconfirmed` counts the commands of which it could not be told whether all has ended.

    Args:
        task: the one Task.
        cluster: whose nodes it reaches; the last two of them are there to have faults.
        chance: from which everything is drawn.
        directory: for files of its own.
        token: marks the commands of which nothing may be left.
    """

    def __init__(
        self,
        task: trioshell.Task,
        cluster: FarCluster,
        chance: random.Random,
        directory: Path,
        token: str,
    ) -> None:
        self.task = task
        self.cluster = cluster
        self.chance = chance
        self.directory = directory
        self.token = token
        names = list(cluster.roots)
        self.healthy, self.faulty = names[:-2], names[-2:]
        files: dict[str, Any] = {"config": cluster.config, "known_hosts": cluster.known_hosts}
        self.ssh = SshTransport(**files, keepalive=1.0)
        self.openssh = OpenSshTransport(**files, keepalive=1.0)
        self.ended: Counter[str] = Counter()
        self.works: Counter[str] = Counter()
        self.commands = 0
        self.unconfirmed = 0
        self.wrong: list[str] = []

    def marked(self, script: str) -> tuple[str, ...]:
        """A script as a command that is looked for at quiet moments."""
        return ("env", f"{MARK}={self.token}", "sh", "-c", script)

    async def ended_as(
        self,
        worker: trioshell.Worker,
        counts: Counts | None,
        expected: Sequence[type[object]],
        output: bytes | None = None,
    ) -> None:
        """Wait for a worker, and check that each node has ended in one of these outcomes.

        With `output` a node that has exited by itself must have written exactly this, and any
        other a beginning of it.
        """
        with trio.move_on_after(PATIENCE_SECONDS) as scope:
            await worker.wait()
        if scope.cancelled_caught:
            self.wrong.append(f"{worker!r} has not ended within {PATIENCE_SECONDS:g} s")
            worker.abort()
            await worker.wait()
        for node, result in worker.results().items():
            self.commands += 1
            self.ended[type(result.outcome).__name__] += 1
            if _is_unconfirmed(result.outcome):
                self.unconfirmed += 1
            elif not isinstance(result.outcome, tuple(expected)):
                self.wrong.append(f"{node}: {result.outcome}, of {worker.command!r}")
            if output is None:
                continue
            whole = isinstance(result.outcome, trioshell.Exited)
            if result.stdout != output if whole else not output.startswith(result.stdout):
                self.wrong.append(
                    f"{node}: {result.outcome}, {len(result.stdout)} of {len(output)} bytes, and "
                    f"at the end {result.stdout[-60:]!r}, of {worker.command!r}"
                )
        if counts is not None:
            self._check(worker, counts)

    def _check(self, worker: trioshell.Worker, counts: Counts) -> None:
        if (counts.starts, counts.closes) != (1, 1) or counts.pickups != counts.hups:
            self.wrong.append(f"{worker!r}: events do not pair")
        if any(count != 1 for count in counts.hups.values()):
            self.wrong.append(f"{worker!r}: a node has ended twice")


def _is_unconfirmed(outcome: object) -> bool:
    """On a machine that has too much to do a target may be too slow to say that all has ended.

    Whether it has is seen at the next quiet moment.
    """
    return isinstance(outcome, trioshell.Unreachable) and "perhaps not all" in outcome.reason
