"""Guards on the targets, each reached by an ssh of its own: they end what is still running.

A guard is started when the first command of its node has to be ended, and goes when the last
one is. ssh(1) itself could only close the connection, which ends nothing there.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import trio

from trioshell._errors import TransportError
from trioshell.transports._guard import Answers, Ended, Ready, guard_line, say_end
from trioshell.transports._openssh_process import Launcher, SshProcess

# A guard has to log in first. A target that takes longer is as good as gone.
START_SECONDS = 5.0

# Beyond the grace it needs a second to be sure after SIGKILL, and some round trips.
_PATIENCE_SECONDS = 3.0

_FIRST_PAUSE_SECONDS = 0.1

# How long it may take to see that it is not needed any more.
_LEAVE_SECONDS = 0.5


class Guards:
    """The guards of one transport, one for each node that needs one just now."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        # Invariant: a guard is in here while it has users.
        self._guards: dict[str, _Guard] = {}

    async def end(self, node: str, group: int, grace: float) -> Ended:
        """Have a command's group on `node` ended.

        Bounded: it takes `grace` and, if the node does not answer, up to eight seconds.

        Raises:
            TransportError: it cannot be told whether everything is gone.
        """
        async with self._guard(node) as guard:
            return await guard.end(group, grace)

    @asynccontextmanager
    async def _guard(self, node: str) -> AsyncIterator[_Guard]:
        guard = self._guards.get(node)
        if guard is None or guard.failed:
            guard = self._guards[node] = _Guard(self._launcher, node)
        guard.users += 1
        try:
            await guard.start()
            yield guard
        finally:
            guard.users -= 1
            if guard.users == 0:
                if self._guards.get(node) is guard:
                    del self._guards[node]
                # Shielded: its process must not stay behind. It takes milliseconds.
                with trio.CancelScope(shield=True):
                    await guard.aclose()


class _Guard:
    """One guard. Whoever waits for an answer reads, and keeps the answers of others for them."""

    def __init__(self, launcher: Launcher, node: str) -> None:
        self.users = 0
        self.failed = False
        self._launcher = launcher
        self._node = node
        self._ssh: SshProcess | None = None
        self._ready = False
        self._token = secrets.token_hex(8)
        self._answers = Answers(self._token)
        self._ended: dict[int, Ended] = {}
        self._starting = trio.Lock()
        self._reading = trio.Lock()

    async def start(self) -> None:
        async with self._starting:
            if self._ready:
                return
            with trio.move_on_after(START_SECONDS):
                pause = _FIRST_PAUSE_SECONDS
                while not await self._try_start():
                    await trio.sleep(pause)
                    pause *= 2
        if not self._ready:
            self._fail("it could not be reached again")

    async def _try_start(self) -> bool:
        """True if it runs; False if the server turned us away, and may take us later."""
        await self.aclose()
        self._ssh = await self._launcher.start(
            self._node, [guard_line(self._token)], connect_timeout=START_SECONDS, stdin=True
        )
        while not self._ready:
            if not await self._read():
                complaint = self._ssh.complaint()
                if complaint is not None and complaint.dropped:
                    return False
                self._fail(complaint.reason if complaint else "no shell could be started there")
        return True

    async def end(self, group: int, grace: float) -> Ended:
        assert self._ssh is not None
        with trio.move_on_after(grace + _PATIENCE_SECONDS):
            try:
                await self._ssh.session.send(say_end(group, grace))
            except trio.BrokenResourceError:
                self._fail("the connection broke")
            while group not in self._ended:
                async with self._reading:
                    if group not in self._ended and not await self._read():
                        self._fail("the connection broke")
        if group not in self._ended:
            self._fail("it did not answer")
        return self._ended.pop(group)

    async def _read(self) -> bool:
        """Take what it says; False if it will say no more."""
        assert self._ssh is not None
        chunks = await self._ssh.receive()
        for sname, data in chunks:
            if sname == "stdout":
                for answer in self._answers.feed(data):
                    if isinstance(answer, Ready):
                        self._ready = True
                    else:
                        self._ended[answer.group] = answer
        return bool(chunks)

    def _fail(self, why: str) -> NoReturn:
        self.failed = True
        raise TransportError(
            f"nobody on {self._node} could confirm that the command has been ended ({why}); "
            "what it started there may still run"
        )

    async def aclose(self) -> None:
        if self._ssh is not None:
            try:
                await self._ssh.session.send_eof()
                # It ends by itself then; killing ssh would leave it behind for a moment.
                with trio.move_on_after(_LEAVE_SECONDS):
                    while await self._read():
                        pass
            finally:
                ssh, self._ssh = self._ssh, None
                await ssh.aclose()
