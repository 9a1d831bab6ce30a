"""What the embedded cluster's server knows of one node: faults, counters, open connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from trioshell.testing._cluster_faults import DropsBeforeAuth, Fault, GoesSilent

if TYPE_CHECKING:
    from trioshell.testing._cluster_wire import Wire

F = TypeVar("F", bound=Fault)


@dataclass(frozen=True, slots=True)
class NodeStatistics:
    """What a node of the cluster, or all of them together, has seen so far.

    Attributes:
        connections: TCP connections that it accepted.
        connections_now: those of them that are open now.
        logins: how often a client has authenticated itself.
        sessions: commands, shells and SFTP sessions that were started.
        commands_now: commands whose process has not ended.
    """

    connections: int = 0
    connections_now: int = 0
    logins: int = 0
    sessions: int = 0
    commands_now: int = 0

    def __add__(self, other: NodeStatistics) -> NodeStatistics:
        return NodeStatistics(
            self.connections + other.connections,
            self.connections_now + other.connections_now,
            self.logins + other.logins,
            self.sessions + other.sessions,
            self.commands_now + other.commands_now,
        )


class ClusterNode:
    """One node, as seen from the server's thread, which alone changes anything in here.

    Attributes:
        port: the loopback port that it is reached at.
        root: the directory that its commands start in and that SFTP sees as ``/``.
        wires: its open connections.
    """

    def __init__(self, name: str, root: Path, changed: Callable[[], None]) -> None:
        self.name = name
        self.root = root
        self.port = 0
        self.wires: set[Wire] = set()
        self.connections = self.logins = self.sessions = self.commands_now = 0
        self._changed = changed
        self._faults: tuple[Fault, ...] = ()
        self._drops_left: int | None = 0

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that it has now."""
        return self._faults

    def set_faults(self, faults: tuple[Fault, ...]) -> None:
        """Have these faults and no others, from now on and on open connections too."""
        self._faults = faults
        drops = self.fault(DropsBeforeAuth)
        self._drops_left = drops.times if drops is not None else 0
        for wire in self.wires:
            wire.set_silent(self.is_silent)

    def fault(self, kind: type[F]) -> F | None:
        """The fault of this kind, if the node has it."""
        return next((fault for fault in self._faults if isinstance(fault, kind)), None)

    @property
    def is_silent(self) -> bool:
        """True if nothing may pass on any of its connections."""
        silence = self.fault(GoesSilent)
        return silence is not None and silence.after_bytes == 0

    def take_drop(self) -> DropsBeforeAuth | None:
        """The fault that drops the connection just accepted, counted down; None to serve it."""
        drops = self.fault(DropsBeforeAuth)
        if drops is None or self._drops_left == 0:
            return None
        if self._drops_left is not None:
            self._drops_left -= 1
        return drops

    def count(
        self, *, connections: int = 0, logins: int = 0, sessions: int = 0, commands_now: int = 0
    ) -> None:
        """Add to the counters, and tell whoever waits for them."""
        self.connections += connections
        self.logins += logins
        self.sessions += sessions
        self.commands_now += commands_now
        self._changed()

    def opened(self, wire: Wire) -> None:
        """A connection was accepted."""
        self.wires.add(wire)
        self.count(connections=1)

    def closed(self, wire: Wire) -> None:
        """A connection is gone."""
        self.wires.discard(wire)
        self._changed()

    def statistics(self) -> NodeStatistics:
        """A snapshot of the counters; safe from any thread."""
        return NodeStatistics(
            self.connections, len(self.wires), self.logins, self.sessions, self.commands_now
        )
