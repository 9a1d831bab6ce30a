"""The SSH server of the cluster's nodes: who may log in, and what a connection may ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

import asyncssh

from trioshell.testing._cluster_faults import (
    ChangedHostKey,
    HangsInAuth,
    HangsInChannel,
    RefusesKey,
)
from trioshell.testing._cluster_node import ClusterNode
from trioshell.testing._cluster_processes import Processes
from trioshell.testing._cluster_session import NodeSession
from trioshell.testing._cluster_wire import Wire


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What is the same for all nodes.

    Attributes:
        client_key: the one key that may log in, under any user name.
        password: what may log in as well, by password or keyboard-interactive; None: nothing.
        max_sessions: sessions at once on one connection, as sshd's MaxSessions.
        processes: where sessions book their processes.
        is_own_port: tells the ports that a client may be forwarded to (as a jump host does).
    """

    client_key: asyncssh.SSHKey
    password: str | None
    max_sessions: int
    processes: Processes
    is_own_port: Callable[[int], bool]


class NodeServer:
    """Makes the protocol objects of one node's connections.

    Args:
        node: the node.
        key: its host key.
        other_key: what it presents while it has the fault `ChangedHostKey`.
    """

    def __init__(
        self,
        node: ClusterNode,
        settings: ServerSettings,
        key: asyncssh.SSHKey,
        other_key: asyncssh.SSHKey,
    ) -> None:
        self._node = node
        self._settings = settings
        self._options = self._make_options(key)
        self._changed_options = self._make_options(other_key)

    def connect(self) -> asyncio.Protocol:
        """The protocol object for a connection that is to be served."""
        changed = self._node.fault(ChangedHostKey) is not None
        options = self._changed_options if changed else self._options
        # asyncssh's connections are protocol objects in all but their declared base.
        return cast(asyncio.Protocol, _Connection(asyncio.get_running_loop(), options))

    def _make_options(self, key: asyncssh.SSHKey) -> asyncssh.SSHServerConnectionOptions:
        return asyncssh.SSHServerConnectionOptions(
            server_factory=lambda: _Server(self._node, self._settings),
            server_host_keys=[key],
            encoding=None,
            line_editor=False,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
        )


class _Connection(asyncssh.SSHServerConnection):
    async def reload_config(self) -> None:
        """No option depends on who logs in; the original would ask a thread to find out."""


class _Server(asyncssh.SSHServer):
    def __init__(self, node: ClusterNode, settings: ServerSettings) -> None:
        self._node = node
        self._settings = settings
        self._sessions = 0
        self._hanging: list[asyncio.Future[Any]] = []

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._wire: Wire = conn.get_extra_info("wire")

    def connection_lost(self, exc: Exception | None) -> None:
        for future in self._hanging:
            future.cancel()

    def begin_auth(self, username: str) -> bool | Coroutine[Any, Any, bool]:
        return self._never() if self._node.fault(HangsInAuth) is not None else True

    def auth_completed(self) -> None:
        self._node.count(logins=1)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key == self._settings.client_key and not self._refuses

    def password_auth_supported(self) -> bool:
        return self._settings.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        return password == self._settings.password and not self._refuses

    def session_requested(self) -> NodeSession | Coroutine[Any, Any, NodeSession]:
        hang = self._node.fault(HangsInChannel)
        if hang is not None and hang.at == "open":
            return self._never()
        if self._sessions >= self._settings.max_sessions:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")
        self._sessions += 1
        return NodeSession(self._node, self._wire, self._settings.processes, self._session_ended)

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        # As a jump host a node leads to the other nodes, and to nothing else.
        return dest_host == "127.0.0.1" and self._settings.is_own_port(dest_port)

    async def _never(self) -> Any:
        """Wait until the connection is lost."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._hanging.append(future)
        await future

    def _session_ended(self) -> None:
        self._sessions -= 1

    @property
    def _refuses(self) -> bool:
        return self._node.fault(RefusesKey) is not None
