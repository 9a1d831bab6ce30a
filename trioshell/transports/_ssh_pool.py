"""The open SSH connections of a transport: opened when needed, shared, kept for a while."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from trioshell._errors import TransportError
from trioshell.transports._ssh_bridge import Bridge
from trioshell.transports._ssh_client import Password
from trioshell.transports._ssh_dial import Dialer, MakeSession, Waiting
from trioshell.transports._ssh_link import Link
from trioshell.transports._ssh_link_session import LinkSession
from trioshell.transports._ssh_opening import Full, Stale, open_on
from trioshell.transports._ssh_plan import Plan
from trioshell.transports._ssh_socket import SocketTransport

# How often the keeper looks at the links: a command that runs longer than one or two of
# these gets a guard that knows of it.
_TICK_SECONDS: Final = 0.25

# An idle connection is closed after so long, or when there are more of them than this (or
# than a quarter of the descriptors that we may have).
_IDLE_SECONDS: Final = 60.0
_MOST_IDLE: Final = 256

# This part of the connect timeout a connection that may be dead has to open a session, before
# a new one is tried.
_STALE_PART: Final = 1 / 3

# We give up a little before the engine does, to say what we were waiting for: this part of the
# time before, but no longer than so many seconds.
_HEAD_START_PART: Final = 0.1
_HEAD_START_SECONDS: Final = 0.25

# How long closing waits for commands whose opener was cancelled to be killed.
_CLOSE_SECONDS: Final = 1.5


@dataclass(eq=False)
class _Target:
    """The links to one target. `users` counts the tasks that are looking at it."""

    links: list[Link] = field(default_factory=list)
    lock: trio.Lock = field(default_factory=trio.Lock)
    users: int = 0


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
        self._dialer = Dialer(bridge, password, self._add, self.lend, self._close_idle)
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
        waiting = Waiting()
        target = self._enter(plan)
        try:
            with trio.move_on_after(timeout - min(timeout * _HEAD_START_PART, _HEAD_START_SECONDS)):
                return await self._open(target, plan, make, timeout, waiting)
        finally:
            self._leave(plan, target)
        raise TransportError(f"no answer from {plan.where} within {timeout:g} s: {waiting}")

    async def open_spare(self, plan: Plan) -> Link:
        """A further connection, on which nobody opens a session by himself."""
        login = await self._dialer.log_in(plan, None, Waiting())
        assert login.link is not None
        login.link.limit = 0
        login.link.add_rider()
        return login.link

    async def lend(self, plan: Plan, waiting: Waiting | None = None) -> Link:
        """A link that is alive, shared with all others; with one rider more."""
        target = self._enter(plan)
        try:
            async with target.lock:
                link = next((link for link in target.links if link.alive), None)
                if link is None:
                    login = await self._dialer.log_in(plan, None, waiting or Waiting())
                    link = login.link
                assert link is not None
                link.add_rider()
                return link
        finally:
            self._leave(plan, target)

    def _enter(self, plan: Plan) -> _Target:
        target = self._targets.setdefault(plan.key, _Target())
        target.users += 1
        return target

    def _leave(self, plan: Plan, target: _Target) -> None:
        target.users -= 1
        self._forget_unused(plan, target)

    def _forget_unused(self, plan: Plan, target: _Target) -> None:
        if not target.users and not target.links:
            self._targets.pop(plan.key, None)

    async def _open(
        self, target: _Target, plan: Plan, make: MakeSession, timeout: float, waiting: Waiting
    ) -> LinkSession:
        full: set[Link] = set()
        replaced = False
        while True:
            link = _free(target, full)
            if link is None:
                async with target.lock:  # one login at a time: the others share what comes of it
                    link = _free(target, full)
                    if link is None:
                        login = await self._dialer.log_in(plan, make, waiting)
                        assert login.session is not None
                        return login.session
            try:
                return await open_on(link, make, timeout * _STALE_PART)
            except Full:
                # A place that we have given back may not be free there yet, so at least one
                # will be asked for again, next time.
                link.limit = max(1, len(link.sessions))
                full.add(link)
            except Stale as exc:
                if replaced:
                    raise TransportError(f"the connection to {plan.where} broke: {exc}") from None
                replaced = True

    def _add(
        self, plan: Plan, via: Link | None, connection: Any, transport: SocketTransport | None
    ) -> Link:
        link = Link(self, plan, connection, transport)
        link.via = via
        self._targets.setdefault(plan.key, _Target()).links.append(link)
        self.note_idle(link)
        return link

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
        await self._dialer.close()


def _free(target: _Target, full: set[Link]) -> Link | None:
    return next((link for link in target.links if link.free and link not in full), None)
