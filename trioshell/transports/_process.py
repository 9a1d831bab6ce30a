"""One local command as a `Session`: its process, its pipes, and its end."""

from __future__ import annotations

import array
import contextlib
import fcntl
import math
import os
import select
import signal
import termios
from collections.abc import Sequence

import trio

from trioshell._errors import SpawnError
from trioshell._results import Exited, Signaled, Unreachable
from trioshell.transports._base import Chunk, Session
from trioshell.transports._poller import READABLE, WRITABLE
from trioshell.transports._sessions import end_session
from trioshell.transports._spawn import Spawn
from trioshell.transports._supervisor import Supervisor
from trioshell.transports._watchdog import Watched

# As much as a pipe holds by default on Linux.
_READ_BYTES = 65536

# A flood always has more to read at once. After so many times others get their turn, among them who
# tells us that the command has ended and only its background goes on.
_CALLS_A_TURN = 16

# When the command has ended but something else still holds its output open, this is how long
# we go on listening: enough for the last words of a `> >(tee …)`, too short to be noticed.
DRAIN_SECONDS = 0.1


class _Output:
    """The end of a pipe that we read.

    Invariant: while `ready` is False there is nothing to read, and `note` will be called
    as soon as there is.
    """

    __slots__ = ("_hung_up", "_session", "fd", "owed", "ready", "sname")

    def __init__(self, session: ProcessSession, sname: str, fd: int) -> None:
        self._session = session
        self.sname = sname
        self.fd = fd
        self.ready = False
        self.owed = 0  # bytes that lay in the pipe when the command ended
        self._hung_up = False  # nobody can write any more

    def note(self, mask: int) -> None:
        self.ready = True
        self._hung_up = bool(mask & select.EPOLLHUP)
        self._session._wake_receiver()

    def took(self, size: int) -> None:
        """So many bytes have just been read; 0 if there were none."""
        self.owed = self.owed - size if size else 0
        # A short read has emptied the pipe, and whatever comes now is a new edge; but for the
        # end, which may have come with the last bytes.
        self.ready = size == _READ_BYTES or self._hung_up

    def count_owed(self) -> None:
        waiting = array.array("i", [0])
        fcntl.ioctl(self.fd, termios.FIONREAD, waiting)
        self.owed = waiting[0]


