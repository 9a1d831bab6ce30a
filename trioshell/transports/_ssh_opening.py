"""Opening a session on a connection that is there, and closing one whose opener has gone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

import asyncssh
import trio

from trioshell._errors import TransportError
from trioshell.transports._said import quoted
from trioshell.transports._ssh_bridge import Bridge
from trioshell.transports._ssh_link import Link
from trioshell.transports._ssh_link_session import LinkSession

# A connection on which nothing has been heard for so long may be dead without our knowing.
_STALE_SECONDS: Final = 5.0

# How long a session whose opener has gone may take to be open, so that it can be closed.
_ABANDON_SECONDS: Final = 1.0


class Stale(Exception):
    """The connection turned out to be dead, before it was given anything to run."""


class Full(Exception):
    """The server allows no further session on this connection."""


async def open_on(link: Link, make: Callable[[Link], LinkSession], patience: float) -> LinkSession:
    """Open a session on a link.

    Args:
        patience: the seconds that it may take if nothing has been heard on it for a while.

    Raises:
        Stale: it is dead, and closed now; nothing has been started.
        Full: the server allows no more sessions on it.
        TransportError: anything else; the command may have been started.
    Cancelled, the session is closed, and what it may have started is killed.
    """
    session = make(link)
    stale = link.silent_for > _STALE_SECONDS
    task = link.bridge.spawn(session.start())
    try:
        with trio.move_on_after(patience) if stale else nullcontext():
            await link.bridge.wait(task)
            return session
    except trio.Cancelled:
        link.bridge.finish_soon(abandon, link.bridge, task, session)
        raise
    except (asyncssh.Error, OSError) as exc:
        _refused(link, session, exc)
    # Our patience has come to its end.
    link.bridge.cancel(task)
    link.close()
    link.release(session)
    if session.begun:
        raise TransportError(f"{link.name} did not say whether it has started the command")
    raise Stale("it does not answer any more")


def _refused(link: Link, session: LinkSession, exc: Exception) -> None:
    """Raise what it means that a session could not be opened."""
    link.release(session)
    if session.begun:
        if isinstance(exc, asyncssh.ChannelOpenError) and link.alive:
            raise TransportError(f"{link.name} does not run commands: {quoted(exc)}") from None
        said = f"{link.name} was lost while the command was sent: {quoted(exc)}"
        raise TransportError(said) from None
    if link.alive and isinstance(exc, asyncssh.ChannelOpenError):
        raise Full(quoted(exc))
    link.close()
    raise Stale(quoted(exc))


async def abandon(bridge: Bridge, task: Any, session: LinkSession) -> None:
    """Close a session that is being opened and whose opener has gone, and kill its command."""
    with trio.move_on_after(_ABANDON_SECONDS) as scope:
        try:
            await bridge.wait(task)
        except (asyncssh.Error, OSError, TransportError):
            session.link.release(session)
            return
    if scope.cancelled_caught:
        # It neither opens nor refuses the session: no use for anybody.
        bridge.cancel(task)
        session.link.close()
        session.link.release(session)
    else:
        await session.kill()
