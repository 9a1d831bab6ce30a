"""Workers with nodes: what they gathered, read by node and by node set."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from trioshell._arguments import check_command
from trioshell._message import Message
from trioshell._targets import resolve_targets
from trioshell._worker import SNAME_STDERR, SNAME_STDOUT, Worker
from trioshell.transports import Copy, Transport

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

T = TypeVar("T", bound=Hashable)


def check_match_keys(match_keys: object) -> Collection[Hashable] | None:
    """The keys to read, for quick look-up; None for all.

    Raises:
        TypeError: it is one string, which would be taken for a collection of letters.
    """
    if match_keys is None:
        return None
    if isinstance(match_keys, str | bytes) or not isinstance(match_keys, Iterable):
        raise TypeError(f"match_keys must be a collection of keys, not {match_keys!r}")
    return frozenset(match_keys)


def group(pairs: Iterable[tuple[Hashable, T]]) -> dict[T, list[Hashable]]:
    """From each value to its keys, both in the order of their first coming."""
    groups: dict[T, list[Hashable]] = {}
    for key, value in pairs:
        groups.setdefault(value, []).append(key)
    return groups


class DistantWorker(Worker):
    """A command, or a copy, on many nodes.

    Every node ends in exactly one outcome, see `results`. What is read here is there as soon
    as it has come in, while the worker still runs too. Groups come in the order of their first
    node; nodes are in node order.

    Args:
        nodes: a node set as a string, a `NodeSet`, or an iterable of names.
        handler: an `EventHandler` or any object with some of its methods.
        timeout: seconds each node's command may run; None for the Task's ``command_timeout``.
        work: the command, as `Task.shell` takes it, or what is to be copied.
        transport: the way to the nodes: a name or a `Transport`; None for the Task's.
        stderr: True to keep stderr apart, False to merge it into stdout; None as the Task
            has it.
        stdin: False to give the command an empty stdin.
        autoclose: True not to keep the Task open; the worker is aborted when all others
            are closed.
        fanout: how many of these nodes may run at once, inside the Task's own fanout.
        gather: False to keep no output: it is only told to the handler and to `events`.
        max_output_bytes, max_line_bytes: how much of a node's output, and of each of its lines,
            is kept and told; see `Task`. None as the Task has it, `math.inf` for no bound.

    Raises:
        ValueError: or TypeError; an argument is wrong. Nothing has been started.
    """

    def __init__(
        self,
        nodes: str | NodeSet | Iterable[str],
        handler: object = None,
        timeout: float | None = None,
        *,
        work: str | tuple[str, ...] | Copy,
        transport: str | Transport | None = None,
        stderr: bool | None = None,
        stdin: bool = True,
        autoclose: bool = False,
        fanout: int | None = None,
        gather: bool = True,
        max_output_bytes: float | None = None,
        max_line_bytes: float | None = None,
    ) -> None:
        targets = resolve_targets(nodes)
        super().__init__(
            handler,
            work=work,
            targets=targets,
            nodes=targets,
            timeout=timeout,
            stderr=stderr,
            stdin=stdin,
            autoclose=autoclose,
            transport=transport,
            fanout=fanout,
            gather=gather,
            max_output_bytes=max_output_bytes,
            max_line_bytes=max_line_bytes,
        )

    @property
    def nodes(self) -> NodeSet:
        """The worker's targets, as a `NodeSet` of your own."""
        nodes = self._job.nodes
        assert nodes is not None
        return nodes.copy()

    # -- output --------------------------------------------------------------------------

    def iter_buffers(
        self, match_keys: Iterable[str] | None = None
    ) -> Iterator[tuple[Message, NodeSet]]:
        """Each different output on stdout, with the nodes that wrote it.

        Nodes that wrote nothing are in no group.

        Args:
            match_keys: only these nodes.
        """
        return self._iter_groups(SNAME_STDOUT, match_keys)

    def iter_errors(
        self, match_keys: Iterable[str] | None = None
    ) -> Iterator[tuple[Message, NodeSet]]:
        """The same for stderr, where the worker keeps it apart."""
        return self._iter_groups(SNAME_STDERR, match_keys)

    def _iter_groups(
        self, sname: str, match_keys: Iterable[str] | None
    ) -> Iterator[tuple[Message, NodeSet]]:
        self._check_readable()
        keys = check_match_keys(match_keys)
        groups = group(self._books.messages(sname, keys))
        return ((message, self._fold(nodes)) for message, nodes in groups.items())

    def iter_node_buffers(
        self, match_keys: Iterable[str] | None = None
    ) -> Iterator[tuple[str, Message]]:
        """Each node that wrote to stdout, and what it wrote."""
        return self._iter_nodes(SNAME_STDOUT, match_keys)

    def iter_node_errors(
        self, match_keys: Iterable[str] | None = None
    ) -> Iterator[tuple[str, Message]]:
        """The same for stderr, where the worker keeps it apart."""
        return self._iter_nodes(SNAME_STDERR, match_keys)

    def _iter_nodes(
        self, sname: str, match_keys: Iterable[str] | None
    ) -> Iterator[tuple[str, Message]]:
        self._check_readable()
        keys = check_match_keys(match_keys)
        return ((str(node), message) for node, message in self._books.messages(sname, keys))

    def node_buffer(self, node: str) -> Message:
        """What the node has written to stdout; empty if nothing.

        Raises:
            KeyError: it is not of this worker.
        """
        return self.read(node, SNAME_STDOUT)

    def node_error(self, node: str) -> Message:
        """The same for stderr, where the worker keeps it apart."""
        return self.read(node, SNAME_STDERR)

    node_error_buffer = node_error

    # -- return codes ----------------------------------------------------------------------

    def iter_retcodes(
        self, match_keys: Iterable[str] | None = None
    ) -> Iterator[tuple[int, NodeSet]]:
        """Each return code, with the nodes that ended with it."""
        self._check_readable()
        groups = group(self._books.rcs(check_match_keys(match_keys)))
        return ((rc, self._fold(nodes)) for rc, nodes in groups.items())

    def iter_node_retcodes(self) -> Iterator[tuple[str, int]]:
        """Each node that has a return code, and which."""
        self._check_readable()
        return ((str(node), rc) for node, rc in self._books.rcs(None))

    def node_retcode(self, node: str) -> int:
        """The node's return code.

        Raises:
            KeyError: it has none (yet), or is not of this worker.
        """
        self._check_readable()
        outcome = self._books.outcome(node)
        if outcome is None or outcome.rc is None:
            raise KeyError(node)
        return outcome.rc

    node_rc = node_retcode

    def iter_keys_timeout(self) -> Iterator[str]:
        """Each node whose command ran longer than its timeout."""
        self._check_readable()
        return map(str, self._books.nodes_timed_out())

    def num_timeout(self) -> int:
        """How many nodes' commands ran longer than their timeout."""
        self._check_readable()
        return self._books.timed_out

    def _name_nodes(self, nodes: list[Hashable]) -> str:
        return str(self._fold(nodes))

    def _fold(self, nodes: list[Hashable]) -> NodeSet:
        if len(nodes) == len(self._books.targets):
            return self.nodes
        from ClusterShell.NodeSet import NodeSet  # not at start-up

        return NodeSet.fromlist([str(node) for node in nodes])

    # -- what ClusterShell has deprecated --------------------------------------------------

    def last_node(self) -> Hashable:
        """Deprecated: `current_node`."""
        self._warn("last_node", "current_node")
        return self.current_node

    def last_retcode(self) -> int | None:
        """Deprecated: `current_rc`."""
        self._warn("last_retcode", "current_rc")
        return self.current_rc