class ProcessSession(Session):
    """A command that runs here, as the leader of a session of the operating system.

    Made by `launch`. The child is read from and written to without blocking.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        spawn: Spawn,
        stdin: int | None,
        outputs: dict[str, int],
        watched: Watched | None,
    ) -> None:
        self.exit: Exited | Signaled | Unreachable | None = None
        self.pid = spawn.pid
        self._supervisor = supervisor
        self._poller = supervisor.poller
        self._deaths = supervisor.deaths
        self._watched = watched
        self._stdin = stdin
        self._stdin_watched = False
        self._outputs = [_Output(self, sname, fd) for sname, fd in outputs.items()]
        self._dead = False  # it is a zombie, or has been reaped
        self._reaped = False
        self._ending = False
        self._drain_until = math.inf
        self._calls = 0  # of `receive`
        self._receiver: trio.lowlevel.Task | None = None
        self._sender: trio.lowlevel.Task | None = None
        self._died = trio.lowlevel.ParkingLot()
        self._born_at = trio.current_time()
        supervisor.open_sessions += 1
        self._child = self._deaths.expect(self.pid, self._note_death)
        try:
            for output in self._outputs:
                self._poller.add(output.fd, READABLE, output.note)
        except OSError as exc:
            self._discard()
            raise SpawnError(f"cannot watch what was started: {exc.strerror}") from exc

    # -- reading -----------------------------------------------------------------------

    async def receive(self) -> Sequence[Chunk]:
        self._calls += 1
        if self._calls % _CALLS_A_TURN:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        while True:
            chunks = self._read()
            if not self._outputs and not self._is_dead():
                self._deaths.watch(self._child)  # it has closed its output, and goes on
            if self._dead and not self._ending:
                self._reap()
                if self._outputs and self._drain_until == math.inf:
                    self._begin_drain(DRAIN_SECONDS)
            if chunks or (self._dead and not self._outputs):
                return chunks
            if self._drain_until == math.inf:
                await self._park_receiver()
            else:
                with trio.CancelScope(deadline=self._drain_until):
                    await self._park_receiver()

    def _read(self) -> list[Chunk]:
        chunks: list[Chunk] = []
        late = self._dead and trio.current_time() >= self._drain_until
        for output in tuple(self._outputs):
            if late and output.owed <= 0:
                self._close_output(output)
            elif output.ready or late:
                self._read_output(output, chunks)
        return chunks

    def _read_output(self, output: _Output, chunks: list[Chunk]) -> None:
        try:
            data = os.read(output.fd, _READ_BYTES)
        except BlockingIOError:
            output.took(0)
            return
        if not data:
            self._close_output(output)
            return
        output.took(len(data))
        chunks.append((output.sname, data))

    def _begin_drain(self, seconds: float) -> None:
        self._drain_until = trio.current_time() + seconds
        for output in self._outputs:
            output.count_owed()

    def _close_output(self, output: _Output) -> None:
        self._outputs.remove(output)
        self._poller.remove(output.fd)
        os.close(output.fd)

    async def _park_receiver(self) -> None:
        def forget(_: object) -> trio.lowlevel.Abort:
            self._receiver = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._receiver = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(forget)

    def _wake_receiver(self) -> None:
        if self._receiver is not None:
            trio.lowlevel.reschedule(self._receiver)
            self._receiver = None

    # -- writing -----------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        left = memoryview(data)
        while left:
            if self._stdin is None:
                raise trio.BrokenResourceError("the command reads its stdin no more")
            try:
                left = left[os.write(self._stdin, left) :]
            except BlockingIOError:
                await self._park_sender()
            except OSError:
                self._close_stdin()

    async def send_eof(self) -> None:
        self._close_stdin()
        await trio.lowlevel.checkpoint()

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            if self._stdin_watched:
                self._poller.remove(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    async def _park_sender(self) -> None:
        def forget(_: object) -> trio.lowlevel.Abort:
            self._sender = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._sender = trio.lowlevel.current_task()
        if not self._stdin_watched:  # most commands are never written to, or not that much
            assert self._stdin is not None
            self._poller.add(self._stdin, WRITABLE, self._wake_sender)
            self._stdin_watched = True
        await trio.lowlevel.wait_task_rescheduled(forget)

    def _wake_sender(self, _mask: int) -> None:
        if self._sender is not None:
            trio.lowlevel.reschedule(self._sender)
            self._sender = None

    # -- the end -----------------------------------------------------------------------

    def _note_death(self) -> None:
        self._dead = True
        if not self._ending:  # by itself: what it has left behind is left alone from now on
            self._unwatch()
        self._died.unpark_all()
        self._wake_receiver()

    async def _wait_dead(self) -> None:
        while not self._dead:
            await self._died.park()

    def _reap(self) -> None:
        """Take the zombie's status, and with it its number out of use."""
        if self._reaped:
            return
        self._reaped = True
        self._unwatch()
        try:
            status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            status = None
        if status is None and not self._ending:
            self.exit = Unreachable(
                "its exit status was taken by somebody else in this program "
                "(a waitpid(-1), or SIGCHLD is ignored)"
            )
        if not self._ending and status is not None:
            exited = status.si_code == os.CLD_EXITED
            self.exit = Exited(status.si_status) if exited else Signaled(status.si_status)

    def _is_dead(self) -> bool:
        """Seen by ourselves: we may not have been told yet."""
        if not self._dead:
            with contextlib.suppress(ChildProcessError):
                flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
                if os.waitid(os.P_PID, self.pid, flags) is None:
                    return False
            self._note_death()
        return True

    async def end(self, grace: float) -> None:
        if self._is_dead():
            self._reap()
            return
        self._ending = True
        self._deaths.watch(self._child)
        try:
            await end_session(
                self.pid, self._born_at, grace, self._supervisor.table, self._wait_dead
            )
        finally:
            if self._is_dead():
                self._reap()
            self._begin_drain(0)  # nobody is left who could write
            self._wake_receiver()

    async def aclose(self) -> None:
        if not self._reaped:
            # Not the engine's way, which is `end`: an error of ours, or a program that is
            # being torn down. It lasts milliseconds, and a cancellation may come before.
            with trio.CancelScope(shield=True), contextlib.suppress(Exception):
                await self.end(0)
        self._close()

    def _discard(self) -> None:
        """What runs cannot be watched: better none than loose."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.killpg(self.pid, signal.SIGKILL)
            self._unwatch()
            os.waitpid(self.pid, 0)
        self._close()

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._watched.clear()

    def _close(self) -> None:
        self._close_stdin()
        for output in tuple(self._outputs):
            self._close_output(output)
        self._deaths.forget(self._child)
        self._supervisor.closed_session()
