"""The way to nowhere: the command runs here, once for each node."""

from __future__ import annotations

import os
import sys
from collections.abc import Hashable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from trioshell._arguments import check_flag
from trioshell._errors import SpawnError
from trioshell._placeholders import Template
from trioshell.transports._base import Command, Copy, Job, Session, Transport
from trioshell.transports._launch import launch
from trioshell.transports._local_copy import local_copy
from trioshell.transports._supervisor import Supervisor

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

_SHELL = "/bin/sh"


class _Ready:
    """What is the same for all nodes of a job, worked out once."""

    def __init__(self, job: Job) -> None:
        self.template: Template | None = None
        self.hosts = ""
        work = local_copy(job.work) if isinstance(job.work, Copy) else job.work
        self._command: Command = work
        if job.nodes is not None:
            self.template = Template(work)
            self.hosts = _fold_if_used(self.template, job.nodes)
        self.environment = [b"%s=%s" % item for item in os.environb.items()]

    def argv(self, node: Hashable, rank: int) -> list[bytes]:
        command = self._command
        if self.template is not None:
            command = self.template.render(str(node), self.hosts, rank)
        if isinstance(command, str):
            command = (_SHELL, "-c", command)
        return [os.fsencode(word) for word in command]


def _fold_if_used(template: Template, nodes: NodeSet) -> str:
    """The folded names; thousands that do not fold well take seconds, so only for ``%hosts``."""
    return str(nodes) if template.uses_hosts else ""


class ExecTransport(Transport):
    """Runs commands on this machine, once for each node. The name ``"exec"`` stands for it.

    A string is read by ``/bin/sh``, an argument vector by nobody. With nodes, ``%h`` or
    ``%host`` stands for the node, ``%hosts`` for all nodes of the worker, folded, ``%n`` or
    ``%rank`` for the node's place among them from 0, and ``%%`` for a percent sign; a value
    that goes into a shell string is quoted for the place where it stands. A command without
    nodes is left as it is.

    Each command is the leader of a session, and so of a process group, of its own, has no
    controlling terminal, SIGPIPE at its default, no descriptor but the first three, and the
    environment of the moment when the first command of its worker starts. The end reaches
    the whole session, other process groups in it included.

    When descriptors or processes run out, commands wait for one another instead of failing.
    Linux only (5.4 or newer, for pidfds).

    Should this process itself come to its end with commands still running, by a SIGKILL say, one
    small process beside it, the *watchdog*, ends their sessions: SIGTERM at once, and SIGKILL two
    seconds later. It is started with the first command of a `trio.run`, costs a command
    nothing to speak of, and is gone when the last Task that runs commands here has been left.
    Meanwhile it is one more child of this process: a program that waits for *every* child it
    has will wait for this one, too. Where it cannot be started at all (there is no
    ``/bin/sh``, or a sandbox forbids it), commands run without it, and a `UserWarning` says so.

    Args:
        watchdog: False to do without it.

    Raises:
        TypeError: `watchdog` is neither True nor False.
    """

    connects = False

    def __init__(self, *, watchdog: bool = True) -> None:
        self._watchdog = check_flag("watchdog", watchdog)
        self._supervisor: Supervisor | None = None
        self._ready: WeakKeyDictionary[Job, _Ready] = WeakKeyDictionary()

    def check(self, job: Job) -> None:
        if sys.platform != "linux":
            raise ValueError(
                f"transport 'exec' runs commands here, which needs Linux, not {sys.platform!r}"
            )
        if job.nodes is not None:
            work = local_copy(job.work) if isinstance(job.work, Copy) else job.work
            template = Template(work)
            template.check(job.nodes, _fold_if_used(template, job.nodes))

    async def start(self) -> None:
        try:
            self._supervisor = Supervisor.enter()
        except OSError as exc:
            raise SpawnError(f"cannot run commands here: {exc.strerror}") from exc

    async def stop(self) -> None:
        supervisor, self._supervisor = self._supervisor, None
        self._ready.clear()
        if supervisor is not None:
            await supervisor.leave()

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        assert self._supervisor is not None, "a transport is entered before it is used"
        ready = self._prepared(job)
        return await launch(
            self._supervisor,
            ready.argv(node, rank),
            ready.environment,
            stdin=job.stdin,
            stderr=job.stderr,
            watchdog=self._watchdog,
        )

    def _prepared(self, job: Job) -> _Ready:
        ready = self._ready.get(job)
        if ready is None:
            ready = self._ready[job] = _Ready(job)
        return ready
