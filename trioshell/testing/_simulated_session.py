"""One simulated run: a scripted process and its pipes, computed from the clock.

No child task stands behind it. The process is a generator that runs until it has to wait,
and every call upon the session first brings it up to the present: it does then what it
would have done meanwhile, each thing at its own time. So 100 000 runs cost what is
asked of them and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

import trio

from trioshell._errors import TransportError
from trioshell._results import Exited, Signaled, Unreachable
from trioshell.testing._script import (
    Break,
    CloseOutput,
    CloseStdin,
    ListProcesses,
    ReadStdin,
    Script,
    Step,
)
from trioshell.transports._base import Chunk, Job, Session


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """What became of one call of ``SimulatedTransport.open``; times are of the Trio clock.

    Attributes:
        node: the node's name (or the key of a worker without nodes).
        opened_at: when opening began.
        started_at: when the command started; None if it never did.
        ended_at: when the command was over, whatever ended it; None if it is not (known).
        closed_at: when the session was closed; None if it is not, or never was one.
        term_at: when our SIGTERM came; None if it never did.
        kill_at: when our SIGKILL came, from `end` or from `aclose`; None if it never did.
        exit: how it ended by itself; None if it did not.
        stdin: all bytes that were handed to its stdin, whether it read them or not.
        eof: True if its stdin was closed by us.
        error: why the session could not be opened ("cancelled" if opening was); None if
            it could.
    """

    node: Hashable
    opened_at: float
    started_at: float | None = None
    ended_at: float | None = None
    closed_at: float | None = None
    term_at: float | None = None
    kill_at: float | None = None
    exit: Exited | Signaled | Unreachable | None = None
    stdin: bytes = b""
    eof: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What the sessions of a transport have in common, and what they tell it.

    Attributes:
        pipe_bytes: what a pipe holds before who writes into it must wait.
        drain: the seconds after an exit for which output held open is waited for.
        keep_stdin: True to keep what was sent for the record.
        list_processes: tells what runs on a node now, one command a line.
        on_exit: is told of each session whose command has ended by itself, and when.
        on_close: is told of each session that is closed, once.
    """

    pipe_bytes: int
    drain: float
    keep_stdin: bool
    list_processes: Callable[[Hashable], bytes]
    on_exit: Callable[[SimulatedSession, float], None]
    on_close: Callable[[SimulatedSession], None]


