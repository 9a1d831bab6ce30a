"""What is given to both libraries, and what each of them made of it: plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

# A node, and what happened to it in its order: its name, and what its method was told.
History: TypeAlias = dict[str, list[list[Any]]]


@dataclass(frozen=True)
class Work:
    """A worker. All bytes are text here, as latin-1, so that they can be sent as JSON.

    Attributes:
        command: a shell command line; empty for a copy.
        nodes: a node set; empty for a command that runs once, under `key`.
        stdin: None for an empty stdin; else what is written to it before the start.
        eof: whether the stdin is closed after that.
        copy: source, destination, whether from the nodes, whether preserving.
    """

    command: str = ""
    nodes: str = "n1"
    key: str = "here"
    timeout: float | None = None
    stderr: bool = False
    stdin: tuple[str, ...] | None = None
    eof: bool = True
    copy: tuple[str, str, bool, bool] | None = None


@dataclass(frozen=True)
class Reaction:
    """That a handler does something when it is told something, the first time only.

    Attributes:
        on: the name of the method, and the line or the node if only one is meant: `read last`,
            `hup n2`.
        do: `abort`, `abort task`, `write TEXT`, `eof`, `shell COMMAND` (on the node `new`),
            `look` (who is still alive of all that was started), `raise`.
    """

    on: str
    do: str


@dataclass(frozen=True)
class Case:
    """One Task, from its beginning to its end.

    Attributes:
        reactions: what the handler does, which is the same one for all workers.
        descriptors: the limit of open files; 0 for the one there is.
        ssh: a program to be run as ssh(1); empty to run everything here.
    """

    works: tuple[Work, ...]
    fanout: int = 64
    reactions: tuple[Reaction, ...] = ()
    descriptors: int = 0
    ssh: str = ""


def case(command: str = "", nodes: str = "n1", **options: Any) -> Case:
    """A Task with one worker; what a Case has goes to the case, the rest to the worker."""
    own = {name: options.pop(name) for name in Case.__dataclass_fields__ if name in options}
    return Case((Work(command, nodes, **options),), **own)


@dataclass(frozen=True)
class Seen:
    """What is left when a Task is over.

    Attributes:
        error: the type and the text of what came out of it; empty for nothing.
        workers: for each worker, what its own methods say.
        task: what the Task's methods say.
        events: for each worker, what was told of no node: `start` and `close`, in order.
        histories: for each worker, what was told of each node.
        alive: what `look` has found, command lines.
        survivors: what was still alive when all was over, command lines.
        cpu: seconds of CPU that the library itself has taken.
    """

    error: str
    workers: list[dict[str, Any]]
    task: dict[str, Any]
    events: list[list[list[Any]]]
    histories: list[History]
    alive: list[str]
    survivors: list[str]
    cpu: float

    def worker(self, name: str) -> Any:
        """What the first worker says."""
        return self.workers[0][name]

    def lines(self, node: str = "n1", sname: str = "stdout") -> list[str]:
        """Which lines the handler was told of that node of the first worker."""
        return [event[2] for event in self.told("read", node) if event[1] == sname]

    def told(self, name: str, node: str = "n1", worker: int = 0) -> list[Any]:
        """Whatever the handler was told by that method of that node."""
        histories = self.histories[worker : worker + 1]  # none, if it was refused
        return [event for one in histories for event in one.get(node, ()) if event[0] == name]


def gather_events(
    events: Iterable[tuple[int, str, str | None, tuple[Any, ...]]], workers: int
) -> tuple[list[list[list[Any]]], list[History]]:
    """Sort what was told by worker and by node; sizes of writes are added up."""
    own: list[list[list[Any]]] = [[] for _ in range(workers)]
    nodes: list[History] = [{} for _ in range(workers)]
    for number, name, node, rest in events:
        if node is None:
            own[number].append([name, *rest])
            continue
        history = nodes[number].setdefault(node, [])
        earlier = [one for one in history if one[0] == "written"]
        if name == "written" and earlier:
            earlier[0][2] += rest[1]  # how much a pipe takes at once is the kernel's business
        else:
            history.append([name, *rest])
    return own, nodes
