"""The faults that a node of the embedded SSH cluster can be told to have, as data.

Each is a small frozen record, given to ``SshCluster(..., faults={"node3": SaysNothing()})`` or,
while it runs, to ``cluster.fault("node3", SaysNothing())``. A node has any number of them;
`cluster.heal` takes them away. What a fault needs to know when it strikes is looked up at
that moment, so it holds for new connections and, where that has a meaning, for open ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class Fault:
    """Base of all faults."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class NobodyListens(Fault):
    """The node's port is closed: a connection is refused. Open connections stay."""


@dataclass(frozen=True, slots=True)
class SaysNothing(Fault):
    """The node accepts a connection and never says a word."""


@dataclass(frozen=True, slots=True)
class SpeaksGarbage(Fault):
    """The node answers with `data` in place of an SSH banner, and waits.

    With `endless` it goes on sending `data` as fast as the client takes it.
    """

    data: bytes = b"220 mail.example ESMTP; this is no SSH server\r\n"
    endless: bool = False


@dataclass(frozen=True, slots=True)
class HangsInKex(Fault):
    """The node sends its banner, and nothing in the key exchange that has to follow."""


@dataclass(frozen=True, slots=True)
class HangsInAuth(Fault):
    """The node exchanges keys, and never answers a request to authenticate."""


@dataclass(frozen=True, slots=True)
class HangsInChannel(Fault):
    """The node lets the client in, and never answers its request for a session.

    ``at="open"``: the channel is never opened; ``at="exec"``: it is, but the request to run
    the command is never answered, and the command not run.
    """

    at: Literal["open", "exec"] = "open"


@dataclass(frozen=True, slots=True)
class RefusesKey(Fault):
    """The node accepts no key and no password."""


@dataclass(frozen=True, slots=True)
class DropsBeforeAuth(Fault):
    """The node drops new connections as sshd does beyond its MaxStartups.

    The first `times` connections are dropped (None: each one), later ones are served.
    """

    times: int | None = None
    message: bytes = b"Exceeded MaxStartups\r\n"


@dataclass(frozen=True, slots=True)
class DropsInOutput(Fault):
    """The node closes the connection once a command has sent `after_bytes` of output."""

    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class GoesSilent(Fault):
    """Nothing comes from the node any more and it hears nothing, as with a cut cable.

    The TCP connection stays open. It holds at once, for open connections too; with
    `after_bytes` only once a command has sent so much output. Healed, the node goes on
    where it stopped, and loses nothing.
    """

    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Floods(Fault):
    """Any command's output is `line`, for ever and as fast as the client takes it."""

    line: bytes = b"the same line again and again\n"


@dataclass(frozen=True, slots=True)
class NeverCloses(Fault):
    """Once a command's exit was reported, the node neither closes the channel nor answers."""


@dataclass(frozen=True, slots=True)
class ChangedHostKey(Fault):
    """The node presents another host key than the one in the cluster's known_hosts."""


@dataclass(frozen=True, slots=True)
class UnknownHostKey(Fault):
    """The node's host key is not in the cluster's known_hosts."""


@dataclass(frozen=True, slots=True)
class RevokedHostKey(Fault):
    """The node's host key is marked as ``@revoked`` in the cluster's known_hosts."""
