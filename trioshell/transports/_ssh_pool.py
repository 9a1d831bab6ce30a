"""The open SSH connections of a transport: opened when needed, shared, kept for a while."""

from __future__ import annotations

import errno
import random
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import asyncssh
import trio

from trioshell._errors import TransportError
from trioshell.transports._ssh_agent import Agents, Offer
from trioshell.transports._ssh_bridge import Bridge
from trioshell.transports._ssh_client import Client, Password
from trioshell.transports._ssh_connect import ProxyProgram, connect_tcp
from trioshell.transports._ssh_link import Link
from trioshell.transports._ssh_login import Dropped, Login
from trioshell.transports._ssh_names import Names
from trioshell.transports._ssh_plan import Plan
from trioshell.transports._ssh_session import LinkSession
from trioshell.transports._ssh_socket import SocketTransport

# How often the keeper looks at the links: a command that runs longer than one or two of
# these gets a guard that knows of it.
_TICK_SECONDS: Final = 0.25

# An idle connection is closed after so long, or when there are more of them than this (or
# than a quarter of the descriptors that we may have).
_IDLE_SECONDS: Final = 60.0
_MOST_IDLE: Final = 256

# A connection on which nothing has been heard for so long may be dead without our knowing;
# then it has this part of the connect timeout to open a session, before a new one is tried.
_STALE_SECONDS: Final = 5.0
_STALE_PART: Final = 1 / 3

# A server that drops connections before the login is tried again after this, doubled each
# time, more or less: all who were dropped must not come back at once.
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 2.0

# We give up a little before the engine does, to say what we were waiting for.
_HEAD_START: Final = 0.02

# How long a session whose opener has gone may take to be open, so that it can be closed.
_ABANDON_SECONDS: Final = 1.0

# How long closing waits for commands whose opener was cancelled to be killed.
_CLOSE_SECONDS: Final = 1.5

_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)

MakeSession = Callable[[Link], LinkSession]


@dataclass(eq=False)
class _Target:
    """The links to one target. `users` counts the tasks that are looking at it."""

    links: list[Link] = field(default_factory=list)
    lock: trio.Lock = field(default_factory=trio.Lock)
    users: int = 0

    def free_link(self) -> Link | None:
        return next((link for link in self.links if link.free), None)


class _Stale(Exception):
    """A kept connection turned out to be dead before it was given anything to run."""


class _Full(Exception):
    """The server allows no further session on this connection."""


