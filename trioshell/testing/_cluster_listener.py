"""The port of one cluster node, which stays the node's own while nobody listens on it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from trioshell.testing._cluster_faults import NobodyListens
from trioshell.testing._cluster_node import ClusterNode
from trioshell.testing._cluster_wire import Wire

ADDRESS = "127.0.0.1"
_BACKLOG = 128


class Listener:
    """Accepts a node's connections, except while the node has the fault `NobodyListens`.

    Args:
        node: the node; it gets its port here.
        serve: makes the protocol object of a connection that speaks SSH.
    """

    def __init__(self, node: ClusterNode, serve: Callable[[], asyncio.Protocol]) -> None:
        self._node = node
        self._serve = serve
        self._server: asyncio.Server | None = None
        # Invariant: once the port is known, exactly one of the two holds it.
        self._reserved: socket.socket | None = _bind(0)
        node.port = self._reserved.getsockname()[1]

    async def update(self) -> None:
        """Listen, or do not, as the node's faults say."""
        listen = self._node.fault(NobodyListens) is None
        if listen and self._reserved is not None:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Wire(self._node, self._serve), sock=self._reserved, backlog=_BACKLOG
            )
            self._reserved = None
        elif not listen and self._server is not None:
            # The second socket takes the port before the first one lets it go.
            self._reserved = _bind(self._node.port)
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Give up the port."""
        if self._server is not None:
            self._server.close()
        if self._reserved is not None:
            self._reserved.close()
        self._server = self._reserved = None


def _bind(port: int) -> socket.socket:
    """A socket that holds `port` (0: a free one) without listening: connections are refused."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Lets two sockets of ours hold the port at once, for the change from one to the other.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((ADDRESS, port))
    except OSError:
        sock.close()
        raise
    return sock
