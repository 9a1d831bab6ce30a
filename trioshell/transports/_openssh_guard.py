"""Guards on the targets, each reached by an ssh of its own: they end what is still running.

ssh(1) itself could only close the connection, which ends nothing there. A guard is started
when the first command of its node has to be ended, and goes when the last one is. Where
connections are shared, it is there from the start instead: the ssh that leads to it is the
connection that the commands' own ssh processes use (their ControlMaster), and it is told
which commands come and go, so that it ends them by itself when that connection breaks.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import trio

from trioshell._errors import TransportError
from trioshell.transports._guard import Answers, Ended, Ready, guard_line, say, say_end
from trioshell.transports._openssh_process import Launcher, SshProcess

# A guard has to log in first. A target that takes longer is as good as gone.
_START_SECONDS = 4.0

# Beyond the grace it needs a second to be sure after SIGKILL, some round trips, and time to read
# the list of processes on a busy machine.
_PATIENCE_SECONDS = 5.0

_FIRST_PAUSE_SECONDS = 0.1

# How long our end of a connection may take to see that the other one is gone.
_NOTICE_SECONDS = 0.3

# How long it may take to see that it is not needed any more.
_LEAVE_SECONDS = 0.5


class Dropped(TransportError):
    """The server turned us away before the login, and may not do so the next time."""


class Guards:
    """The guards of one transport, one for each node that needs one just now.

    Args:
        directory: where the sockets of shared connections have their names; None to share
            none.
    """

    def __init__(self, launcher: Launcher, directory: Path | None) -> None:
        self._launcher = launcher
        self._directory = directory
        self._numbers = itertools.count()
        # Invariant: a guard is in here while it has users; if connections are shared, from
        # its start until `close` or until it is found to be dead.
        self._guards: dict[str, Guard] = {}

    async def share(self, node: str, connect_timeout: float) -> Guard | None:
        """The guard over whose connection to `node` a command can go; None if none is shared.

        Raises:
            Dropped: the server takes nobody just now.
            TransportError: there is no way to it.
        """
        if self._directory is None:
            return None
        guard = await self._current(node)
        await guard.start(connect_timeout)
        return guard

    async def end(self, node: str, group: int, grace: float) -> Ended:
        """Have a command's group on `node` ended.

        Bounded: it takes `grace` and, if the node does not answer, up to nine seconds.

        Raises:
            TransportError: it cannot be told whether everything is gone.
        """
        async with self._used(node) as guard:
            with trio.move_on_after(_START_SECONDS):
                pause = _FIRST_PAUSE_SECONDS
                while not guard.is_ready:
                    try:
                        await guard.start(_START_SECONDS)
                    except Dropped:
                        await trio.sleep(pause)
                        pause *= 2
                    except TransportError as exc:
                        guard.fail(exc.reason)
            if not guard.is_ready:
                guard.fail("it could not be reached again")
            return await guard.end(group, grace)

    async def close(self) -> None:
        """Let all of them go; takes half a second at most."""
        async with trio.open_nursery() as nursery:
            for guard in self._guards.values():
                nursery.start_soon(guard.aclose)
        self._guards.clear()

    async def _current(self, node: str) -> Guard:
        """The guard of a node: the one that is there, or one that is still to be started."""
        old = self._guards.get(node)
        if old is not None and not old.is_dead:
            return old
        path = self._directory
        if path is not None:
            path = path / f"share.{next(self._numbers)}"
        guard = self._guards[node] = Guard(self._launcher, node, path)
        if old is not None and old.users == 0:
            # Shielded: its process must not stay behind. It is dead, so it takes no time.
            with trio.CancelScope(shield=True):
                await old.aclose()
        return guard

    @asynccontextmanager
    async def _used(self, node: str) -> AsyncIterator[Guard]:
        guard = await self._current(node)
        guard.users += 1
        try:
            yield guard
        finally:
            guard.users -= 1
            if guard.users == 0 and (self._directory is None or guard.is_dead):
                if self._guards.get(node) is guard:
                    del self._guards[node]
                # Shielded: its process must not stay behind. It takes half a second at most.
                with trio.CancelScope(shield=True):
                    await guard.aclose()


class Guard:
    """One guard. Whoever waits for an answer reads, and keeps the answers of others for them.

    Args:
        shared: the name of the socket by which other ssh processes use its connection; None
            if they do not.
    """

    def __init__(self, launcher: Launcher, node: str, shared: Path | None) -> None:
        self.users = 0
        self.shared = shared
        self._launcher = launcher
        self._node = node
        self._failed = False
        self._lost: str | None = None
        self._ssh: SshProcess | None = None
        self._ready = False
        self._token = secrets.token_hex(8)
        self._answers = Answers(self._token)
        self._ended: dict[int, Ended] = {}
        self._starting = trio.Lock()
        self._reading = trio.Lock()

    @property
    def is_ready(self) -> bool:
        """True from when it has answered for the first time until it goes."""
        return self._ready and not self.is_dead

    @property
    def is_dead(self) -> bool:
        """True if it is of no more use."""
        return self._failed or (self._ready and (self._ssh is None or not self._ssh.is_running))

    async def start(self, connect_timeout: float) -> None:
        """Start it, unless it runs; who comes second waits for the first.

        Raises:
            Dropped: the server takes nobody just now.
            TransportError: there is no way to it, or it cannot run there.
        """
        async with self._starting:
            if self._ready:
                return
            more = []
            if self.shared is not None:
                more = ["ControlMaster=yes", f"ControlPath={self.shared}", "ControlPersist=no"]
            self._ssh = await self._launcher.start(
                self._node,
                [guard_line(self._token)],
                connect_timeout=connect_timeout,
                stdin=True,
                more=more,
            )
            try:
                while not self._ready:
                    if not await self._read():
                        self._raise_complaint(self._ssh)
            finally:
                if not self._ready:
                    ssh, self._ssh = self._ssh, None
                    # Shielded: its process must not stay behind. It takes milliseconds.
                    with trio.CancelScope(shield=True):
                        await ssh.aclose()

    def _raise_complaint(self, ssh: SshProcess) -> NoReturn:
        complaint = ssh.complaint()
        if complaint is None:
            raise TransportError(f"no shell could be started on {self._node}")
        raise (Dropped if complaint.dropped else TransportError)(complaint.reason)

    async def know(self, group: int) -> None:
        """Have it end this group as well if its connection breaks."""
        await self._tell(say("know", group))

    async def forget(self, group: int) -> None:
        """The group is over, or none of our business any more."""
        await self._tell(say("forget", group))

    async def _tell(self, words: bytes) -> None:
        if self.is_ready and self._ssh is not None:
            with contextlib.suppress(trio.BrokenResourceError):  # who asks for more will see
                await self._ssh.session.send(words)

    async def end(self, group: int, grace: float) -> Ended:
        """Have a group ended.

        Raises:
            TransportError: it does not answer, and what is left there is not known.
        """
        assert self._ssh is not None
        with trio.move_on_after(grace + _PATIENCE_SECONDS):
            try:
                await self._ssh.session.send(say_end(group, grace))
            except trio.BrokenResourceError:
                self.fail("the connection broke")
            while group not in self._ended:
                if not await self._read(group):
                    self.fail("the connection broke")
        if group not in self._ended:
            self.fail("it did not answer")
        return self._ended.pop(group)

    async def _read(self, wanted: int | None = None) -> bool:
        """Take what it says next; False if it will say no more. One task at a time reads.

        Another one may meanwhile have read the answer that is `wanted`: then that is it.
        """
        async with self._reading:
            if wanted in self._ended:
                return True
            if self._ssh is None:
                return False
            chunks = await self._ssh.receive()
            for sname, data in chunks:
                if sname == "stdout":
                    for answer in self._answers.feed(data):
                        if isinstance(answer, Ready):
                            self._ready = True
                        else:
                            self._ended[answer.group] = answer
            if not chunks and self._lost is None:
                complaint = self._ssh.complaint()
                self._lost = (
                    complaint.reason if complaint else f"the connection to {self._node} broke"
                )
        return bool(chunks)

    def fail(self, why: str) -> NoReturn:
        """Give it up."""
        self._failed = True
        raise TransportError(
            f"nobody on {self._node} could confirm that the command has been ended ({why}); "
            "what it started there may still run"
        )

    async def why_lost(self) -> str | None:
        """Why its connection has just broken, if it has; waits a moment to see it."""
        with trio.move_on_after(_NOTICE_SECONDS):
            while await self._read():
                pass
        return self._lost

    async def aclose(self) -> None:
        """Let it go, and its connection with it."""
        if self._ssh is not None:
            try:
                await self._ssh.session.send_eof()
                # It ends by itself then; killing ssh would leave it behind for a moment.
                with trio.move_on_after(_LEAVE_SECONDS):
                    while await self._read():
                        pass
            finally:
                self._failed = True
                ssh, self._ssh = self._ssh, None
                if ssh is not None:
                    await ssh.aclose()
