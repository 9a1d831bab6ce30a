"""`SshCluster`: real SSH servers with real commands on this machine, to try and to test with."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import trio

from trioshell._targets import resolve_targets
from trioshell.testing._cluster_faults import Fault
from trioshell.testing._cluster_host import ClusterHost
from trioshell.testing._cluster_node import NodeStatistics
from trioshell.testing._cluster_processes import ClusterProcess

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

    from trioshell.transports import OpenSshTransport, SshTransport

# Stands in an ssh config and is a directory's name, so it must mean nothing in either.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_LONGEST_LOOK_SECONDS = 0.02


class SshCluster:
    """A cluster of SSH servers inside this process, on loopback ports, for trying and testing.

    ::

        async with SshCluster(16) as cluster:
            await trioshell.run("hostname", nodes=cluster.nodes, transport=cluster.transport())

    Each node is an SSH server (asyncssh's) on a free port of 127.0.0.1, in a thread that all
    nodes share. It behaves as OpenSSH's sshd does: a command is a real process, run by
    ``/bin/sh -c`` as the user of this process and in a session of its own; its exit, or the
    signal that ended it, is reported when it happens, and the channel stays open for as long
    as somebody holds the output open; when the connection goes, the command's pipes are
    closed and it is not killed; a signal request goes to the command's process group. A
    command starts in the node's `root`, which is its ``$HOME`` as well; SFTP is served there
    and sees nothing outside it. In a command, ``hostname`` prints the node's name.

    Nothing of the user's own SSH set-up is read or changed: the cluster has a client key,
    host keys, known_hosts and an ssh config of its own, in a private temporary directory.

    When the block is left, or cancelled, all connections are cut, every process that a
    command has started is killed (SIGKILL; found by a variable in its environment, so one
    that cleared its environment is missed), the directory is removed and the thread joined.

    Args:
        nodes: how many nodes (``node[1-N]``), or a node set such as ``"web[1-4],db1"``.
            Names are of ASCII letters, digits, ``.``, ``_`` and ``-``.
        faults: faults that nodes have from the start, by node or node set; see `fault`.
        shared_host_key: False to give each node a host key of its own. One for all of them
            starts faster.
        password: lets any user log in by this password (or keyboard-interactive) as well; by
            default nothing but the cluster's client key does.
        max_sessions: how many sessions one connection may have open, as sshd's MaxSessions.

    Raises:
        ValueError: or `TypeError`, for an argument that cannot be.
    """

    def __init__(
        self,
        nodes: int | str | NodeSet = 4,
        *,
        faults: Mapping[str, Fault | Iterable[Fault]] | None = None,
        shared_host_key: bool = True,
        password: str | None = None,
        max_sessions: int = 10,
    ) -> None:
        self._nodes = _node_names(nodes)
        if isinstance(max_sessions, bool) or not isinstance(max_sessions, int):
            raise TypeError(f"max_sessions must be a whole number, not {max_sessions!r}")
        if max_sessions < 1:
            raise ValueError(f"max_sessions must be 1 or more, not {max_sessions!r}")
        initial: dict[str, tuple[Fault, ...]] = {}
        for names, given in (faults or {}).items():
            some = (given,) if isinstance(given, Fault) else tuple(given)
            for name in self._select(names):
                initial[name] = initial.get(name, ()) + _check_faults(some)
        self._host = ClusterHost(
            list(self._nodes),
            faults=initial,
            shared_host_key=shared_host_key,
            password=password,
            max_sessions=max_sessions,
        )

    # Its life.

    async def __aenter__(self) -> Self:
        try:
            await _told(self._host.begin)
        except trio.Cancelled:
            await self._take_down()
            raise
        self._raise_if_failed()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._take_down()

    def start(self) -> None:
        """Start it outside of Trio, for programs and tests without; blocks until it serves.

        To be ended by `stop`. A cluster is started once, by this or by ``async with``.
        """
        ready = threading.Event()
        self._host.begin(ready.set)
        ready.wait()
        self._raise_if_failed()

    def stop(self) -> None:
        """End what `start` has started; blocks until nothing of it is left. May be repeated."""
        ended = threading.Event()
        self._host.finish(ended.set)
        self._host.join()

    async def _take_down(self) -> None:
        # Shielded, because leaving nothing behind is the promise. Bounded, because the
        # thread gives up after some seconds on what it closes and kills.
        with trio.CancelScope(shield=True):
            await _told(self._host.finish)
        self._host.join()

    def _raise_if_failed(self) -> None:
        if self._host.failed:
            self._host.join()

    # How to reach it.

    @property
    def nodes(self) -> NodeSet:
        """All its nodes, as a node set of the caller's own."""
        return self._nodes.copy()

    @property
    def config_file(self) -> Path:
        """An ssh config (``ssh -F``) that leads from the nodes' names to their ports."""
        return self._host.files.config

    @property
    def known_hosts(self) -> Path:
        """The known_hosts file with the nodes' host keys."""
        return self._host.files.known_hosts

    @property
    def identity_file(self) -> Path:
        """The client's private key, which all nodes let in under any user name."""
        return self._host.files.identity

    def port(self, node: str) -> int:
        """The port of 127.0.0.1 that this node is reached at."""
        return self._host.nodes[self._one(node)].port

    def root(self, node: str) -> Path:
        """The directory that is home to this node's commands, and ``/`` to its SFTP server."""
        return self._host.nodes[self._one(node)].root

    def transport(self, **options: Any) -> SshTransport:
        """An `SshTransport` that reaches the cluster; `options` go to it as they are."""
        from trioshell.transports import SshTransport

        return SshTransport(**self._with_files(options))

    def openssh(self, **options: Any) -> OpenSshTransport:
        """An `OpenSshTransport` that reaches the cluster; `options` go to it as they are."""
        from trioshell.transports import OpenSshTransport

        return OpenSshTransport(**self._with_files(options))

    def _with_files(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"config": self.config_file, "known_hosts": self.known_hosts} | options

    # What it does to its clients.

    def fault(self, nodes: str | NodeSet, *faults: Fault) -> None:
        """Give the nodes these faults in place of those that they have; they hold on return.

        They hold for new connections and, where that has a meaning (`GoesSilent`,
        `DropsInOutput`), for open ones. Blocks for a moment.
        """
        names, given = self._select(nodes), _check_faults(faults)
        self._host.call(lambda: self._host.set_faults(names, given))

    def heal(self, nodes: str | NodeSet | None = None) -> None:
        """Take away all faults of the nodes (None: of all nodes). Blocks for a moment."""
        self.fault(self._nodes if nodes is None else nodes)

    def drop(self, nodes: str | NodeSet) -> None:
        """Cut all connections that the nodes have open, now. Blocks for a moment."""
        names = self._select(nodes)
        self._host.call(lambda: self._host.drop(names))

    # What one sees of it.

    def statistics(self, node: str | None = None) -> NodeStatistics:
        """What this node has seen so far, or (None) all of them together."""
        names = self._nodes if node is None else [self._one(node)]
        return sum((self._host.nodes[n].statistics() for n in names), NodeStatistics())

    def processes(self, node: str | None = None) -> tuple[ClusterProcess, ...]:
        """Every process that the commands of this node (None: of any) have left running.

        Children, grandchildren and daemons, whoever their parent is by now; by pid.
        """
        wanted = None if node is None else self._one(node)
        return tuple(p for p in self._host.processes.running() if wanted in (None, p.node))

    async def wait_until(
        self,
        condition: Callable[[NodeStatistics], bool],
        *,
        node: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        """Wait until `condition` is true of what `statistics` returns.

        Raises:
            trio.TooSlowError: it was not within `timeout` seconds.
        """
        changed = trio.Event()

        def note() -> None:
            nonlocal changed
            changed.set()
            changed = trio.Event()

        tell = _from_thread(note)
        with trio.fail_after(timeout):
            self._host.watchers.add(tell)
            try:
                while not condition(self.statistics(node)):
                    await changed.wait()
            finally:
                self._host.watchers.discard(tell)

    async def wait_quiet(self, node: str | None = None, *, timeout: float = 5.0) -> None:
        """Wait until no process of the node's (None: of any node's) commands is left.

        Raises:
            AssertionError: some were left after `timeout` seconds; it names them.
        """
        with trio.move_on_after(timeout):
            pause = 0.001
            while self.processes(node):
                # Nobody is told when a grandchild ends, so one has to look.
                await trio.sleep(pause)
                pause = min(2 * pause, _LONGEST_LOOK_SECONDS)
        if left := self.processes(node):
            raise AssertionError(f"still running on the cluster: {left}")

    # Which of its nodes are meant.

    def _select(self, nodes: str | NodeSet) -> list[str]:
        chosen = resolve_targets(nodes)
        if unknown := chosen - self._nodes:
            raise ValueError(f"nodes {unknown} are not of this cluster, which has {self._nodes}")
        return list(chosen)

    def _one(self, node: str) -> str:
        if node not in self._nodes:
            raise ValueError(f"node {node!r} is not of this cluster, which has {self._nodes}")
        return node


def _from_thread(function: Callable[[], object]) -> Callable[[], None]:
    """What another thread may call to have `function` called in this Trio loop, soon."""
    token = trio.lowlevel.current_trio_token()

    def call() -> None:
        try:
            token.run_sync_soon(function)
        except trio.RunFinishedError:  # nobody is there any more who wants to know
            pass

    return call


async def _told(begin: Callable[[Callable[[], None]], None]) -> None:
    """Call `begin` with a function that another thread is to call; wait until it does."""
    done = trio.Event()
    begin(_from_thread(done.set))
    await done.wait()


def _node_names(nodes: int | str | NodeSet) -> NodeSet:
    if isinstance(nodes, bool):
        raise TypeError(f"nodes must be a number or a node set, not {nodes!r}")
    if isinstance(nodes, int):
        if nodes < 1:
            raise ValueError(f"nodes must be 1 or more, not {nodes!r}")
        nodes = f"node[1-{nodes}]"
    names = resolve_targets(nodes)
    if not names:
        raise ValueError("nodes must name at least one node")
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"nodes has the name {name!r}; "
                "the cluster takes ASCII letters, digits, '.', '_' and '-' only"
            )
    return names


def _check_faults(faults: tuple[object, ...]) -> tuple[Fault, ...]:
    for fault in faults:
        if not isinstance(fault, Fault):
            raise TypeError(f"faults must be of trioshell.testing's faults, not {fault!r}")
    return tuple(fault for fault in faults if isinstance(fault, Fault))
