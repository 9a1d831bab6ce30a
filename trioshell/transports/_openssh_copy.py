"""A copy to or from one node, as a session: it says what went wrong, and exits with 0 or 1."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from trioshell._errors import TransportError
from trioshell._results import Exited, Signaled, Unreachable
from trioshell.transports._base import Chunk, Copy, Session
from trioshell.transports._openssh_files import Transfer
from trioshell.transports._openssh_process import SshProcess
from trioshell.transports._openssh_sftp import Sftp
from trioshell.transports._openssh_sftp_packets import SftpLost

# How long a copy that is ended has to remove what it has written in part.
_TIDY_SECONDS = 2.0


class CopySession(Session):
    """A copy over the SFTP server that an ssh has been asked for.

    Args:
        ssh: runs ``ssh -s HOST sftp``, its stdin a pipe.
        copy: what is copied.
        merge: True to say on stdout what goes wrong, False to say it on stderr.
    """

    def __init__(self, ssh: SshProcess, copy: Copy, *, merge: bool) -> None:
        self.exit: Exited | Signaled | Unreachable | None = None
        self._ssh = ssh
        self._sname = "stdout" if merge else "stderr"
        self._said: list[Chunk] = []
        self._received = trio.Event()
        self._sftp = Sftp(ssh.session.send, self._receive_sftp)
        self.transfer = Transfer(self._sftp, ssh.node, copy, self._say)
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        self._started = False
        self._bug: Exception | None = None
        self._news = trio.Event()

    async def wait_started(self) -> None:
        """Wait until the SFTP server is there, and begin to copy.

        Raises:
            TransportError: there is none, or no way to it.
        """
        try:
            await self._sftp.start()
        except (SftpLost, trio.BrokenResourceError) as exc:
            raise TransportError(self._why_lost(exc)) from None
        self._started = True
        # It belongs to no caller's scope: who receives may be cancelled, and come again.
        trio.lowlevel.spawn_system_task(self._work, name=f"trioshell copy {self._ssh.node}")

    async def discard(self) -> None:
        """Give up a session that was cancelled before its server had answered."""
        await self.aclose()

    async def _work(self) -> None:
        try:
            with self._scope:
                await self.transfer.run()
                self.exit = Exited(1 if self.transfer.failed else 0)
        except (SftpLost, trio.BrokenResourceError) as exc:
            self.exit = Unreachable(self._why_lost(exc))
        except Exception as exc:  # noqa: BLE001  # a bug of ours: `receive` raises it
            self._bug = exc
        finally:
            self._over.set()
            self._news.set()

    def _why_lost(self, exc: Exception) -> str:
        complaint = self._ssh.complaint()
        return complaint.reason if complaint else f"{self._ssh.node}: {exc}"

    def _say(self, text: str) -> None:
        self._said.append((self._sname, f"{text}\n".encode(errors="surrogateescape")))
        self._news.set()

    async def _receive_sftp(self) -> bytes:
        while chunks := await self._ssh.receive():
            data = b"".join(data for sname, data in chunks if sname == "stdout")
            if data:
                return data
        return b""

    async def receive(self) -> Sequence[Chunk]:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._said and not self._over.is_set():
            self._news = trio.Event()
            await self._news.wait()
        if self._bug is not None:
            raise self._bug
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
                f"{self._ssh.node} does not answer; a file may be left there in part, "
                "under a name with .trioshell- in it"
            )

    async def aclose(self) -> None:
        self._scope.cancel()
        # Shielded: the copy must not go on, nor its ssh stay behind. Bounded by what the
        # copy itself is given to tidy up.
        with trio.CancelScope(shield=True):
            if self._started:
                with trio.move_on_after(_TIDY_SECONDS):
                    await self._over.wait()
            # The end of ssh ends whatever the copy still waits for.
            await self._ssh.aclose()
            if self._started:
                await self._over.wait()
