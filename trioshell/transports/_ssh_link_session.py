"""A session as the connection that it goes over sees it: something that holds a place on it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from trioshell.transports._base import Session
from trioshell.transports._ssh_channel import Channel

if TYPE_CHECKING:
    from trioshell.transports._ssh_link import Link


class LinkSession(Session):
    """A session over a link.

    Attributes:
        link: the connection that it goes over.
        channel: what it has opened there.
        group: the process group that leads its command, once that is known.
        ticks: counted by the link's keeper from when its command has started.
        watched: True while the link's guard knows the group.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.channel = Channel(link.bridge, link.wire)
        self.ticks = 0
        self.watched = False
        link.sessions.add(self)
        link.pool.note_busy(link)

    @property
    def begun(self) -> bool:
        """False as long as it certainly has started nothing there."""
        return self.channel.raw is not None

    @property
    def group(self) -> int | None:
        return None

    @property
    def running(self) -> bool:
        """True as long as something of the command may be going on there."""
        return self.exit is None

    def tick(self) -> None:
        """Called by the link's keeper now and then."""

    @abstractmethod
    async def start(self) -> None:
        """Open it over its link, for asyncio."""

    @abstractmethod
    async def kill(self) -> None:
        """End what it has started, as far as that can be done in two seconds; let go."""
