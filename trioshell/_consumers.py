"""What ``worker.events()`` returns: a consumer's own place in the stream of events."""

from __future__ import annotations

import inspect
import weakref
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio

from trioshell._events import Close, Event, Hup, Pickup, Read, Start
from trioshell._lifecycle import WorkerState
from trioshell._lines import split_lines

if TYPE_CHECKING:
    from trioshell._worker import Worker

# How much may wait for a consumer before the worker's nodes are held back: so many entries, or
# lines of so many bytes. Lines wait as the block that they came in, and become records one by
# one when they are taken: a record is many times as large as a short line.
_MOST_ENTRIES = 4096
_MOST_BYTES = 1 << 20

# A consumer whose task has ended without a word can only be found by looking.
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of one stream of one node, as they came: whole, but perhaps for the very last."""

    worker: Worker
    node: Hashable
    sname: str
    lines: bytes

    def events(self) -> Iterator[Event]:
        """Each line as the record that consumers get."""
        return (Read(self.worker, self.node, self.sname, line) for line in split_lines(self.lines))


_Entry: TypeAlias = Event | Block


class EventStream:
    """An async iterator over a worker's events, from the first one on; see ``Worker.events``.

    Also a context manager, sync or async, which closes it.
    """

    def __init__(self, missed: Iterator[_Entry], taken: trio.lowlevel.ParkingLot) -> None:
        self._entries: deque[_Entry] = deque()
        self._lines: Iterator[Event] = iter(())  # of the block that is being taken
        self._bytes = 0
        self._owner = trio.lowlevel.current_task()
        self._ready = trio.lowlevel.ParkingLot()
        self._taken = taken
        self._over = False
        self._bounded = True
        for entry in missed:
            self.push(entry)

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        self._owner = trio.lowlevel.current_task()
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            event = next(self._lines, None)
            if event is not None:
                return event
            if not self._entries:
                if self._over:
                    await trio.lowlevel.checkpoint()
                    raise StopAsyncIteration
                await self._ready.park()
                continue
            entry = self._entries.popleft()
            self._taken.unpark_all()
            if not isinstance(entry, Block):
                return entry
            self._bytes -= len(entry.lines)
            self._lines = entry.events()

    def close(self) -> None:
        """Stop: what has not been taken is dropped, and iterating on ends at once."""
        self._entries.clear()
        self._lines = iter(())
        self.finish()

    async def aclose(self) -> None:
        """The same, for those who expect an async iterator to have it."""
        self.close()
        await trio.lowlevel.checkpoint()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    async def __aenter__(self) -> EventStream:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.close()

    # -- the engine's side ---------------------------------------------------------------

    def push(self, entry: _Entry) -> None:
        """Add an event, or a block of lines; never blocks."""
        if not self._over:
            self._entries.append(entry)
            if isinstance(entry, Block):
                self._bytes += len(entry.lines)
            self._ready.unpark()

    def finish(self) -> None:
        """No more events come."""
        self._over = True
        self._ready.unpark_all()
        self._taken.unpark_all()

    def lift(self, task: trio.lowlevel.Task) -> None:
        """If `task` is the consumer, wait for it no longer: it is about to wait for the worker."""
        if self._owner is task:
            self._bounded = False
            self._taken.unpark_all()

    @property
    def full(self) -> bool:
        """True if the worker's nodes have to wait for this consumer."""
        return (
            (len(self._entries) > _MOST_ENTRIES or self._bytes > _MOST_BYTES)
            and self._bounded
            and not self._over
            and inspect.getcoroutinestate(self._owner.coro) != inspect.CORO_CLOSED
        )


class Consumers:
    """All consumers of one worker's events.

    They are held weakly: a consumer that is dropped in the middle of its loop is gone.
    """

    def __init__(self) -> None:
        self._streams: list[weakref.ref[EventStream]] = []
        self._taken = trio.lowlevel.ParkingLot()

    def __bool__(self) -> bool:
        return bool(self._streams)

    def _alive(self) -> list[EventStream]:
        alive = [stream for ref in self._streams if (stream := ref()) is not None]
        if len(alive) < len(self._streams):
            self._streams = [weakref.ref(stream) for stream in alive]
        return alive

    def add(self, worker: Worker) -> EventStream:
        """A new consumer, which is first told what has happened before it came."""
        stream = EventStream(_missed(worker), self._taken)
        if worker.closed:
            stream.finish()
        else:
            self._streams.append(weakref.ref(stream))
        return stream

    def push(self, entry: _Entry) -> None:
        """Tell all of them; never blocks. Who receives output waits for `wait_room` before."""
        for stream in self._alive():
            stream.push(entry)

    def finish(self) -> None:
        """Tell all of them that there is no more."""
        for stream in self._alive():
            stream.finish()
        self._streams.clear()

    def lift(self, task: trio.lowlevel.Task) -> None:
        """See `EventStream.lift`."""
        for stream in self._alive():
            stream.lift(task)

    async def wait_room(self) -> None:
        """Wait until no consumer is too far behind."""
        while any(stream.full for stream in self._alive()):
            with trio.move_on_after(_LOOK_SECONDS):
                await self._taken.park()


def _missed(worker: Worker) -> Iterator[_Entry]:
    """The events until now, node by node; of the output, what has been gathered."""
    if not worker.started:
        return
    yield Start(worker)
    books = worker._books
    for book in books.picked():
        yield Pickup(worker, book.node)
        for sname, lines in book.outputs.whole_lines():
            yield Block(worker, book.node, sname, lines)
        if book.outcome is not None:
            yield Hup(worker, book.node, book.outcome.rc)
    if books.state is WorkerState.CLOSED:  # though its handler may not have returned yet
        yield Close(worker, books.timed_out > 0)
