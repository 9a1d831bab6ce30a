"""The dispatcher: the only writer of results, and the only caller of handlers.

There is one for each Task. Child tasks report to it over one bounded channel; for each
report it first enters into the books what has happened, then tells the consumers of
`events`, which is one step that nobody can see the middle of, and then calls the handler.
A handler that takes its time makes the channel fill up, which makes the child tasks wait,
which makes the commands wait.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import trio

from trioshell._consumers import Block
from trioshell._events import Close, Event, Hup, Pickup, Start, Written
from trioshell._lifecycle import State, Step
from trioshell._lines import split_lines
from trioshell._reports import (
    Ended,
    Finished,
    Fired,
    PickedUp,
    Received,
    Report,
    Sent,
    Started,
)

if TYPE_CHECKING:
    from trioshell._books import NodeBook
    from trioshell._conduct import Run
    from trioshell._feeder import Feeder
    from trioshell._worker import Worker

# Reports that may wait. With batches of at most 64 KiB it bounds what a slow handler can pile
# up to a few megabytes for the whole Task.
_MOST_REPORTS = 32

# How many reports are worked off before other tasks get their turn.
_REPORTS_A_TURN = 16

# A handler that raises at every event must not fill the memory with what it raised.
_MOST_ERRORS = 100


class Dispatcher:
    """Works the reports of one Task off, one at a time.

    Args:
        on_failure: called when a handler has raised, while `errors` holds what.
        on_closed: called with the feeder of each worker that has been told its last event.
    """

    def __init__(self, on_failure: Callable[[], None], on_closed: Callable[[Feeder], None]) -> None:
        self._on_failure = on_failure
        self._on_closed = on_closed
        self._sending, self._receiving = trio.open_memory_channel[Report](_MOST_REPORTS)
        self.errors: list[BaseException] = []
        self.task: trio.lowlevel.Task | None = None
        self._waiting: trio.CancelScope | None = None
        self._cancelled = False

    async def report(self, report: Report) -> None:
        """Hand `report` over, waiting while too many wait. Cancelled, it has not been."""
        try:
            self._sending.send_nowait(report)
        except trio.WouldBlock:
            await self._sending.send(report)

    def cancel_handlers(self) -> None:
        """From now on an async handler is cancelled at its first checkpoint."""
        self._cancelled = True
        if self._waiting is not None:
            self._waiting.cancel()

    def close(self) -> None:
        """No more reports come."""
        self._sending.close()

    @trio.lowlevel.enable_ki_protection  # its books must not be torn; see `_call`
    async def run(self) -> None:
        """Work reports off until `close` has been called and none is left."""
        self.task = trio.lowlevel.current_task()
        work: dict[type[Any], Callable[[Any], Any]] = {
            Started: self._on_started,
            PickedUp: self._on_picked_up,
            Received: self._on_received,
            Sent: self._on_sent,
            Ended: self._on_ended,
            Finished: self._on_finished,
            Fired: self._on_fired,
        }
        async for report in self._receiving:
            await work[type(report)](report)
            for _ in range(_REPORTS_A_TURN):
                try:
                    report = self._receiving.receive_nowait()  # noqa: PLW2901  # the next one
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
                await work[type(report)](report)
            del report  # what is over must not be held while we wait

    # -- what is reported --------------------------------------------------------------------

    async def _on_started(self, report: Started) -> None:
        worker = report.worker
        worker._books.start()
        await self._tell(worker, "ev_start", Start(worker))

    async def _on_picked_up(self, report: PickedUp) -> None:
        run = report.run
        worker = run.worker
        run.book = worker._books.pick(run.node)
        worker.current_node = run.node
        await self._tell(worker, "ev_pickup", Pickup(worker, run.node), run.node)

    async def _on_received(self, report: Received) -> None:
        run = report.run
        worker, book = run.worker, _catch_up(run)
        gather = worker._books.gather
        for sname, chunk in report.chunks:
            book.step(Step.READ)
            block = book.outputs.stream(sname).add(chunk, gather)
            if block:
                await self._tell_lines(worker, run.node, sname, block)

    async def _on_sent(self, report: Sent) -> None:
        run = report.run
        worker, node, sname, size = run.worker, run.node, report.sname, report.size
        _catch_up(run).step(Step.WRITTEN)
        worker.current_node, worker.current_sname = node, sname
        await self._tell(
            worker, "ev_written", Written(worker, node, sname, size), node, sname, size
        )

    async def _on_ended(self, report: Ended) -> None:
        run = report.run
        worker, book = run.worker, _catch_up(run)
        for sname, stream in book.outputs.live().items():
            last = stream.finish()
            if last:
                await self._tell_lines(worker, run.node, sname, last)
        worker._books.close(book, report.outcome, report.ended_at)
        rc = report.outcome.rc
        worker.current_node, worker.current_rc = run.node, rc
        await self._tell(worker, "ev_hup", Hup(worker, run.node, rc), run.node, rc)

    async def _on_finished(self, report: Finished) -> None:
        worker = report.worker
        worker._books.close_rest()
        timed_out = worker.did_timeout()
        await self._tell(worker, "ev_close", Close(worker, timed_out), timed_out)
        worker._give_up()
        self._on_closed(worker._feeder)

    async def _on_fired(self, report: Fired) -> None:
        timer = report.timer
        method = getattr(timer.eh, "ev_timer", None)
        if method is not None and timer._is_current(report.setting):
            await self._call(method, timer)
        timer._told.set()

    # -- who is told ---------------------------------------------------------------------------

    async def _tell(self, worker: Worker, name: str, event: Event, *args: object) -> None:
        if worker._consumers:
            worker._consumers.push(event)
        method = worker._methods.get(name)
        if method is not None:
            await self._call(method, worker, *args)

    async def _tell_lines(self, worker: Worker, node: Hashable, sname: str, block: bytes) -> None:
        # All consumers first, and without a pause: one that comes while a handler waits is told
        # of what the books hold, and must not be told of it again.
        if worker._consumers:
            worker._consumers.push(Block(worker, node, sname, block))
        method = worker._methods.get("ev_read")
        if method is not None:
            lines = split_lines(block)
            worker.current_node, worker.current_sname = node, sname
            if sname == worker.SNAME_STDERR:
                await self._call_with_errors(method, worker, node, sname, lines)
            else:
                await self._call_with_lines(method, worker, node, sname, lines)

    # An interrupt from the keyboard may be raised in a handler, as anywhere in a program, and
    # then comes out of the Task; it is never raised in the midst of our books.

    @trio.lowlevel.disable_ki_protection
    async def _call(self, method: Callable[..., Any], *args: object) -> None:
        try:
            result = method(*args)
            if result is not None:
                await self._finish(result)
        except trio.Cancelled:
            raise  # not the handler's: the engine itself is being torn down
        except BaseException as exc:  # noqa: BLE001  # it comes out of the Task, at its end
            self.fail(exc)

    @trio.lowlevel.disable_ki_protection
    async def _call_with_lines(
        self,
        method: Callable[..., Any],
        worker: Worker,
        node: Hashable,
        sname: str,
        lines: list[bytes],
    ) -> None:
        # The hottest loop of all: nothing in it that is the same for each line.
        left = iter(lines)
        while True:
            try:
                for line in left:
                    worker.current_msg = line
                    result = method(worker, node, sname, line)
                    if result is not None:
                        await self._finish(result)
            except trio.Cancelled:
                raise  # as in `_call`
            except BaseException as exc:  # noqa: BLE001  # as in `_call`; and on with what is left
                self.fail(exc)
            else:
                return

    async def _call_with_errors(
        self,
        method: Callable[..., Any],
        worker: Worker,
        node: Hashable,
        sname: str,
        lines: list[bytes],
    ) -> None:
        for line in lines:
            worker.current_errmsg = line
            await self._call(method, worker, node, sname, line)

    async def _finish(self, result: object) -> None:
        """Wait for what a handler method has returned, if that is to be waited for."""
        if inspect.isawaitable(result):
            with trio.CancelScope() as self._waiting:
                if self._cancelled:
                    self._waiting.cancel()
                await result
            self._waiting = None

    @trio.lowlevel.enable_ki_protection  # as `run`
    def fail(self, exc: BaseException) -> None:
        """Something that is not ours has raised: end everything, and let it come out then."""
        if len(self.errors) < _MOST_ERRORS:
            self.errors.append(exc)
        self._on_failure()


def _catch_up(run: Run) -> NodeBook:
    """The run's book, with those steps entered that nobody is told of."""
    book = run.book
    assert book is not None
    if book.started_at is None and run.started_at is not None:
        book.step(Step.OPENED)
        book.started_at = run.started_at
    if run.ending and book.state is State.RUNNING:
        book.step(Step.END)
    return book
