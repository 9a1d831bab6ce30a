"""One command on one target, over a channel of an SSH connection."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio

from trioshell._errors import TransportError
from trioshell._results import Exited, Signaled, Unreachable
from trioshell.transports._base import Chunk, Command
from trioshell.transports._guard import Opening, command_line
from trioshell.transports._said import quoted
from trioshell.transports._ssh_channel import WINDOW_BYTES
from trioshell.transports._ssh_link_session import LinkSession

if TYPE_CHECKING:
    from trioshell.transports._ssh_link import Link

# After the command has ended: wait for the end of its output as long as some of it comes.
# A process in the background that holds the output open is not waited for longer than this.
_QUIET_SECONDS: Final = 0.25
_DRAIN_SECONDS: Final = 3.0

# Nor is one that goes on writing: what the command itself has written fits into the pipe and the
# buffers on the way, which hold less than this.
_DRAIN_BYTES: Final = 4 * WINDOW_BYTES

# What has just been ended reports its end and its last words within a moment, or never.
_LAST_WORDS_SECONDS: Final = 0.25

# How long to wait for the shell to say which process group it leads.
_REPORT_SECONDS: Final = 1.0

# How long to wait for the effect of a SIGKILL that the server was asked to send.
_BLIND_SECONDS: Final = 0.5

# Beyond its grace, an end may take so long: round trips, the start of a guard, and the second
# that it gives SIGKILL.
_END_SECONDS: Final = 3.0

# When the connection is lost under a command: how long to try to reach its target anew, to
# end it there, and the grace that it gets then.
_AFTER_LOSS_SECONDS: Final = 4.0
_AFTER_LOSS_GRACE: Final = 1.0

# How long whoever closes a running session waits for its processes to be gone.
_KILL_SECONDS: Final = 2.0


class SshSession(LinkSession):
    """A run over SSH; also what asyncssh calls its session, whose callbacks are below.

    The callbacks are called by whichever Trio task has given asyncssh something to do, and
    never block. `receive` and the like are called by the engine's tasks.

    Attributes:
        line: what is sent to the target, to be run there.
        wants_input: True if its stdin is to be written to; else it is empty.
    """

    def __init__(
        self, link: Link, command: Command, token: str, *, merge: bool, wants_input: bool
    ) -> None:
        super().__init__(link)
        self.line = command_line(command, token, merge=merge, stdin=wants_input)
        self.wants_input = wants_input
        self._opening = Opening(command, token, merge=merge)
        self._merge = merge
        self._ended = False  # by us
        self._ending = False
        self._reported: Exited | Signaled | Unreachable | None = None
        self._lost = ""  # why the connection is lost, once it is
        self._tried = False  # to end it, and to the end
        self._released = trio.Event()
        self._changed = trio.Event()  # for end; receive waits for the channel
        self._dry = False  # no more output will come
        self._drain_seconds = _DRAIN_SECONDS
        self._drain_bytes = _DRAIN_BYTES

    @property
    def group(self) -> int | None:
        return self._opening.group

    def tick(self) -> None:
        """Called by the link's keeper now and then."""
        # Its stdin is empty by its line, which spares us to say so. But a server that runs
        # something else instead of the line (a forced command) would wait for it.
        if self.group is None and not self.wants_input and self.begun:
            self.channel.send_eof()

    @property
    def running(self) -> bool:
        return self.exit is None and not self._ended

    async def start(self) -> None:
        # From the moment at which the channel is there, the command may have started.
        await self.link.connection.create_session(
            lambda: self,
            self.line,
            encoding=None,
            env=dict(self.link.plan.env),
            window=WINDOW_BYTES,
        )

    # -- what asyncssh calls ------------------------------------------------------------

    def connection_made(self, channel: Any) -> None:
        self.channel.opened(channel)

    def session_started(self) -> None:
        pass

    def data_received(self, data: bytes, datatype: int | None) -> None:
        sname = "stdout" if datatype is None else "stderr"
        had_group = self._opening.group is not None
        data = self._opening.feed(sname, data)
        if data:
            self.channel.store("stdout" if self._merge else sname, data)
        if not had_group and self._opening.group is not None:
            self._tell_end()  # it may be waiting for that

    def eof_received(self) -> bool:
        self._finish_output()
        return True  # our half stays open: the command may go on reading

    def exit_status_received(self, status: int) -> None:
        self._exited(Exited(status))

    def exit_signal_received(self, name: str, core: bool, message: str, lang: str) -> None:
        number = signal.Signals.__members__.get(f"SIG{name}")
        # A signal that this system does not have: its name is all that there is to say.
        if number is None:
            unknown = f"the command was ended there by an unknown signal {quoted(name)}"
            self._exited(Unreachable(unknown))
        else:
            self._exited(Signaled(int(number)))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.running and self._reported is None:
            self._lost = self.link.describe_loss(exc)
            if not self._ending:
                self._follow_loss()
        elif exc is not None and self.exit is not None and not self._dry:
            # A server may report the end of a command before it has sent all of its output.
            loss = self.link.describe_loss(exc)
            self.exit = Unreachable(
                f"{loss}; the command had {self.exit}, but not all of its output has come"
            )
        self.channel.refuse()
        self._finish_output()
        self.link.forget(self)

    def _follow_loss(self) -> None:
        if self.group is None or self.link.closed_here or not self.link.bridge.running:
            self.exit = Unreachable(f"{self._lost}; {self._perhaps_left()}")
        else:
            self.link.bridge.finish_soon(self._end_after_loss, self.group)

    async def _end_after_loss(self, group: int) -> None:
        """Reach the target anew, and end what nobody will tell us the end of."""
        left = self._perhaps_left()
        try:
            with trio.move_on_after(_AFTER_LOSS_SECONDS):
                await self.link.end_group(group, _AFTER_LOSS_GRACE, lambda: False)
                left = "the command has been ended there"
        except TransportError:
            pass  # `left` says it
        finally:
            self.exit = Unreachable(f"{self._lost}; {left}")
            self._notify()

    def _perhaps_left(self) -> str:
        which = "" if self.group is None else f" (process {self.group})"
        return f"what the command started may still run there{which}"

    def pause_writing(self) -> None:
        self.channel.pause_writing()

    def resume_writing(self) -> None:
        self.channel.resume_writing()

    # -- output -------------------------------------------------------------------------

    def _notify(self) -> None:
        self.channel.wake()
        self._tell_end()

    def _tell_end(self) -> None:
        # A new one at once: there may be more than one who waits.
        self._changed.set()
        self._changed = trio.Event()

    def _finish_output(self) -> None:
        if self._dry:
            return
        self._dry = True
        for sname in ("stdout", "stderr"):
            rest = self._opening.rest(sname)
            if rest:
                self.channel.store("stdout" if self._merge else sname, rest)
        self._tell_end()
        if not self.running:  # else there is nothing yet that `receive` could do
            self.channel.wake()

    def _exited(self, outcome: Exited | Signaled | Unreachable) -> None:
        self.link.forget(self)
        self._reported = outcome
        self.channel.refuse()
        if self.running and not self._ending:  # else `end` finds out whose doing it was
            self.exit = outcome
        self._notify()

    async def receive(self) -> Sequence[Chunk]:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._drain_bytes <= 0:
                return ()
            if chunks := self.channel.take():
                if self.exit is not None:
                    self._drain_bytes -= sum(len(data) for _, data in chunks)
                return chunks
            if self._ended and not self._dry:
                self._finish_output()  # some may be held back still, for a report that never came
            elif self._ended or (self.exit is not None and self._dry):
                return ()
            elif not await self._wait_for_more():
                await self._have_it_answer()
                if chunks := self.channel.take():
                    return chunks
                self._finish_output()

    async def _have_it_answer(self) -> None:
        """Have the server answer once, for it may be the network that is silent."""
        if self._drain_seconds > 0:
            # Without keepalives nobody would notice that it does not answer any more.
            patience = math.inf if self.link.plan.keepalive > 0 else _DRAIN_SECONDS
            with trio.move_on_after(patience):
                await self.link.wait_for_answer()

    async def _wait_for_more(self) -> bool:
        """Wait for a change. False: the command is over, and its output has dried up."""
        if self.exit is None:
            await self.channel.wait()
            return True
        before = trio.current_time()
        with trio.move_on_after(min(_QUIET_SECONDS, self._drain_seconds)) as scope:
            await self.channel.wait()
        passed = trio.current_time() - before
        self._drain_seconds = max(0.0, self._drain_seconds - passed)
        return not scope.cancelled_caught and self._drain_seconds > 0

    # -- input --------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        await self.channel.send(data)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self.channel.send_eof()

    # -- the end ------------------------------------------------------------------------

    async def end(self, grace: float) -> None:
        if not self.running:
            await trio.lowlevel.checkpoint()
            return
        if self._lost:  # its end is under way already
            await self._wait_until(_AFTER_LOSS_SECONDS, lambda: self.exit is not None)
            return
        self._ending = True
        failure = ""
        by_itself = False
        try:
            with trio.move_on_after(grace + _END_SECONDS) as scope:
                by_itself = await self._end_all(grace)
            self._tried = True
            if scope.cancelled_caught:
                raise TransportError(f"{self.link.name} does not answer")
            if by_itself:
                await self._wait(_REPORT_SECONDS, self._has_reported)
            else:
                await self._wait(_LAST_WORDS_SECONDS, lambda: self._dry)
        except TransportError as exc:
            self._tried = True
            failure = f"{exc.reason}; {self._perhaps_left()}"
            raise TransportError(failure) from None
        finally:
            # Also when we are cancelled: what has been begun can't be taken back.
            self._settle(by_itself, failure)

    def _settle(self, by_itself: bool, failure: str) -> None:
        """Make of what has come while we were ending it what it means."""
        self._ending = False
        if by_itself and self._reported is not None:
            self.exit = self._reported
        elif self._lost and (failure or by_itself):
            self.exit = Unreachable(f"{self._lost}; {failure}" if failure else self._lost)
        else:
            self._ended = True
            self.channel.refuse()
        self._notify()

    async def _end_all(self, grace: float) -> bool:
        """End the group; True if the command was over already, and nothing was touched."""
        await self._wait(_REPORT_SECONDS, lambda: self.group is not None or self._has_reported())
        if self._reported is not None:
            return True
        if self.group is None:
            await self._signal_blindly(grace)
        return await self.link.end_group(self.group, grace, self._has_reported)

    async def _signal_blindly(self, grace: float) -> NoReturn:
        """Ask the server to signal the command; all that is left without a process group.

        It reaches the one process that the server started, if the server does it at all.
        """
        for name, seconds in (("TERM", grace), ("KILL", _BLIND_SECONDS)):
            if not self.channel.closing:
                self.channel.raw.send_signal(name)
                self.link.bridge.flush()
            await self._wait(seconds, self._has_reported)
        if self._lost:
            raise TransportError("the connection broke")
        raise TransportError(
            f"the login shell on {self.link.name} did not say which process group it leads"
        )

    def _has_reported(self) -> bool:
        return self._reported is not None

    async def _wait(self, seconds: float, reached: Callable[[], bool]) -> None:
        """Wait until it is reached, or the connection is lost, or the time is up."""
        await self._wait_until(seconds, lambda: reached() or bool(self._lost))

    async def _wait_until(self, seconds: float, reached: Callable[[], bool]) -> None:
        with trio.move_on_after(seconds):
            while not reached():
                await self._changed.wait()

    async def aclose(self) -> None:
        if self.exit is not None or self._tried or self._lost or not self.link.bridge.running:
            self._release()
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        # In a task of its own: whoever cancels us must not keep the command from being killed.
        self.link.bridge.finish_soon(self.kill)
        await self._released.wait()

    async def kill(self) -> None:
        self._ending = True
        try:
            with trio.move_on_after(_KILL_SECONDS):
                await self._end_all(0)
        except TransportError:
            pass  # whoever closes a running session does not ask what is left
        finally:
            self._release()

    def _release(self) -> None:
        self._ended = self.exit is None
        self._dry = True
        self.channel.abort()
        self.link.release(self)
        self._released.set()