class ExecWorker(DistantWorker):
    """A command that runs here, once for each node. See `DistantWorker` and `ExecTransport`.

    Args:
        command: a shell command line, or an argument vector; see `Task.shell`.
        options: as `DistantWorker` has them, but for `transport`, which is fixed.
    """

    def __init__(
        self,
        nodes: str | NodeSet | Iterable[str],
        handler: object = None,
        timeout: float | None = None,
        *,
        command: str | Sequence[str],
        stderr: bool = False,
        **options: Any,
    ) -> None:
        work = check_command(command)
        super().__init__(
            nodes, handler, timeout, work=work, stderr=stderr, transport="exec", **options
        )
        self._check()


class SshWorker(DistantWorker):
    """A command on many nodes over SSH. See `DistantWorker` and `SshTransport`.

    Args:
        command: a shell command line, or an argument vector; see `Task.shell`.
        transport: ``"ssh"``, or an `SshTransport` with settings of your own.
        options: as `DistantWorker` has them.
    """

    def __init__(
        self,
        nodes: str | NodeSet | Iterable[str],
        handler: object = None,
        timeout: float | None = None,
        *,
        command: str | Sequence[str],
        stderr: bool = False,
        transport: str | Transport = "ssh",
        **options: Any,
    ) -> None:
        work = check_command(command)
        super().__init__(
            nodes, handler, timeout, work=work, stderr=stderr, transport=transport, **options
        )
        self._check()
