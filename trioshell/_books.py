"""The books of a worker: what is known of each node, written by the dispatcher alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from typing import TypeAlias

from trioshell._caps import Caps
from trioshell._gathering import Outputs, Shelf
from trioshell._lifecycle import (
    State,
    Step,
    WorkerState,
    WorkerStep,
    advance,
    advance_worker,
    finish,
)
from trioshell._message import Message
from trioshell._results import NodeResult, NotStarted, Outcome, TimedOut

# Which nodes are asked for; None for all.
Keys: TypeAlias = Collection[Hashable] | None

_NEVER = NotStarted("aborted before its turn came")


class NodeBook:
    """One node that has been picked up: where its run is, and all that came of it."""

    __slots__ = ("ended_at", "missing_bytes", "node", "outcome", "outputs", "started_at", "state")

    def __init__(self, node: Hashable) -> None:
        self.node = node
        self.state = State.WAITING
        self.outcome: Outcome | None = None
        self.outputs = Outputs()
        self.missing_bytes = 0
        self.started_at: float | None = None
        self.ended_at: float | None = None

    def step(self, step: Step) -> None:
        """Enter that the run has gone one step on; raises if it may not."""
        self.state = advance(self.state, step)

    def result(self, outcome: Outcome) -> NodeResult:
        return NodeResult(
            node=self.node,
            outcome=outcome,
            stdout=self.outputs.raw("stdout"),
            stderr=self.outputs.raw("stderr"),
            started_at=self.started_at,
            ended_at=self.ended_at,
            missing_bytes=self.missing_bytes,
        )


class Books:
    """What is known of all nodes of one worker.

    Args:
        targets: the nodes (or the one key), in node order, each once. 100 000 nodes that have
            not been picked up yet cost nothing but their place in a dictionary.
        gather: False to keep no output.
    """

    def __init__(self, targets: Iterable[Hashable], gather: bool) -> None:
        # Invariant: nodes are picked up in this order, so that those with a book come first.
        self.targets: dict[Hashable, NodeBook | None] = dict.fromkeys(targets)
        self.gather = gather
        self.caps: Caps | None = None  # if anything is bounded
        self.state = WorkerState.NEW
        self._running = 0  # how many runs have been picked up and are not over
        self.timed_out = 0
        self._shelf = Shelf()
        self._never: NotStarted | None = None

    def start(self) -> None:
        """Enter that the worker has started; raises if it may not."""
        self.state = advance_worker(self.state, WorkerStep.START)

    def pick(self, node: Hashable) -> NodeBook:
        """The book of a node that takes its place in the fanout; raises if it may not."""
        self.state = advance_worker(self.state, WorkerStep.PICKUP)
        book = self.targets[node] or NodeBook(node)
        book.step(Step.PICKUP)
        if self.caps is not None:
            book.outputs = self.caps.outputs()
        self.targets[node] = book
        self._running += 1
        return book

    def close(self, book: NodeBook, outcome: Outcome, now: float) -> None:
        """Enter how the node's run ended."""
        book.state = finish(book.state, outcome)
        self._running -= 1
        book.outcome = outcome
        if book.started_at is not None:
            book.ended_at = now
        book.missing_bytes = book.outputs.missing_bytes
        book.outputs = book.outputs.close(self._shelf)
        self.timed_out += isinstance(outcome, TimedOut)

    def close_rest(self) -> None:
        """The worker is closed: enter how it ended for nodes that have never been picked up."""
        self.state = advance_worker(self.state, WorkerStep.CLOSE, self._running)
        finish(State.WAITING, _NEVER)
        self._never = _NEVER
        self._shelf.clear()

    def find(self, node: Hashable) -> NodeBook | None:
        """The node's book; None while it waits.

        Raises:
            KeyError: it is not of this worker.
        """
        return self.targets[node]

    def picked(self) -> Iterator[NodeBook]:
        """The nodes that have been picked up, in node order."""
        for book in self.targets.values():
            if book is None:
                return
            yield book

    def result(self, node: Hashable) -> NodeResult:
        """What is known of the node once its run is over.

        Raises:
            KeyError: it is not of this worker, or its run is not over yet.
        """
        book = self.find(node)
        if book is not None and book.outcome is not None:
            return book.result(book.outcome)
        if book is None and self._never is not None:
            return NodeResult(node=node, outcome=self._never)
        raise KeyError(node)

    def outcome(self, node: Hashable) -> Outcome | None:
        """How it ended, or None if it has not."""
        book = self.find(node)
        return book.outcome if book is not None else self._never

    def messages(self, sname: str, keys: Keys) -> Iterator[tuple[Hashable, Message]]:
        """Each node that has written to the stream, and what, in node order."""
        for book in self.picked():
            if keys is None or book.node in keys:
                message = book.outputs.message(sname)
                if message:
                    yield book.node, message

    def rcs(self, keys: Keys) -> Iterator[tuple[Hashable, int]]:
        """Each node that has a return code, and which, in node order."""
        for book in self.picked():
            rc = None if book.outcome is None else book.outcome.rc
            if rc is not None and (keys is None or book.node in keys):
                yield book.node, rc

    def nodes_timed_out(self) -> Iterator[Hashable]:
        """Each node whose command ran longer than its timeout, in node order."""
        for book in self.picked():
            if isinstance(book.outcome, TimedOut):
                yield book.node

    def flush(self, which: Callable[[str], bool]) -> None:
        """Forget what has been gathered of the streams that `which` names, of all nodes."""
        for book in self.picked():
            book.outputs.flush(which)
        self._shelf.clear()


class Results(Mapping[Hashable, NodeResult]):
    """From each node whose run is over to its result, in node order.

    A view: what ends later shows up later. Results are made when they are asked for.
    """

    def __init__(self, books: Books) -> None:
        self._books = books

    def __getitem__(self, node: Hashable) -> NodeResult:
        return self._books.result(node)

    def __iter__(self) -> Iterator[Hashable]:
        return (node for node in self._books.targets if self._books.outcome(node) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<results of {len(self)} of {len(self._books.targets)} nodes>"
