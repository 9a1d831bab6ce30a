"""The contract of a transport: a way to reach nodes, and the open run over it.

Subclass `Transport` and `Session` to write your own, prove it with
`trioshell.testing.check_transport`, and register it under the entry-point group
``trioshell.transports`` to have it found by name.

The engine promises a session: one task calls `Session.receive`, at most one other calls
`Session.send` and `Session.send_eof`, `Session.end` is called at most once, and
`Session.aclose` is called exactly once, at the end, by nobody else at the same time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

import trio

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

    from trioshell._results import Exited, Signaled, Unreachable

# `Transport.stop` promises to be over within a second or two. One that is not is given up.
_STOP_SECONDS = 10.0

# A shell command line, or an argument vector that no shell reads.
Command: TypeAlias = str | tuple[str, ...]

# What came in: the name of the stream ("stdout", "stderr") and some bytes of it, never none.
Chunk: TypeAlias = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Copy:
    """What a `CopyWorker` asks for: a file or a tree, to a node or from it.

    Attributes:
        source: where it is; on this machine, or on the node if `reverse`.
        dest: where it goes. With `reverse` a directory here, which gets ``NAME.NODE``.
        reverse: True to fetch from the node instead of sending to it.
        preserve: True to keep modification times and modes.
    """

    source: str
    dest: str
    reverse: bool = False
    preserve: bool = False


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Job:
    """One piece of work for all nodes of a worker, as `Transport.check` sees it.

    It is compared by identity, so that what a transport has worked out for a job can be
    kept in a `weakref.WeakKeyDictionary`.

    Attributes:
        work: the command or the copy.
        nodes: the worker's targets; None for a command that runs once, here.
        stdin: True if the command's stdin is to be a pipe that we may write to. False
            gives it an empty one.
        stderr: True to keep stderr apart; False to merge it into stdout.
        connect_timeout: the seconds that opening a session may take. The engine itself
            cancels `Transport.open` then; it is told here for a transport that has
            someone to pass it on to.
    """

    work: Command | Copy
    nodes: NodeSet | None = None
    stdin: bool = False
    stderr: bool = False
    connect_timeout: float = 10.0


class Session(ABC):
    """One run, open: a command that has been started on one target.

    Attributes:
        exit: how the command ended *by itself*, as soon as that is known; None before,
            and None for ever if it was `end` that ended it. A session whose connection
            broke sets `Unreachable` here.
    """

    exit: Exited | Signaled | Unreachable | None = None

    @abstractmethod
    async def receive(self) -> Sequence[Chunk]:
        """Wait for output, and return what has come, in the order of its coming.

        Returns an empty sequence when the run is over: the command has ended (whoever
        ended it), all that it wrote before has been returned, and `exit` is set unless
        `end` ended it. The end of the command is the end, and not the end of its
        output: a grandchild in the background that keeps the output open is waited for
        only for a short, bounded time, and a command that closes its output early is
        waited for all the same. What arrives while nobody calls this waits on the
        other side, so a slow reader slows the command down.

        Cancelled, it has consumed nothing. Never raises for what the target does.
        """

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Hand all of `data` (never empty) to the command's stdin, waiting while it is full.

        Raises:
            trio.BrokenResourceError: nobody will read it: the command has closed its
                stdin or has ended. The run itself is not disturbed by that.
        Cancelled, any part of `data` may have been handed over.
        """

    async def send_to(self, sname: str, data: bytes) -> None:
        """As `send`, for a session that has more than one stream to write to."""
        await self.send(data)

    @abstractmethod
    async def send_eof(self) -> None:
        """Close the command's stdin, after all that was sent. Harmless when repeated."""

    @abstractmethod
    async def end(self, grace: float) -> None:
        """End all that the command started: SIGTERM to its whole process group, and
        SIGKILL to what is left after `grace` seconds. Return when nothing is left.

        `receive` may be waiting in another task meanwhile, and goes on returning output;
        once this has returned it does not wait any more. If the command had already
        ended by itself, this sets `exit` to that and touches nothing. Bounded: it
        returns within `grace` and ten seconds, whatever the target does.

        Raises:
            TransportError: it cannot be told whether everything is gone (the
                connection broke, say); its reason says what may be left.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Release everything that the session holds here. It may be called at any time.

        A command that is still running loses everything at once (SIGKILL). When this has
        returned, or was cancelled, no descriptor and no child process of the session is
        left.
        """


class Transport(ABC):
    """A way to reach nodes. An object of this class is what ``transport=`` takes.

    It is an async context manager. A Task enters it at its first use and leaves it at its
    own end; entering it yourself as well, around several Tasks, keeps what it holds open
    (connections, say) from one Task to the next. A Transport may be used by several Tasks
    of one ``trio.run`` at once.

    Attributes:
        connects: True if there is a way to the target that can take long, so that opening a
            session is bounded by the Task's ``connect_timeout``.
    """

    connects: bool = True
    _users: int = 0
    _turn: trio.Lock | None = None  # made when needed: a subclass need not call our __init__

    @abstractmethod
    def check(self, job: Job) -> None:
        """Find at the call what can be found wrong with `job`, before anything starts.

        Must not block and must not do I/O over the network.

        Raises:
            ValueError: or `TypeError`; one sentence naming the input and what is accepted.
            TransportError: this transport cannot be used at all (not installed, say).
        """

    @abstractmethod
    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        """Open the way to `node` and start the work there; return when it has started.

        `rank` is the node's place among the worker's nodes, from 0. Cancelled, it leaves
        nothing behind: no process, no connection that is not kept for others.

        Raises:
            TransportError: the target could not be reached (the outcome `Unreachable`).
            SpawnError: the work could not be started here (the outcome `NotStarted`).
        """

    async def start(self) -> None:
        """Get ready; called when the first user enters. By default nothing to do."""

    async def stop(self) -> None:
        """Let go of everything; called, shielded, when the last user has left.

        Never raises, and is over within a second or two whatever a target does.
        """

    @trio.lowlevel.enable_ki_protection  # half entered it could not be left
    async def __aenter__(self) -> Self:
        if self._turn is None:
            self._turn = trio.Lock()
        async with self._turn:  # who comes second waits until the first has started it
            if self._users == 0:
                await self.start()
            self._users += 1
        return self

    @trio.lowlevel.enable_ki_protection  # nor half left
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._turn is not None
        # Shielded, since leaving must be whole; and bounded, whatever `stop` promises.
        with trio.move_on_after(_STOP_SECONDS) as scope:
            scope.shield = True
            async with self._turn:
                self._users -= 1
                if self._users == 0:
                    await self.stop()
