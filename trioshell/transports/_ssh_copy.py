"""A copy to or from one node, as a session: it says what went wrong, and exits with 0 or 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from trioshell._errors import TransportError
from trioshell._results import Exited, Unreachable
from trioshell.transports._base import Chunk, Copy
from trioshell.transports._openssh_files import Transfer
from trioshell.transports._openssh_sftp import Sftp
from trioshell.transports._openssh_sftp_packets import SftpLost
from trioshell.transports._ssh_channel import WINDOW_BYTES
from trioshell.transports._ssh_link_session import LinkSession

if TYPE_CHECKING:
    from trioshell.transports._ssh_link import Link

# How long a copy that is ended has to remove what it has written in part.
_TIDY_SECONDS: Final = 2.0


class CopySession(LinkSession):
    """A copy over the target's SFTP server; also what asyncssh calls its session.

    Attributes:
        transfer: how far it has come.
    """

    def __init__(self, link: Link, copy: Copy, *, merge: bool) -> None:
        super().__init__(link)
        self._sftp = Sftp(self.channel.send, self._receive_sftp)
        self.transfer = Transfer(self._sftp, link.plan.name, copy, self._say)
        self._sname = "stdout" if merge else "stderr"
        self._said: list[Chunk] = []
        self._news = trio.Event()
        self._scope = trio.CancelScope()
        self._working = False
        self._over = trio.Event()

    async def start(self) -> None:
        await self.link.connection.create_session(
            lambda: self, subsystem="sftp", encoding=None, window=WINDOW_BYTES
        )
        self._working = True
        # It belongs to no caller's scope: who receives may be cancelled, and come again.
        self.link.bridge.nursery.start_soon(self._work)

    async def _work(self) -> None:
        try:
            with self._scope:
                await self._sftp.start()
                await self.transfer.run()
                self.exit = Exited(1 if self.transfer.failed else 0)
        except (SftpLost, trio.BrokenResourceError) as exc:
            self.exit = Unreachable(f"{self.link.name}: {exc}")
        except Exception as exc:  # noqa: BLE001  # a bug of ours: it must not end the others
            self._say(f"{type(exc).__name__}: {exc}")
            self.exit = Exited(1)
        finally:
            self._over.set()
            self._news.set()

    def _say(self, text: str) -> None:
        self._said.append((self._sname, f"{text}\n".encode(errors="surrogateescape")))
        self._news.set()

    async def _receive_sftp(self) -> bytes:
        while True:
            if data := b"".join(data for sname, data in self.channel.take() if sname == "stdout"):
                return data
            if self.channel.ended:
                return b""
            await self.channel.wait()

    # -- what asyncssh calls ------------------------------------------------------------

    def connection_made(self, channel: Any) -> None:
        self.channel.opened(channel)

    def session_started(self) -> None:
        pass

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.channel.store("stdout" if datatype is None else "stderr", data)

    def eof_received(self) -> bool:
        self.channel.end()
        return False

    def exit_status_received(self, status: int) -> None:
        pass  # its output ends then, which is enough

    def exit_signal_received(self, name: str, core: bool, message: str, lang: str) -> None:
        pass  # as above

    def connection_lost(self, exc: Exception | None) -> None:
        self.channel.end()

    def pause_writing(self) -> None:
        self.channel.pause_writing()

    def resume_writing(self) -> None:
        self.channel.resume_writing()

    # -- what the engine calls ----------------------------------------------------------

    async def receive(self) -> Sequence[Chunk]:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._said and not self._over.is_set():
            self._news = trio.Event()
            await self._news.wait()
        said, self._said = self._said, []
        return said

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("a copy reads no input")

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def end(self, grace: float) -> None:
        self._scope.cancel()
        with trio.move_on_after(_TIDY_SECONDS):
            await self._over.wait()
        if not self._over.is_set():
            raise TransportError(
                f"{self.link.name} does not answer; a file may be left there in part, "
                "under a name with .trioshell- in it"
            )

    async def aclose(self) -> None:
        self._scope.cancel()
        try:
            if self._working:
                with trio.move_on_after(_TIDY_SECONDS):
                    await self._over.wait()
        finally:
            self.channel.abort()  # which also ends what the copy may still wait for
            self.link.release(self)

    async def kill(self) -> None:
        await self.aclose()
