"""A transport whose nodes are scripts: for tests, in virtual time, without a process."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import trio

from trioshell._errors import SpawnError, TransportError
from trioshell.testing._script import Script
from trioshell.testing._simulated_session import SessionRecord, Setting, SimulatedSession
from trioshell.transports._base import Command, Copy, Job, Session, Transport

# One script for all, one for each node (or node set), or a function of node and command.
Scripts: TypeAlias = Script | Mapping[str, Script] | Callable[[Hashable, Command | Copy], Script]


@dataclass(frozen=True, slots=True)
class SimulatedStatistics:
    """How many sessions a `SimulatedTransport` has and had.

    Attributes:
        opening: calls of ``open`` that have not returned yet.
        open: sessions that are open now.
        peak: the most that `opening` and `open` together have been.
        opened: sessions that have been opened so far.
        closed: those of them that have been closed again.
        failed: calls of ``open`` that raised, cancelled ones included.
    """

    opening: int
    open: int
    peak: int
    opened: int
    closed: int
    failed: int


class SimulatedTransport(Transport):
    """Nodes that do what a script says, to the instant, with no process and no network.

    Meant for `simulate`, where time is virtual and costs nothing: 100 000 nodes that run
    for hours are over in seconds. It works on the real clock as well. What it keeps of the
    real thing: a pipe holds `pipe_bytes`, and who writes into a full one waits, so that a
    slow reader delays what follows in the script; SIGTERM is followed by SIGKILL after the
    grace; output held open after the exit is waited for no longer than `drain`.

    Args:
        scripts: a `Script` for every node; or a mapping from names or node sets
            ("tiger[1-30]") to scripts, where a later entry wins over an earlier one
            and a node that is missing gets ``Script()``; or a function that is called
            with the node and its command for each session, and returns the script.
        pipe_bytes: what each of stdin, stdout and stderr holds; at least 1.
        drain: seconds after an exit for which output that is still held open is waited
            for; 0 or more.
        record: False keeps no record of each session, for long runs and measurements.

    Raises:
        ValueError: or `TypeError`, naming the argument: it is none of these.
    """

    def __init__(
        self,
        scripts: Scripts | None = None,
        *,
        pipe_bytes: int = 65536,
        drain: float = 0.25,
        record: bool = True,
    ) -> None:
        if pipe_bytes < 1:
            raise ValueError(f"pipe_bytes: at least 1, not {pipe_bytes!r}")
        if not drain >= 0:
            raise ValueError(f"drain: seconds, 0 or more, not {drain!r}")
        self._script_of = _by_node(Script() if scripts is None else scripts)
        self._setting = Setting(
            pipe_bytes=pipe_bytes,
            drain=drain,
            keep_stdin=record,
            list_processes=self._list_processes,
            on_exit=self._exited,
            on_close=self._closed,
        )
        self._record = record
        # In the order of opening. Invariant: one entry for each call of `open`; that of
        # an open session is the session itself, so that its record is made when asked for.
        self._records: list[SessionRecord | SimulatedSession] = []
        self._sessions: dict[SimulatedSession, None] = {}
        self._background: list[tuple[Hashable, Command | Copy, float]] = []
        self._opening = self._peak = self._opened = self._closed_count = self._failed = 0

    def check(self, job: Job) -> None:
        """Accepts whatever there is: a node that no script names runs ``Script()``."""

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        """Open the simulated way to `node`, as its script says.

        Raises:
            TransportError: the script says `unreachable`.
            SpawnError: the script says `not_started`.
            TypeError: the function given as `scripts` returned something else.
        """
        script = self._script_of(node, job.work)
        if not isinstance(script, Script):
            raise TypeError(f"scripts: a Script is accepted, not {script!r}, for node {node!r}")
        opened_at = trio.current_time()
        place = len(self._records)
        if self._record:
            self._records.append(SessionRecord(node, opened_at))
        self._opening += 1
        self._peak = max(self._peak, self._opening + len(self._sessions))
        error: str | None = "cancelled"
        try:
            if script.connect:
                await trio.sleep_until(opened_at + script.connect)
            else:
                await trio.lowlevel.checkpoint()
            error = script.not_started if script.unreachable is None else script.unreachable
            if script.unreachable is not None:
                raise TransportError(script.unreachable)
            if script.not_started is not None:
                raise SpawnError(script.not_started)
        finally:
            self._opening -= 1
            if error is not None:
                self._failed += 1
                if self._record:
                    self._records[place] = SessionRecord(node, opened_at, error=error)
        session = SimulatedSession(self._setting, script, job, node, opened_at)
        session.place = place
        self._opened += 1
        self._sessions[session] = None
        if self._record:
            self._records[place] = session
        return session

    def statistics(self) -> SimulatedStatistics:
        """How many sessions there are and were, as of now."""
        return SimulatedStatistics(
            opening=self._opening,
            open=len(self._sessions),
            peak=self._peak,
            opened=self._opened,
            closed=self._closed_count,
            failed=self._failed,
        )

    def records(self, node: Hashable | None = None) -> tuple[SessionRecord, ...]:
        """What became of each session, in the order in which they were opened.

        With `node`, of that node's sessions only; that looks at all of them, so make a
        dictionary of the whole if you ask for many. Empty with ``record=False``.
        """
        return tuple(
            entry.record() if isinstance(entry, SimulatedSession) else entry
            for entry in self._records
            if node is None or entry.node == node
        )

    def running(self, node: Hashable) -> tuple[Command | Copy, ...]:
        """The commands that run on `node` now, and those with something left in the background."""
        now = trio.current_time()
        self._background = [left for left in self._background if left[2] > now]
        return (
            *(s.job.work for s in list(self._sessions) if s.node == node and s.runs(now)),
            *(work for name, work, _ in self._background if name == node),
        )

    def _list_processes(self, node: Hashable) -> bytes:
        lines = [" ".join(w) if isinstance(w, tuple) else str(w) for w in self.running(node)]
        return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")

    def _exited(self, session: SimulatedSession, when: float) -> None:
        until = when + session.script.holds_output
        if until > when:
            self._background.append((session.node, session.job.work, until))

    def _closed(self, session: SimulatedSession) -> None:
        del self._sessions[session]
        self._closed_count += 1
        if self._record:
            self._records[session.place] = session.record()


def _by_node(scripts: Scripts) -> Callable[[Hashable, Command | Copy], Script]:
    """`scripts` as a function of node and command."""
    if isinstance(scripts, Script):
        return lambda _node, _command: scripts
    if callable(scripts):
        return scripts
    if not isinstance(scripts, Mapping):
        raise TypeError(
            f"scripts: a Script, a mapping from nodes to Scripts or a function is accepted, "
            f"not {scripts!r}"
        )
    named: dict[Hashable, Script] = {}
    for nodes, script in scripts.items():
        if not isinstance(script, Script):
            raise TypeError(f"scripts: a Script is accepted, not {script!r}, for node {nodes!r}")
        for node in _expand(nodes):
            named[node] = script
    default = Script()
    return lambda node, _command: named.get(node, default)


def _expand(nodes: str) -> list[str]:
    """The names that `nodes` stands for; a plain name without the cost of parsing it."""
    if nodes.replace("-", "").replace(".", "").replace("_", "").isalnum():
        return [nodes]
    from ClusterShell.NodeSet import NodeSet, NodeSetException

    try:
        return list(NodeSet(nodes))
    except NodeSetException as error:
        raise ValueError(f"scripts: {nodes!r} is not a node set: {error}") from error
