"""A transport that raises what it must not: it comes out, and nobody else is harmed by it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pytest
import trio

from trioshell import DistantWorker, Task, TaskError
from trioshell._results import NotStarted, Unreachable
from trioshell.testing import ReadStdin, Script, SimulatedTransport, simulate
from trioshell.transports import Chunk, Job, Session


class Broken(SimulatedTransport):
    """Raises at its start or at its stop."""

    def __init__(self, *, start: bool = False, stop: bool = False) -> None:
        super().__init__(Script(b"line\n"))
        self.broken = (start, stop)
        self.stops = 0

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken[0]:
            raise LookupError("start")

    async def stop(self) -> None:
        await trio.lowlevel.checkpoint()
        self.stops += 1
        if self.broken[1]:
            raise LookupError("stop")


def test_one_that_raises_at_its_start_leaves_the_books_of_all_workers_in_order() -> None:
    hangs = SimulatedTransport(Script(float("inf")))
    workers: list[DistantWorker] = []
    told: list[tuple[int, Hashable]] = []

    class Listener:
        def ev_close(self, worker: DistantWorker, timedout: bool) -> None:
            told.append((len(worker.results()), timedout))

    async def main() -> None:
        async with Task() as task:
            handler = Listener()
            workers.append(task.shell("x", nodes="a[1-2]", transport=hangs, handler=handler))
            await trio.sleep(1)
            broken = Broken(start=True)
            workers.append(task.shell("x", nodes="b[1-3]", transport=broken, handler=handler))

    with pytest.raises(BaseExceptionGroup) as caught:
        simulate(main)
    assert [str(error) for error in caught.value.exceptions] == ["start"]
    assert [str(result.outcome) for result in workers[0].results().values()] == ["aborted"] * 2
    assert all(isinstance(r.outcome, NotStarted) for r in workers[1].results().values())
    assert sorted(told) == [(2, False), (3, False)]


def test_one_that_raises_at_its_stop_does_not_keep_the_others_from_theirs() -> None:
    transports = [Broken(), Broken(stop=True), Broken()]
    workers: list[DistantWorker] = []

    async def main() -> None:
        async with Task() as task:
            workers.extend(task.shell("x", nodes="a", transport=each) for each in transports)

    with pytest.raises(BaseExceptionGroup) as caught:
        simulate(main)
    assert [str(error) for error in caught.value.exceptions] == ["stop"]
    assert [transport.stops for transport in transports] == [1, 1, 1]
    assert all(worker.results()["a"].ok for worker in workers)


def test_a_worker_that_a_task_at_its_end_has_refused_belongs_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler that answers each end with a new beginning is refused at some time."""
    refused: list[DistantWorker] = []

    class Obstinate:
        def ev_start(self, worker: DistantWorker) -> None:
            raise ValueError("everything is to end")

        def ev_close(self, worker: DistantWorker, timedout: bool) -> None:
            again = DistantWorker("a", self, work="x", transport=SimulatedTransport())
            try:
                task.schedule(again)
            except TaskError:
                refused.append(again)

    async def main() -> None:
        async with task:
            task.shell("x", nodes="a", handler=Obstinate())

    monkeypatch.setattr("trioshell._engine._MOST_LATE", 3)
    task = Task(transport=SimulatedTransport())
    with pytest.raises(BaseExceptionGroup):
        simulate(main)
    (worker,) = refused
    assert worker.task is None, "whoever waited for it would wait for ever"
    assert worker not in task._workers


class BreaksInReceive(SimulatedTransport):
    """Raises as soon as it is to receive."""

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        session = await super().open(job, node, rank)

        async def receive() -> Sequence[Chunk]:
            await trio.lowlevel.checkpoint()
            raise LookupError("receive")

        session.receive = receive  # type: ignore[method-assign]  # this one object breaks
        return session


@pytest.mark.parametrize("seed", range(8))
def test_one_that_raises_is_not_fed_any_more_when_its_session_is_closed(seed: int) -> None:
    """What was being sent meanwhile met a closed session, and that came out as well."""

    async def main() -> None:
        transport = BreaksInReceive(Script(ReadStdin(pause=1.0, size=1)), pipe_bytes=1)
        async with Task(transport=transport) as task:
            task.shell("x", nodes="a").write(b"input")

    with pytest.raises(BaseExceptionGroup) as caught:
        simulate(main, seed=seed)
    assert [str(error) for error in caught.value.exceptions] == ["receive"]


def test_one_that_raises_at_an_end_loses_nothing_that_was_being_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Endless(SimulatedTransport):
        """Its sessions hang, and can't be ended."""

        async def open(self, job: Job, node: Hashable, rank: int) -> Session:
            session = await super().open(job, node, rank)

            async def end(grace: float) -> None:
                raise LookupError("end")

            session.end = end  # type: ignore[method-assign]  # broken on purpose
            return session

    class Slow:
        async def ev_read(self, worker: object, node: str, sname: str, msg: bytes) -> None:
            await trio.sleep(5)

    workers: list[DistantWorker] = []

    async def main() -> None:
        talks = SimulatedTransport(Script((b"a\n", 0.5, b"b\n", 0.5, b"c\n", 0.5, b"d\n")))
        async with Task() as task:
            task.shell("x", nodes="a", transport=talks, handler=Slow())
            hangs = Endless(Script((1.8, b"said\n", float("inf"))))
            workers.append(task.shell("x", nodes="b", transport=hangs))
            await trio.sleep(3)
            workers[0].abort()

    monkeypatch.setattr("trioshell._dispatch._MOST_REPORTS", 1)
    with pytest.raises(BaseExceptionGroup) as caught:
        simulate(main)
    assert caught.group_contains(LookupError, match="end")
    result = workers[0].results()["b"]
    assert isinstance(result.outcome, Unreachable)
    assert result.stdout == b"said\n"