class SimulatedSession(Session):
    """A run on a `SimulatedTransport`. It keeps every promise of `Session`."""

    def __init__(
        self, setting: Setting, script: Script, job: Job, node: Hashable, opened_at: float
    ) -> None:
        self.node = node
        self.job = job
        self.script = script
        self.place = 0  # where the transport keeps this session's record
        self._setting = setting
        self._opened_at = opened_at
        self._started_at = trio.current_time()
        self._ended_at: float | None = None
        self._closed_at: float | None = None
        self._term_at: float | None = None
        self._kill_at: float | None = None
        # What is in the pipes. Invariant: _held[name] is the size of name's part of _chunks.
        self._chunks: list[Chunk] = []
        self._held = {"stdout": 0, "stderr": 0}
        self._stdin = bytearray()
        self._stdin_open = job.stdin  # until the process closes it, or ends
        self._eof = not job.stdin
        self._sent = bytearray()
        # The process. Invariant: it is at work until _now, and goes on at _due; if that is
        # never, then _blocked says whether a pipe could wake it.
        self._process: Iterator[None] = self._act(script.program)
        self._now = self._due = self._started_at
        self._blocked = False
        self._over_at = inf  # from when on `receive` no longer waits for output
        self._lot: trio.lowlevel.ParkingLot | None = None

    # What the engine calls.

    async def receive(self) -> Sequence[Chunk]:
        await trio.lowlevel.checkpoint()
        while True:
            now = self._catch_up()
            if self._chunks:
                # Nothing is awaited from here on: a cancellation cannot come between.
                chunks, self._chunks = self._chunks, []
                self._held = {"stdout": 0, "stderr": 0}
                self._wake(now)
                return chunks
            if self._over_at <= now:
                return ()
            await self._pause(min(self._due, self._over_at))

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        rest = memoryview(data)
        while rest:
            now = self._catch_up()
            if not self._stdin_open:
                raise trio.BrokenResourceError("the command reads no stdin any more")
            if self._eof:
                raise trio.ClosedResourceError("its stdin has been closed by send_eof")
            room = self._setting.pipe_bytes - len(self._stdin)
            if not room:
                await self._pause(self._due)
                continue
            self._stdin += rest[:room]
            if self._setting.keep_stdin:
                self._sent += rest[:room]
            rest = rest[room:]
            self._wake(now)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        now = self._catch_up()
        self._eof = True
        self._wake(now)

    async def end(self, grace: float) -> None:
        await trio.lowlevel.checkpoint()
        now = self._catch_up()
        if self._ended_at is None:
            self._terminate(now)
            kill_at = now + grace
            while self._ended_at is None:
                if kill_at <= now:
                    self._kill(now)
                else:
                    await self._pause(min(self._due, kill_at))
                    now = self._catch_up()
        self._over_at = min(self._over_at, now)
        self._wake(now)
        if isinstance(self.exit, Unreachable):
            raise TransportError(f"{self.exit.reason}; the command may still be running")

    async def aclose(self) -> None:
        if self._closed_at is None:
            now = self._catch_up()
            if self._ended_at is None:
                self._kill(now)
            self._closed_at = now
            self._process = iter(())  # the generator and this would hold each other alive
            self._setting.on_close(self)
            self._wake(now)
        await trio.lowlevel.checkpoint()

    # What the transport asks.

    def record(self) -> SessionRecord:
        """All that is known of this run, as of now."""
        return SessionRecord(
            node=self.node,
            opened_at=self._opened_at,
            started_at=self._started_at,
            ended_at=self._ended_at,
            closed_at=self._closed_at,
            term_at=self._term_at,
            kill_at=self._kill_at,
            exit=self.exit,
            stdin=bytes(self._sent),
            eof=self._eof and self.job.stdin,
        )

    def runs(self, now: float) -> bool:
        """True while the command has not ended."""
        self._advance(now)
        return self._ended_at is None

    # Time.

    def _catch_up(self) -> float:
        if self._closed_at is not None:
            raise trio.ClosedResourceError("the session has been closed")
        now = trio.current_time()
        self._advance(now)
        return now

    def _advance(self, now: float) -> None:
        """Let the process do what it would have done until `now`."""
        while self._due <= now:
            self._now, self._due = self._due, inf
            next(self._process, None)

    def _wake(self, now: float) -> None:
        """A pipe has changed: let the process go on if it waited for that, and all who wait."""
        if self._blocked:
            self._blocked = False
            self._due = now
            self._advance(now)
        if self._lot is not None:
            self._lot.unpark_all()

    async def _pause(self, until: float) -> None:
        """Wait until the clock has come to `until`, or something has changed."""
        if self._lot is None:
            self._lot = trio.lowlevel.ParkingLot()
        with trio.CancelScope(deadline=until):
            await self._lot.park()

    # The process.

    def _act(self, program: Sequence[Step]) -> Iterator[None]:
        """Do one step after the other; yield where it has to wait, `_due` or `_blocked` set."""
        for step in program:
            match step:
                case bytes():
                    yield from self._write("stdout", step)
                case (sname, data):
                    yield from self._write(sname if self.job.stderr else "stdout", data)
                case ReadStdin():
                    yield from self._read(step)
                case CloseStdin():
                    self._stdin_open = False
                case CloseOutput():
                    pass  # nothing is written after it, and the end of a run is the exit
                case ListProcesses():
                    yield from self._write("stdout", self._setting.list_processes(self.node))
                case Break(reason):
                    self._broken(reason)
                    return
                case _:
                    self._due = self._now + step
                    yield
        self._exit()

    def _write(self, sname: str, data: bytes) -> Iterator[None]:
        rest = memoryview(data)
        while rest:
            room = self._setting.pipe_bytes - self._held[sname]
            if not room:
                self._blocked = True
                yield
                continue
            # Not copied when all of it fits at once, which it nearly always does.
            piece = data if len(data) == len(rest) <= room else bytes(rest[:room])
            self._chunks.append((sname, piece))
            self._held[sname] += len(piece)
            rest = rest[len(piece) :]

    def _read(self, step: ReadStdin) -> Iterator[None]:
        left = sys.maxsize if step.total is None else step.total
        while left > 0:
            if self._stdin:
                data = bytes(self._stdin[: min(step.size, left)])
                del self._stdin[: len(data)]
                left -= len(data)
                if step.echo:
                    yield from self._write("stdout", data)
                if step.pause:
                    self._due = self._now + step.pause
                    yield
            elif self._eof:
                return
            else:
                self._blocked = True
                yield

    def _exit(self) -> None:
        """The process ends by itself, or of our SIGTERM, at `_now`."""
        self._ended_at = self._now
        self._stdin_open = False
        if self._term_at is not None:
            self._over_at = self._now
            return
        signum = self.script.signum
        self.exit = Exited(self.script.rc) if signum is None else Signaled(signum)
        self._over_at = self._now + min(self.script.holds_output, self._setting.drain)
        self._setting.on_exit(self, self._now)

    def _broken(self, reason: str) -> None:
        """The connection breaks at `_now`; what goes on behind it is not known to anybody."""
        self.exit = Unreachable(reason)
        self._ended_at = self._over_at = self._now
        self._stdin_open = False

    def _terminate(self, now: float) -> None:
        """SIGTERM: from now on it says its last words, unless it ignores the signal."""
        self._term_at = now
        if self.script.last_words is not None:
            self._process = self._act(self.script.last_words)
            self._blocked = False
            self._due = now
            self._advance(now)

    def _kill(self, now: float) -> None:
        """SIGKILL: it is gone, in the middle of whatever it did."""
        self._kill_at = self._ended_at = self._over_at = now
        self._stdin_open = False
        self._blocked = False
        self._due = inf