class Pool:
    """All connections of a transport.

    Mutable state: `_targets` (every target that has a link, or is being looked at) and
    `_idle` (the links without a session, longest idle first).

    Args:
        bridge: running.
        password: what to answer a server that asks for one.
    """

    def __init__(self, bridge: Bridge, password: Password) -> None:
        self.bridge = bridge
        self._password = password
        self._agents = Agents(bridge, password)
        self._names = Names()
        self._targets: dict[tuple[object, ...], _Target] = {}
        self._idle: dict[Link, None] = {}
        self._most_idle = min(_MOST_IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        bridge.nursery.start_soon(self._keep)

    # -- opening ------------------------------------------------------------------------

    async def open(self, plan: Plan, make: MakeSession, timeout: float) -> LinkSession:
        """Open a session to the plan's target: on a connection that is there, or a new one.

        Raises:
            TransportError: the target can't be reached in time, or refuses us.
        Cancelled, the session is closed, and what it may have started is killed.
        """
        if plan.connect_timeout:
            timeout = min(timeout, plan.connect_timeout)
        waiting = _Waiting("the connection")
        with trio.move_on_after(timeout * (1 - _HEAD_START)):
            async with self._looking_at(plan) as target:
                return await self._open(target, plan, make, timeout, waiting)
        raise TransportError(f"no answer from {plan.where} within {timeout:g} s: {waiting}")

    async def open_spare(self, plan: Plan) -> Link:
        """A further connection, on which nobody opens a session by himself."""
        link = await self._log_in(plan, None, _Waiting("the connection"))
        link.limit = 0
        link.add_rider()
        return link

    async def lend(self, plan: Plan, waiting: _Waiting | None = None) -> Link:
        """A link that is alive, shared with all others; with one rider more."""
        async with self._looking_at(plan) as target, target.lock:
            link = next((link for link in target.links if link.alive), None)
            if link is None:
                link = await self._log_in(plan, None, waiting or _Waiting("the connection"))
            link.add_rider()
            return link

    @asynccontextmanager
    async def _looking_at(self, plan: Plan) -> AsyncIterator[_Target]:
        target = self._targets.setdefault(plan.key, _Target())
        target.users += 1
        try:
            yield target
        finally:
            target.users -= 1
            self._forget_unused(plan, target)

    def _forget_unused(self, plan: Plan, target: _Target) -> None:
        if not target.users and not target.links:
            self._targets.pop(plan.key, None)

    async def _open(
        self, target: _Target, plan: Plan, make: MakeSession, timeout: float, waiting: _Waiting
    ) -> LinkSession:
        replaced = False
        while True:
            link = target.free_link()
            if link is None:
                async with target.lock:  # one login at a time: the others share what comes of it
                    link = target.free_link()
                    if link is None:
                        return await self._open_cold(target, plan, make, waiting)
            try:
                return await self._open_warm(link, make, timeout * _STALE_PART)
            except _Full as exc:
                if not link.limit:
                    raise TransportError(f"{plan.where} opens no session: {exc}") from None
            except _Stale as exc:
                if replaced:
                    raise TransportError(f"the connection to {plan.where} broke: {exc}") from None
                replaced = True

    async def _open_cold(
        self, target: _Target, plan: Plan, make: MakeSession, waiting: _Waiting
    ) -> LinkSession:
        login = await self._log_in_with(plan, make, waiting)
        assert login.session is not None
        return login.session

    async def _open_warm(self, link: Link, make: MakeSession, patience: float) -> LinkSession:
        session = make(link)
        stale = link.silent_for > _STALE_SECONDS
        task = self.bridge.spawn(session.start())
        try:
            with trio.move_on_after(patience if stale else float("inf")) as scope:
                await self.bridge.wait(task)
                return session
        except trio.Cancelled:
            self.bridge.finish_soon(self._abandon, task, session)
            raise
        except (asyncssh.Error, OSError) as exc:
            self._refused(link, session, exc)
        assert scope.cancelled_caught
        link.close()
        link.release(session)
        if session.begun:
            raise TransportError(f"{link.name} did not say whether it has started the command")
        raise _Stale("it does not answer any more")

    def _refused(self, link: Link, session: LinkSession, exc: Exception) -> None:
        """A kept connection did not open a session: raise what that means."""
        link.release(session)
        if session.begun:
            if isinstance(exc, asyncssh.ChannelOpenError) and link.alive:
                raise TransportError(f"{link.name} does not run commands: {exc}") from None
            raise TransportError(f"{link.name} was lost while the command was sent: {exc}")
        if link.alive and isinstance(exc, asyncssh.ChannelOpenError):
            link.limit = len(link.sessions)
            raise _Full(str(exc))
        link.close()
        raise _Stale(str(exc))

    async def _abandon(self, task: Any, session: LinkSession) -> None:
        """Close a session whose opener has gone, and kill what it has started by then."""
        with trio.move_on_after(_ABANDON_SECONDS) as scope:
            try:
                await self.bridge.wait(task)
            except (asyncssh.Error, OSError):
                session.link.release(session)
                return
        if scope.cancelled_caught:
            # It neither opens nor refuses the session: no use for anybody.
            self.bridge.cancel(task)
            session.link.close()
            session.link.release(session)
        else:
            await session.kill()

    # -- logging in ---------------------------------------------------------------------

    async def _log_in(self, plan: Plan, make: MakeSession | None, waiting: _Waiting) -> Link:
        login = await self._log_in_with(plan, make, waiting)
        assert login.link is not None
        return login.link

    async def _log_in_with(self, plan: Plan, make: MakeSession | None, waiting: _Waiting) -> Login:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._attempt(plan, make, waiting)
            except Dropped as exc:
                waiting.note(exc.reason)
            except OSError as exc:
                if exc.errno not in _NO_DESCRIPTORS:
                    raise TransportError(f"can't connect to {plan.where}: {_said(exc)}") from None
                waiting.note("there is no free file descriptor here")
                if not self._close_idle(8):
                    await trio.sleep(_FIRST_PAUSE_SECONDS)
                continue
            await trio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _attempt(self, plan: Plan, make: MakeSession | None, waiting: _Waiting) -> Login:
        client = Client(plan, self._password, self.bridge)
        waiting.client = client
        try:
            offer = await self._agents.offer(plan)
        except ValueError as exc:
            raise TransportError(str(exc)) from None
        if plan.via is not None:
            return await self._attempt_over(plan.via, plan, client, offer, make, waiting)
        if plan.proxy_command is not None:
            program = await ProxyProgram.start(plan.proxy_command)
            transport = SocketTransport(self.bridge, program.socket)
            self.bridge.nursery.start_soon(program.mind, transport.closed)
            sock = program.socket
        else:
            sock = await connect_tcp(
                self._names, plan.host, plan.port, plan.family, plan.bind_address
            )
            transport = SocketTransport(self.bridge, sock)
        login = Login(plan, client, offer, self._adder(plan, None), make)
        await self._finish(login, login.over_socket(sock, transport))
        return login

    async def _attempt_over(
        self,
        jump: Plan,
        plan: Plan,
        client: Client,
        offer: Offer,
        make: MakeSession | None,
        waiting: _Waiting,
    ) -> Login:
        via = await self.lend(jump, waiting)
        waiting.client = client
        try:
            login = Login(plan, client, offer, self._adder(plan, via), make)
            await self._finish(login, login.over_link(via))
        except BaseException:  # whatever it was, the link that would have held it is not there
            via.drop_rider()
            raise
        return login

    def _adder(self, plan: Plan, via: Link | None) -> Callable[[Any, Any], Link]:
        def add(connection: Any, transport: SocketTransport | None) -> Link:
            link = Link(self, plan, connection, transport)
            link.via = via
            self._targets.setdefault(plan.key, _Target()).links.append(link)
            self.note_idle(link)
            return link

        return add

    async def _finish(self, login: Login, coroutine: Any) -> None:
        task = self.bridge.spawn(coroutine)
        try:
            await self.bridge.wait(task)
        except trio.Cancelled:
            session, link = login.session, login.link
            if session is not None and session.begun:
                self.bridge.finish_soon(self._abandon, task, session)
            else:
                self.bridge.cancel(task)
                if session is not None and link is not None:
                    link.release(session)
                if link is not None and not link.busy:
                    link.close()
            raise
        except Exception as exc:
            if login.link is not None:
                if login.session is not None:
                    login.link.release(login.session)
                login.link.close()
            raise login.describe(exc) from exc

    # -- keeping and closing ------------------------------------------------------------

    def note_busy(self, link: Link) -> None:
        """Somebody uses a link from now on."""
        self._idle.pop(link, None)

    def note_idle(self, link: Link) -> None:
        """Nobody uses a link any more: it is kept for a while."""
        if link.alive:
            self._idle[link] = None
            if len(self._idle) > self._most_idle:
                next(iter(self._idle)).close()

    def drop(self, link: Link) -> None:
        """A link has been closed."""
        self._idle.pop(link, None)
        target = self._targets.get(link.plan.key)
        if target is not None and link in target.links:
            target.links.remove(link)
            self._forget_unused(link.plan, target)
            if link.via is not None:
                link.via.drop_rider()

    def _close_idle(self, number: int) -> int:
        links = list(self._idle)[:number]
        for link in links:
            link.close()
        return len(links)

    async def _keep(self) -> None:
        """Look after the links: guards, silence, and those that are idle or dead."""
        while True:
            await trio.sleep(_TICK_SECONDS)
            now = trio.current_time()
            for target in list(self._targets.values()):
                for link in list(target.links):
                    if not link.alive and not link.busy:
                        self.drop(link)
                    elif link.busy:
                        link.tick()
                    elif now - link.idle_since > _IDLE_SECONDS:
                        link.close()

    async def close(self) -> None:
        """Close every connection, once what was left to us is done. Never raises; bounded."""
        with trio.move_on_after(_CLOSE_SECONDS):
            await self.bridge.wait_finished()
        for target in list(self._targets.values()):
            for link in list(target.links):
                link.close()
        await self._agents.close()


class _Waiting:
    """What is being waited for at the moment, for the message when the time is up."""

    def __init__(self, what: str) -> None:
        self.client: Client | None = None
        self._what = what
        self._note = ""

    def note(self, note: str) -> None:
        self._note = note

    def __str__(self) -> str:
        what = self._what if self.client is None else self.client.phase
        return f"{self._note}, tried again and again" if self._note else f"waiting for {what}"


def _said(exc: OSError) -> str:
    return exc.strerror or str(exc)
