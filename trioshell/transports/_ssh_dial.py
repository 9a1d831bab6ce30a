"""Getting to a target and logging in, as often as it takes: what goes wrong, and what it means."""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import trio

from trioshell._errors import TransportError
from trioshell.transports._ssh_agent import Agents
from trioshell.transports._ssh_bridge import Bridge
from trioshell.transports._ssh_client import AnotherHostKey, Client, Password
from trioshell.transports._ssh_connect import ProxyProgram, connect_tcp
from trioshell.transports._ssh_link import Link
from trioshell.transports._ssh_link_session import LinkSession
from trioshell.transports._ssh_login import Dropped, Login
from trioshell.transports._ssh_names import Names
from trioshell.transports._ssh_opening import abandon
from trioshell.transports._ssh_plan import Plan
from trioshell.transports._ssh_socket import SocketTransport

# A server that drops connections before the login is tried again after this, doubled each
# time, more or less: all who were dropped must not come back at once.
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 2.0

_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)

# So many idle connections give way when descriptors run out.
_GIVE_WAY: Final = 8

MakeSession: TypeAlias = Callable[[Link], LinkSession]


class Waiting:
    """What is being waited for at the moment, for the message when the time is up."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self._note = ""

    def note(self, note: str) -> None:
        """Remember what went wrong, and is tried again."""
        self._note = note

    def __str__(self) -> str:
        if self._note:
            return f"{self._note}, tried again and again"
        return f"waiting for {self.client.phase if self.client else 'the connection'}"


class Dialer:
    """Opens connections for a pool.

    Args:
        bridge: running.
        password: what to answer a server that asks for one.
        make_link: makes the link of a connection that is logged in, and takes it up.
        lend: the link of a jump host, with one rider more.
        close_idle: closes up to so many connections that nobody uses; returns how many.
    """

    def __init__(
        self,
        bridge: Bridge,
        password: Password,
        make_link: Callable[[Plan, Link | None, Any, SocketTransport | None], Link],
        lend: Callable[[Plan, Waiting], Awaitable[Link]],
        close_idle: Callable[[int], int],
    ) -> None:
        self._bridge = bridge
        self._password = password
        self._make_link = make_link
        self._lend = lend
        self._close_idle = close_idle
        self._agents = Agents(bridge, password)
        self._names = Names()

    async def log_in(self, plan: Plan, make: MakeSession | None, waiting: Waiting) -> Login:
        """Log in, and open a session if there is something to make it with.

        A server that drops us before the login, as sshd does when too many log in, is tried
        again until we are cancelled.

        Raises:
            TransportError: it can't be reached, or refuses us.
        Cancelled, the connection is closed. A session that may have started something by then
        is left to `abandon`.
        """
        pause = _FIRST_PAUSE_SECONDS
        types: tuple[str, ...] = ()
        while True:
            try:
                return await self._attempt(plan, make, waiting, types)
            except AnotherHostKey as exc:
                if types:
                    raise
                types = exc.types
                continue
            except Dropped as exc:
                waiting.note(exc.reason)
            except OSError as exc:
                if exc.errno not in _NO_DESCRIPTORS:
                    said = exc.strerror or str(exc)
                    raise TransportError(f"can't connect to {plan.where}: {said}") from None
                waiting.note("there is no free file descriptor here")
                if not self._close_idle(_GIVE_WAY):
                    await trio.sleep(_FIRST_PAUSE_SECONDS)
                continue
            await trio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _attempt(
        self, plan: Plan, make: MakeSession | None, waiting: Waiting, types: tuple[str, ...]
    ) -> Login:
        client = Client(plan, self._password, self._bridge, types)
        try:
            offer = await self._agents.offer(plan)
        except ValueError as exc:
            raise TransportError(str(exc)) from None
        via = None if plan.via is None else await self._lend(plan.via, waiting)
        waiting.client = client

        def make_link(connection: Any, transport: SocketTransport | None) -> Link:
            return self._make_link(plan, via, connection, transport)

        login = Login(plan, client, offer, make_link, make)
        try:
            if via is not None:
                await self._finish(login, login.over_link(via))
            else:
                transport = await self._connect(plan)
                await self._finish(login, login.over_socket(transport))
        except BaseException:  # whatever it was, there is no link that would let go of the other
            if via is not None and login.link is None:
                via.drop_rider()
            raise
        return login

    async def _connect(self, plan: Plan) -> SocketTransport:
        if plan.proxy_command is None:
            return SocketTransport(
                self._bridge,
                await connect_tcp(
                    self._names, plan.host, plan.port, plan.family, plan.bind_address
                ),
            )
        program = await ProxyProgram.start(plan.proxy_command)
        transport = SocketTransport(self._bridge, program.socket)
        self._bridge.nursery.start_soon(program.mind, transport.closed)
        return transport

    async def _finish(self, login: Login, coroutine: Any) -> None:
        task = self._bridge.spawn(coroutine)
        try:
            await self._bridge.wait(task)
        except trio.Cancelled:
            if login.session is not None and login.session.begun:
                self._bridge.finish_soon(abandon, self._bridge, task, login.session)
            else:
                self._bridge.cancel(task)
                login.undo()
            raise
        except Exception as exc:
            login.undo()
            raise login.describe(exc) from exc

    async def close(self) -> None:
        """Let go of the agents. Never raises."""
        await self._agents.close()
