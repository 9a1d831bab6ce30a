"""What runs in the embedded cluster's thread: the start and the end of all its servers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trioshell.testing._cluster_faults import Fault
from trioshell.testing._cluster_files import ClusterFiles
from trioshell.testing._cluster_listener import Listener
from trioshell.testing._cluster_node import ClusterNode
from trioshell.testing._cluster_processes import Processes
from trioshell.testing._cluster_thread import LoopThread

if TYPE_CHECKING:
    import asyncssh

_KILL_TIMEOUT = 5.0
_CLOSE_TIMEOUT = 2.0


class ClusterHost(LoopThread):
    """All servers of a cluster, in one thread.

    Args:
        names: the nodes' names.
        faults: the faults that nodes have from the start, by name.
        shared_host_key: False to give each node a host key of its own.
        password: what may log in beside the client key; None for nothing.
        max_sessions: sessions at once on one connection.

    `files`, `processes` and `nodes` are there once the thread is ready.
    """

    files: ClusterFiles
    processes: Processes

    def __init__(
        self,
        names: Sequence[str],
        *,
        faults: dict[str, tuple[Fault, ...]],
        shared_host_key: bool,
        password: str | None,
        max_sessions: int,
    ) -> None:
        super().__init__("trioshell SshCluster")
        self.nodes: dict[str, ClusterNode] = {}
        # Called in the thread whenever a counter has changed. A set is copied in one step
        # of the interpreter, so other threads may add and discard.
        self.watchers: set[Callable[[], None]] = set()
        self._names = names
        self._faults = faults
        self._shared_host_key = shared_host_key
        self._password = password
        self._max_sessions = max_sessions
        self._directory: Path | None = None
        self._listeners: list[Listener] = []
        self._host_keys: dict[str, str] = {}
        self._problem: BaseException | None = None

    async def set_up(self) -> None:
        # Imported in the thread, so that the half second it takes holds up no Trio loop.
        import asyncssh

        asyncio.get_running_loop().set_exception_handler(self._on_problem)
        self._directory = Path(tempfile.mkdtemp(prefix="trioshell-cluster-"))
        self.files = ClusterFiles(self._directory)
        self.processes = Processes(self._directory / "bin")
        client_key = asyncssh.generate_private_key("ssh-ed25519")
        self._make_nodes(self._directory / "nodes", client_key.convert_to_public())
        self.files.write_identity(client_key.export_private_key("openssh"))
        self.files.write_config(self.nodes.values())
        await self._apply()

    def _make_nodes(self, roots: Path, client_key: asyncssh.SSHKey) -> None:
        import asyncssh

        from trioshell.testing._cluster_server import NodeServer, ServerSettings

        ports: set[int] = set()
        settings = ServerSettings(
            client_key=client_key,
            password=self._password,
            max_sessions=self._max_sessions,
            processes=self.processes,
            is_own_port=ports.__contains__,
        )
        key, other_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        for name in self._names:
            node = ClusterNode(name, roots / name, self._changed)
            node.set_faults(self._faults.get(name, ()))
            (node.root / "tmp").mkdir(parents=True)
            if not self._shared_host_key:
                key = asyncssh.generate_private_key("ssh-ed25519")
            self._host_keys[name] = key.export_public_key().decode().strip()
            self._listeners.append(
                Listener(node, NodeServer(node, settings, key, other_key).connect)
            )
            ports.add(node.port)
            self.nodes[name] = node

    async def set_faults(self, names: Iterable[str], faults: tuple[Fault, ...]) -> None:
        """Give the nodes these faults and no others; they hold when it returns."""
        for name in names:
            self.nodes[name].set_faults(faults)
        await self._apply()

    async def drop(self, names: Iterable[str]) -> None:
        """Cut all connections that the nodes have open."""
        for name in names:
            for wire in list(self.nodes[name].wires):
                wire.destroy()

    async def take_down(self) -> None:
        for listener in self._listeners:
            listener.close()
        for node in self.nodes.values():
            for wire in list(node.wires):
                wire.destroy()
        left = self.processes.kill_all(_KILL_TIMEOUT) if self._directory is not None else ()
        # What was killed is reaped, and what was cut is closed, by callbacks of this loop.
        changed = asyncio.Event()
        self.watchers.add(changed.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                while any(node.commands_now or node.wires for node in self.nodes.values()):
                    changed.clear()
                    await changed.wait()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        if left:
            raise RuntimeError(f"processes of the cluster could not be killed: {left}")
        if self._problem is not None:
            raise RuntimeError("the cluster's server has failed") from self._problem

    async def _apply(self) -> None:
        for listener in self._listeners:
            await listener.update()
        self.files.write_known_hosts(
            (node, self._host_keys[name]) for name, node in self.nodes.items()
        )

    def _changed(self) -> None:
        for watcher in self.watchers.copy():
            watcher()

    def _on_problem(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if self._problem is None:
            self._problem = context.get("exception") or RuntimeError(context.get("message"))
