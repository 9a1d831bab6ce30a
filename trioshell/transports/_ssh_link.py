"""One SSH connection, and what runs over it: sessions, their guard, further connections."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import asyncssh
import trio

from trioshell._errors import TransportError
from trioshell.transports._guard import guard_line
from trioshell.transports._said import quoted
from trioshell.transports._ssh_bridge import Bridge
from trioshell.transports._ssh_guard import SshGuard
from trioshell.transports._ssh_link_session import LinkSession
from trioshell.transports._ssh_socket import SocketTransport

if TYPE_CHECKING:
    from trioshell.transports._ssh_plan import Plan
    from trioshell.transports._ssh_pool import Pool

# How many sessions we open over one connection until the server says what it allows: sshd's
# own default of MaxSessions.
_SESSIONS: Final = 10

# A command is made known to a guard at the second tick of the keeper (see `Pool`) after it has
# started, so that one that is over by then, as most are, costs nothing.
_WATCHED_TICKS: Final = 2

# How long it may take to start a guard.
_GUARD_SECONDS: Final = 3.0

# How long a guard may take to exit before its connection may be closed.
_LEAVE_SECONDS: Final = 0.5

# The silence is broken by questions, and the connection is lost at twice the silence allowed.
_QUESTIONS: Final = 2


class Link:
    """A connection that has been opened and logged in to.

    Attributes:
        limit: how many sessions it takes, as far as we know.
        sessions: those that hold a place on it, open or being opened.
        riders: how many other links go over it (it is a jump host then).
    """

    def __init__(
        self, pool: Pool, plan: Plan, connection: Any, transport: SocketTransport | None
    ) -> None:
        self.pool = pool
        self.bridge: Bridge = pool.bridge
        self.plan = plan
        self.connection = connection
        self.limit = _SESSIONS
        self.sessions: set[LinkSession] = set()
        self.riders = 0
        self.idle_since = trio.current_time()
        self.via: Link | None = None
        self._transport = transport
        self._guard: SshGuard | None = None
        self._guard_link: Link | None = None
        self._questioned = False
        self._closed = False

    @property
    def name(self) -> str:
        return self.plan.where

    @property
    def wire(self) -> SocketTransport | None:
        """The socket that all goes over in the end: that of the first jump host, if there are."""
        return self._transport if self.via is None else self.via.wire

    @property
    def alive(self) -> bool:
        """False once the connection is known to be gone."""
        closing = self._transport is not None and self._transport.is_closing()
        return not closing and not self.connection.is_closed()

    @property
    def busy(self) -> bool:
        return bool(self.sessions) or self.riders > 0

    @property
    def free(self) -> bool:
        """True if it takes one more session."""
        return self.alive and len(self.sessions) < self.limit

    @property
    def silent_for(self) -> float:
        """How many seconds ago the other side last said something; 0 if we can't tell."""
        if self._transport is None:
            return 0.0
        return trio.current_time() - self._transport.heard_at

    def release(self, session: LinkSession) -> None:
        """A session has given its place back."""
        self.sessions.discard(session)
        self._note_idle()

    def add_rider(self) -> None:
        """Another link goes over this one from now on."""
        self.riders += 1
        self.pool.note_busy(self)

    def drop_rider(self) -> None:
        """A link that went over this one has gone."""
        self.riders -= 1
        self._note_idle()

    def _note_idle(self) -> None:
        if not self.busy:
            self.dismiss_guard()
            self.idle_since = trio.current_time()
            self.pool.note_idle(self)

    def close(self) -> None:
        """Close it, and what runs over it. Harmless when repeated."""
        self._closed = True
        self.bridge.give(self.connection.close)
        self.dismiss_guard()
        self.pool.drop(self)

    def describe_loss(self, exc: Exception | None) -> str:
        """Why a session has been lost."""
        if self._closed:
            return f"the connection to {self.name} was closed here"
        if exc is None and self.alive:
            return f"{self.name} has closed the session without an exit status"
        what = quoted(exc or "")
        if what in ("", "Connection lost"):  # asyncssh's words for an end of file
            what = "closed by the other side"
        return f"the connection to {self.name} broke: {what}"

    @property
    def closed_here(self) -> bool:
        """True if it was we who closed it."""
        return self._closed

    # -- the guard ----------------------------------------------------------------------

    def tick(self) -> None:
        """Called by the keeper now and then: watch what takes longer, and listen."""
        for session in self.sessions:
            session.tick()
            if session.group is not None and session.running and not session.watched:
                session.ticks += 1
                if session.ticks >= _WATCHED_TICKS:
                    session.watched = True
                    self.bridge.nursery.start_soon(self._watch, session)
        self._ask_if_silent()

    async def _watch(self, session: LinkSession) -> None:
        try:
            guard = await self._find_guard()
        except TransportError:
            session.watched = False
            return
        if session.watched and session.group is not None:
            guard.know(session.group)

    def forget(self, session: LinkSession) -> None:
        """The command of a session is over."""
        if session.watched and self._guard is not None and session.group is not None:
            self._guard.forget(session.group)
        session.watched = False

    async def end_group(self, group: int, grace: float, over: Callable[[], bool]) -> bool:
        """End a process group; True if it was `over` by itself, and nothing was touched.

        Over another connection, if this one is lost.

        Raises:
            TransportError: it is not known what is left there.
        """
        try:
            guard = await self._find_guard()
            ended = await guard.end(group, grace, over)
        except TransportError:
            if self.alive:
                raise
            other = await self.pool.lend(self.plan)
            try:
                guard = await other._find_guard()
                ended = await guard.end(group, grace, over)
            finally:
                other.drop_rider()
        if ended.left:
            pids = ", ".join(map(str, ended.left))
            raise TransportError(f"these processes on {self.name} could not be ended: {pids}")
        return ended.by_itself

    async def _find_guard(self) -> SshGuard:
        if self._guard is None or self._guard.state == "gone":
            token = secrets.token_hex(8)
            self._guard = SshGuard(token, self.name, self.bridge.flush)
            await self._start_guard(self._guard, guard_line(token))
        return self._guard

    def dismiss_guard(self) -> None:
        """Let the guard go, as there is nothing to guard; the next one is started when needed."""
        guard, self._guard = self._guard, None
        spare, self._guard_link = self._guard_link, None
        if guard is not None and self.bridge.running:
            guard.dismiss()
            self.pool.bridge.finish_soon(self._see_off, guard, spare)

    async def _see_off(self, guard: SshGuard, spare: Link | None) -> None:
        with trio.move_on_after(_LEAVE_SECONDS):
            await guard.left.wait()
        if spare is not None:
            spare.drop_rider()
            spare.close()

    async def _start_guard(self, guard: SshGuard, line: str) -> None:
        started = False
        why = "it does not answer"
        try:
            with trio.move_on_after(_GUARD_SECONDS):
                await self._open_guard(guard, line)
                started = True
        except (asyncssh.Error, OSError, TransportError) as exc:
            why = quoted(exc)
        finally:
            if not started:  # also when we are cancelled: who waits for it must not wait on
                guard.fail()
                guard.left.set()
        if not started:
            raise TransportError(f"no guard could be started on {self.name}: {why}")

    async def _open_guard(self, guard: SshGuard, line: str) -> None:
        try:
            await self._open_channel(guard, line)
        except asyncssh.ChannelOpenError:
            if not self.alive:
                raise
            # The server allows no further session here, so it gets a connection of its own.
            self._guard_link = await self.pool.open_spare(self.plan)
            await self._guard_link._open_channel(guard, line)

    async def _open_channel(self, guard: SshGuard, line: str) -> None:
        await self.bridge.call(
            self.connection.create_session(lambda: guard, line, encoding=None, window=65536)
        )

    # -- silence ------------------------------------------------------------------------

    async def wait_for_answer(self) -> None:
        """Wait until the other side has answered a question, or the connection is lost."""
        # The question that asyncssh asks by itself; it has no public word for a single one.
        question = self.connection._make_global_request(b"keepalive@openssh.com")
        await self.bridge.call(question)

    def _ask_if_silent(self) -> None:
        """Have asyncssh ask a silent server whether it is still there."""
        keepalive = self.plan.keepalive
        if self._transport is None or keepalive <= 0:
            return
        silent = self.silent_for > keepalive
        if silent and not self._questioned:
            pause = keepalive / (_QUESTIONS + 1)
            self.bridge.give(self.connection.set_keepalive, pause, _QUESTIONS)
        elif self._questioned and not silent:
            self.bridge.give(self.connection.set_keepalive, 0)
        self._questioned = silent
