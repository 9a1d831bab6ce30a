"""One fault as data: what is run, what goes wrong, and what is to be seen of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from trioshell.testing import Fault

# Where it is tried. "sshd" is a real one, "ssh" the embedded cluster.
Place = Literal["local", "ssh", "sshd"]

# What happens to the commands while they run, beside what the node does of itself.
Action = Literal["", "abort", "cancel", "raise", "copy"]

# Who is tried: our transports (the last one is `openssh` with shared connections), and the peers.
OURS = ("exec", "ssh", "openssh", "openssh, shared")
PEERS = ("ClusterShell", "parallel-ssh")

# What parallel-ssh has no way to do; ClusterShell has no Task that could be cancelled.
CANNOT = {
    ("parallel-ssh", "abort"): "has no abort",
    ("parallel-ssh", "cancel"): "has no cancellation",
    ("parallel-ssh", "raise"): "has no handlers",
    ("parallel-ssh", "copy"): "has no abort",
    ("ClusterShell", "cancel"): "has no cancellation",
}


@dataclass(frozen=True)
class Case:
    """A fault, and how it is staged.

    Attributes:
        name: by which `--only` finds it.
        title: what the reader of the page sees.
        place: where it is tried.
        expected: the outcomes that ours may end in, by class name; empty where the program itself
            is killed, and nobody is left to tell.
        script: what each node runs, by ``sh -c``. It writes a line "on" if an action waits
            for it.
        argv: an argument vector instead of the script.
        faults: what the nodes of the embedded cluster do to their clients.
        action: what is done to the worker once each node has written a line.
        signal: the signal that the program gets once each node has `processes` of the command.
        server_signal: the signal that the real sshd's processes get then, and not the program.
        processes: how many processes each node's command consists of.
        timeout: of the command, in seconds.
        written: how many bytes of output each node has surely sent before the end.
        stdin: how many bytes are written to each command.
        pause: how many seconds the handler sleeps at each of the first ten lines of the program;
            nothing is gathered then.
        descriptors: the limit of open files of the program.
        nodes: on how many nodes at once, when told apart from what is asked for.
        node: a name to be used for the nodes instead of the cluster's.
        user: who logs in at a real sshd, "root" or "user".
        rounds: how many programs are run, one after the other.
        limit: after how many seconds a program that has not ended counts as hanging.
        may_leave: how many processes a node may keep; where a promise has its limit.
        settings: of our SSH transports, "keepalive" and the like.
    """

    name: str
    title: str
    place: Place
    expected: tuple[str, ...] = ("Exited",)
    script: str = "echo in"
    argv: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    action: Action = ""
    signal: str = ""
    server_signal: str = ""
    processes: int = 1
    timeout: float | None = None
    written: int = 0
    stdin: int = 0
    pause: float = 0.0
    descriptors: int = 0
    nodes: int = 0
    node: str = ""
    user: str = "root"
    rounds: int = 1
    limit: float = 9.0
    may_leave: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def ours(self) -> tuple[str, ...]:
        """The transports on which it makes sense."""
        return OURS[:1] if self.place == "local" else OURS[1:]

    def may_keep(self, tool: str) -> int:
        """How many processes a node may keep with this tool of ours."""
        # Without a shared connection there is nobody on the target who notices our death.
        return self.processes if tool == "openssh" and self.signal else self.may_leave

    @property
    def peers(self) -> tuple[str, ...]:
        """The peers that can reach the place at all."""
        return PEERS[:1] if self.place == "local" else PEERS

    def cannot(self, tool: str) -> str:
        """Why this tool is not tried, or ""."""
        return CANNOT.get((tool, self.action), "")


@dataclass(frozen=True)
class Plan:
    """What a program is told of a case: all that a tool needs, and JSON knows.

    Attributes:
        tool: who does it.
        command: the command line, or
        argv: the vector, which is the same command.
        nodes: the targets that have the fault.
        bystander: one that has none, which must not be disturbed; "" for none.
        ports: at which port of 127.0.0.1 each is reached, by name; empty for local commands.
        config, known_hosts, identity: the client's files.
        user: who logs in.
        source, dest: of a copy.
    """

    tool: str
    command: str
    argv: tuple[str, ...]
    nodes: tuple[str, ...]
    bystander: str
    action: Action = ""
    timeout: float | None = None
    stdin: int = 0
    pause: float = 0.0
    descriptors: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    config: str = ""
    known_hosts: str = ""
    identity: str = ""
    user: str = ""
    source: str = ""
    dest: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Seen:
    """What a program has seen of its plan, and has left in itself.

    Attributes:
        outcomes: how each node ended, in a few words ("Exited(0)", "rc 255", "timed out").
        reasons: what was said about it, by node.
        sizes: how many bytes of each node's output have arrived.
        seconds: from the start until all was over.
        bystander: "" if it was not disturbed, or what happened to it.
        grown_bytes: how much memory the program needed at the most, beyond what it had.
        left: descriptors, threads and child processes that were not there before, a second later.
        raised: what came out of it that was not planned.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    bystander: str = ""
    grown_bytes: int = 0
    left: dict[str, int] = field(default_factory=dict)
    raised: str = ""


CONNECT_SECONDS = 3.0
GRACE_SECONDS = 0.5
BYSTANDER = "sleep 0.2; head -c 999 /dev/zero | tr '\\0' x; echo"
BYSTANDER_BYTES = 1000
BYSTANDER_TIMEOUT = 5.0
# When a copy that takes many seconds is aborted.
COPY_SECONDS = 1.5
