"""A copy to or from one node, as a session: it says what went wrong, and exits with 0 or 1."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import asyncssh
import trio

from trioshell._results import Exited, Unreachable
from trioshell.transports._base import Chunk, Copy
from trioshell.transports._ssh_files import Transfer
from trioshell.transports._ssh_session import LinkSession

if TYPE_CHECKING:
    from trioshell.transports._ssh_link import Link

# How long a copy that is ended has to remove what it has written in part.
_TIDY_SECONDS: Final = 2.0


class CopySession(LinkSession):
    """A copy over SFTP.

    Attributes:
        transfer: how far it has come, once it has begun.
    """

    def __init__(self, link: Link, copy: Copy, *, merge: bool) -> None:
        super().__init__(link)
        self.transfer: Transfer | None = None
        self._copy = copy
        self._sname = "stdout" if merge else "stderr"
        self._said: list[Chunk] = []
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self._wake = trio.Event()

    async def start(self) -> None:
        self.channel = await self.link.connection.start_sftp_client()
        self.transfer = Transfer(self.channel, self.link.plan.name, self._copy, self._say)
        self._task = asyncio.ensure_future(self.transfer.run())
        self._task.add_done_callback(self._finished)

    def _say(self, text: str) -> None:
        self._said.append((self._sname, f"{text}\n".encode()))
        self._wake.set()

    def _finished(self, task: asyncio.Task[None]) -> None:
        assert self.transfer is not None
        if not task.cancelled():
            exc = task.exception()
            if exc is None:
                self.exit = Exited(1 if self.transfer.failed else 0)
            elif isinstance(exc, asyncssh.Error):
                self.exit = Unreachable(f"the connection to {self.link.name} broke: {exc}")
            else:
                self._say(f"{type(exc).__name__}: {exc}")
                self.exit = Exited(1)
        self._over = True
        self._wake.set()

    async def receive(self) -> Sequence[Chunk]:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._said and not self._over:
            self._wake = trio.Event()
            await self._wake.wait()
        said, self._said = self._said, []
        return said

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        raise trio.BrokenResourceError("a copy reads no input")

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()

    async def end(self, grace: float) -> None:
        await self._stop()

    async def aclose(self) -> None:
        try:
            await self._stop()
        finally:
            self._release()

    async def kill(self) -> None:
        await self.aclose()

    async def _stop(self) -> None:
        task: Any = self._task
        if task is None or task.done():
            await trio.lowlevel.checkpoint()
            return
        self.link.bridge.give(task.cancel)
        with trio.move_on_after(_TIDY_SECONDS):
            while not self._over:
                self._stopped = trio.Event()
                task.add_done_callback(lambda _: self._stopped.set())
                await self._stopped.wait()

    def _release(self) -> None:
        self._over = True
        self._wake.set()
        if self.channel is not None:
            self.link.bridge.give(self.channel.exit)
        self.link.release(self)
