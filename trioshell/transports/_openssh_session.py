"""One command on one node, run by an ssh(1) of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import trio

from trioshell._errors import TransportError
from trioshell._results import Exited, Signaled, Unreachable
from trioshell.transports._base import Chunk, Session
from trioshell.transports._guard import Opening
from trioshell.transports._openssh_command import Ending
from trioshell.transports._openssh_guard import Guard, Guards
from trioshell.transports._openssh_log import CLOSED
from trioshell.transports._openssh_process import SshProcess

# The command has ended and ssh has not, since something else still holds the output open:
# this long we go on listening, across a network, for the last words.
DRAIN_SECONDS = 0.25

# How long ssh may take to notice that what it was for is over.
_NOTICE_SECONDS = 1.0

# What a command whose connection broke is given between SIGTERM and SIGKILL, and what the
# attempt to reach it again may take in all.
_BROKEN_GRACE_SECONDS = 1.0
_BROKEN_SECONDS = 8.0

# Closing must be quick, and has to log in to end what still runs.
_CLOSE_SECONDS = 6.0

# What has said so much without a report of its start will not report any more.
_MOST_BEFORE_BYTES = 1 << 18

# The report of a command that was just being started comes within a round trip.
_REPORT_SECONDS = 1.0


class OpenSshSession(Session):
    """A command on a target, with the ssh that leads to it.

    Args:
        ssh: a running ssh that was given a command line of `_openssh_command`.
        guards: end the command on the target.
        token: the one in the command line.
        merge: True if the command's stderr goes where its stdout goes.
        shared: the guard over whose connection the command goes, if it does.
    """

    def __init__(
        self,
        ssh: SshProcess,
        guards: Guards,
        token: str,
        *,
        merge: bool,
        shared: Guard | None = None,
    ) -> None:
        self.exit: Exited | Signaled | Unreachable | None = None
        self._ssh = ssh
        self._guards = guards
        self._shared = shared
        # Made for a string, it drops what a login shell says before the command starts.
        self._opening = Opening("", token, merge=merge)
        self._ending = Ending(token)
        self._ready: list[Chunk] = []  # received, and not yet returned
        self._closing_words = b""  # of ssh perhaps: see _feed_stderr
        self._pulling = trio.Lock()
        self._over = trio.Event()  # nothing will come any more
        self._broken: str | None = None
        self._unclear: str | None = None  # see _ask_shared
        self._drain_until = float("inf")
        self._ended = False  # by us
        self._gone = False  # so says the guard
        self._ends = trio.Lock()

    # -- the beginning -----------------------------------------------------------------

    async def wait_started(self) -> None:
        """Wait until the command has started, or is over already.

        What the server runs instead of our line (a forced command) has started once it has
        said a lot.

        Raises:
            TransportError: it has not, since ssh could not get so far, or the server talks on
                and on before it lets us in.
        """
        while self._opening.group is None and not self._over.is_set():
            await self._pull()
            if sum(len(data) for _, data in self._ready) > _MOST_BEFORE_BYTES:
                if not self._ssh.may_have_started:
                    raise TransportError(f"{self._ssh.node} says too much before the login")
                break
        await self._ask_shared()
        group = self._opening.group
        if self._broken is not None and group is None:
            raise TransportError(self._broken)
        if self._shared is not None and group is not None:
            await self._shared.know(group)

    async def discard(self) -> None:
        """Give up a session that was cancelled before its command had reported.

        A command that was being started at that moment is ended all the same.
        """
        if self._ssh.may_have_started:
            with trio.move_on_after(_REPORT_SECONDS), contextlib.suppress(TransportError):
                await self.wait_started()
        await self.aclose()

    # -- its output --------------------------------------------------------------------

    async def receive(self) -> Sequence[Chunk]:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._ready and not self._over.is_set():
            await self._pull()
        if self._ready:
            chunks, self._ready = self._ready, []
            return chunks
        await self._ask_shared()
        if self._broken is not None and self.exit is None and not self._ended:
            await self._end_broken()
        return ()

    async def _pull(self) -> None:
        """Take one portion of what comes into `_ready`; only one task at a time does."""
        try:
            self._pulling.acquire_nowait()
        except trio.WouldBlock:
            async with self._pulling:
                return  # somebody else has pulled meanwhile
        try:
            with trio.CancelScope(deadline=self._drain_until) as draining:
                chunks = await self._ssh.receive()
            if draining.cancelled_caught:
                chunks = ()
            for sname, data in chunks:
                own = self._feed(sname, data)
                if own:
                    self._ready.append((sname, own))
            if not chunks:
                self._finish()
        finally:
            self._pulling.release()

    def _feed(self, sname: str, data: bytes) -> bytes:
        data = self._opening.feed(sname, data)
        if sname == "stderr":
            return self._feed_stderr(data)
        had = self._ending.status
        data = self._ending.feed(data)
        if self._ending.status != had:
            self._drain_until = trio.current_time() + DRAIN_SECONDS
            if not self._ended:
                self.exit = self._ending.outcome
        return data

    def _feed_stderr(self, data: bytes) -> bytes:
        """Hold back what ssh says there itself when the connection is closed under it.

        It may be the command's own words after all: then more follows, or an exit code.
        """
        if data:
            data = self._closing_words + data
            found = CLOSED.search(data)
            self._closing_words = found[0] if found else b""
            data = data[: len(data) - len(self._closing_words)]
        return data

    def _finish(self) -> None:
        """Nothing comes any more: settle what was held back, and how it ended."""
        if self._over.is_set():
            return
        self._over.set()
        if self._ending.status is None and not self._ended:
            self._settle_without_report()
        stdout = self._ending.feed(self._opening.rest("stdout")) + self._ending.rest()
        stderr = self._opening.rest("stderr")
        if self._broken is None:
            stderr += self._closing_words
        for sname, rest in (("stdout", stdout), ("stderr", stderr)):
            if rest:
                self._ready.append((sname, rest))

    def _settle_without_report(self) -> None:
        left = self._ssh.session.exit
        complaint = self._ssh.complaint()
        if isinstance(left, Exited) and left.rc != 255:
            # It was not our line that ran (a forced command), or its shell could not run it.
            self.exit = left
        elif self._shared is not None:
            self._unclear = complaint.reason if complaint else ""
        elif complaint is not None:
            self._broken = complaint.reason
        else:
            self._settle_silence()

    def _settle_silence(self) -> None:
        left = self._ssh.session.exit
        if isinstance(left, Exited) and self._opening.group is not None:
            # ssh is content, and says 255: a signal ended the reporting shell itself. It
            # survives all but this one (see _openssh_command).
            self.exit = Signaled(9)
        else:
            self._broken = f"ssh to {self._ssh.node} {left or 'ended'} without a word"

    async def _ask_shared(self) -> None:
        """Where the connection is another ssh's, that one knows why ours has said 255."""
        if self._unclear is None or self._shared is None:
            return
        lost = await self._shared.why_lost()
        said, self._unclear = self._unclear, None
        if said or lost:
            self._broken = lost or said
        else:
            self._settle_silence()

    # -- its input ---------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        await self._ssh.session.send(data)

    async def send_eof(self) -> None:
        await self._ssh.session.send_eof()

    # -- the end -----------------------------------------------------------------------

    async def end(self, grace: float) -> None:
        if self._over.is_set():
            await self._ask_shared()
            if self._broken is None:
                return
        try:
            if self.exit is None:
                self._ended = True
                by_itself = await self._end_there(grace)
                self._ended = not by_itself
            # What it said at the end is on its way, and ssh goes when all of it has come.
            with trio.move_on_after(_NOTICE_SECONDS):
                while not self._over.is_set():
                    await self._pull()
        finally:
            # Shielded: the local ssh must not stay behind. It takes milliseconds.
            with trio.CancelScope(shield=True):
                await self._ssh.session.end(0)
        if self.exit is None and not self._ended:
            self.exit = self._ending.outcome
        if self.exit is None and self._broken is not None:
            self.exit = Unreachable(f"{self._broken}; the command has been ended there")

    async def _end_broken(self) -> None:
        """The connection broke under a running command: end it over another, if it can be."""
        group = self._opening.group
        which = "" if group is None else f" (process {group})"
        reason = self._broken
        with trio.move_on_after(_BROKEN_SECONDS) as patience:
            try:
                by_itself = await self._end_there(_BROKEN_GRACE_SECONDS)
                state = "had ended" if by_itself else "has been ended"
                reason = f"{reason}; the command {state} there"
            except TransportError:
                reason = f"{reason}; the command may still run there{which}"
        if patience.cancelled_caught:
            reason = f"{reason}; the command may still run there{which}"
        if self.exit is None and not self._ended:
            self.exit = Unreachable(reason or "")

    async def _end_there(self, grace: float) -> bool:
        """End the command on the target; True if it was over by itself.

        Raises:
            TransportError: it cannot be told whether everything is gone.
        """
        group = self._opening.group
        if group is None:
            raise TransportError(
                f"the login shell on {self._ssh.node} did not say which process group it leads"
            )
        async with self._ends:
            if self._gone:
                return False
            answer = await self._guards.end(self._ssh.node, group, grace)
            if answer.left:
                left = ", ".join(map(str, answer.left))
                raise TransportError(
                    f"processes on {self._ssh.node} could not be killed and may still run: {left}"
                )
            self._gone = True
            return answer.by_itself

    async def aclose(self) -> None:
        try:
            if self.exit is None and not self._ended and self._opening.group is not None:
                # Not the engine's way, which is `end`. Shielded, and bounded: nothing else
                # would end the command, and the target may be gone.
                with (
                    trio.move_on_after(_CLOSE_SECONDS, shield=True),
                    contextlib.suppress(TransportError),
                ):
                    await self._end_there(0)
        finally:
            # Shielded: the local ssh must not stay behind. It takes milliseconds.
            with trio.CancelScope(shield=True):
                await self._ssh.aclose()
                if self._shared is not None and self._opening.group is not None:
                    await self._shared.forget(self._opening.group)
