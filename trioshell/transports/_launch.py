"""Start a program as a session: its pipes, and what to do when the machine has no room for it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence

from trioshell._errors import SpawnError
from trioshell.transports._process import ProcessSession
from trioshell.transports._spawn import Spawn
from trioshell.transports._supervisor import Supervisor
from trioshell.transports._watchdog import EXHAUSTED

# Nothing of ours is open, and still there is no descriptor, process or memory to be had: how
# often to try again, at `Supervisor.wait_room` each, before the node is given up.
_TRIES_ALONE = 40


async def launch(
    supervisor: Supervisor,
    argv: Sequence[bytes],
    environment: Sequence[bytes],
    *,
    stdin: bool,
    stderr: bool,
    watchdog: bool = False,
) -> ProcessSession:
    """Start a program as a session.

    When this machine has run out of descriptors, processes or memory, it waits until
    another session has given its own back.

    Args:
        argv: the program, looked up in PATH, and its arguments.
        environment: every ``NAME=value`` that it gets.
        stdin: True for a pipe that can be sent to, False for ``/dev/null``.
        stderr: True to read stderr apart, False to merge it into stdout.
        watchdog: True to have it ended even if we are killed.

    Raises:
        SpawnError: it can't be found or executed, or nothing was free for seconds.
    """
    tries_alone = 0
    while True:
        try:
            if watchdog:
                supervisor.watchdog.start()
            return await _try(supervisor, argv, environment, stdin, stderr, watchdog)
        except OSError as exc:
            tries_alone = 0 if supervisor.open_sessions else tries_alone + 1
            if exc.errno not in EXHAUSTED or tries_alone > _TRIES_ALONE:
                program = os.fsdecode(argv[0])
                raise SpawnError(f"cannot start {program!r}: {exc.strerror}") from exc
        await supervisor.wait_room()


async def _try(
    supervisor: Supervisor,
    argv: Sequence[bytes],
    environment: Sequence[bytes],
    stdin: bool,
    stderr: bool,
    watchdog: bool,
) -> ProcessSession:
    ours: dict[str, int] = {}
    theirs: dict[str, int] = {}
    try:
        for sname in ("stdin", "stdout", "stderr"):
            if {"stdin": stdin, "stdout": True, "stderr": stderr}[sname]:
                ends = _open_pipe()
                if sname == "stdin":
                    theirs[sname], ours[sname] = ends
                else:
                    ours[sname], theirs[sname] = ends
                os.set_blocking(ours[sname], False)
        streams = theirs.get("stdin"), theirs["stdout"], theirs.get("stderr", theirs["stdout"])
        watched = supervisor.watchdog.take(*streams) if watchdog else None
    except OSError:
        for fd in (*ours.values(), *theirs.values()):
            os.close(fd)
        raise
    spawn = Spawn(argv, environment, *streams, noted=watched.pid if watched else None)
    await supervisor.spawn(spawn)  # whatever comes of it, it has closed their ends
    if spawn.error is not None:
        if watched is not None:
            watched.clear()
        for fd in ours.values():
            os.close(fd)
        raise spawn.error
    return ProcessSession(supervisor, spawn, ours.pop("stdin", None), ours, watched)


def _open_pipe() -> tuple[int, int]:
    """A pipe, neither end of which has a number that a child's own streams will get."""
    ends = list(os.pipe())
    try:
        for index, fd in enumerate(ends):
            if fd <= 2:
                ends[index] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
                os.close(fd)
    except OSError:
        for fd in ends:
            os.close(fd)
        raise
    return ends[0], ends[1]
