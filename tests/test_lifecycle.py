"""The table of a run's life: everything that it has, and nothing that it has not."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path
from typing import Any

import pytest

import trioshell
from tests import lifecycle_page
from trioshell import Task
from trioshell._books import Books, NodeBook
from trioshell._lifecycle import (
    OUTCOMES,
    STEPS,
    WORKER_STEPS,
    IllegalStepError,
    State,
    Step,
    WorkerState,
    WorkerStep,
    advance,
    advance_worker,
    finish,
)
from trioshell._reports import Ended, Finished, PickedUp, Received, Sent, Started
from trioshell._results import (
    Aborted,
    Exited,
    NotStarted,
    Outcome,
    Signaled,
    TimedOut,
    Unreachable,
)
from trioshell._worker import Worker
from trioshell.testing import ReadStdin, Script, SimulatedTransport, simulate

EVERY_OUTCOME: list[Outcome] = [
    Exited(0),
    Signaled(9),
    TimedOut(1.0),
    Aborted(),
    Unreachable("gone"),
    NotStarted("aborted"),
]


@pytest.mark.parametrize(("state", "step"), list(itertools.product(State, Step)))
def test_a_step_is_taken_if_the_table_has_it_and_refused_if_not(state: State, step: Step) -> None:
    if step in STEPS[state]:
        assert advance(state, step) is STEPS[state][step]
    else:
        with pytest.raises(IllegalStepError, match=f"{step.name} .* {state.name}"):
            advance(state, step)


@pytest.mark.parametrize(("state", "outcome"), list(itertools.product(State, EVERY_OUTCOME)))
def test_an_outcome_ends_a_run_only_where_the_table_has_it(state: State, outcome: Outcome) -> None:
    if isinstance(outcome, OUTCOMES[state]):
        assert finish(state, outcome) is State.OVER
    else:
        with pytest.raises(IllegalStepError, match=state.name):
            finish(state, outcome)


def test_every_state_can_be_reached_and_left_but_the_last() -> None:
    reached = {State.WAITING}
    for _ in State:
        reached |= {after for state in reached for after in STEPS[state].values()}
    assert reached | {State.OVER} == set(State)
    for state in set(State) - {State.OVER}:
        assert OUTCOMES[state], "a run must be able to be over wherever it is"
    assert not STEPS[State.OVER]
    assert not OUTCOMES[State.OVER], "a run is over once"


def test_every_outcome_is_possible_somewhere() -> None:
    possible = {kind for kinds in OUTCOMES.values() for kind in kinds}
    assert possible == {type(outcome) for outcome in EVERY_OUTCOME}


def test_what_never_ran_did_not_end_by_itself_and_what_ran_did_not_never_start() -> None:
    for state in (State.WAITING, State.OPENING):
        assert not {Exited, Signaled, TimedOut, Aborted} & set(OUTCOMES[state])
    for state in (State.RUNNING, State.ENDING):
        assert NotStarted not in OUTCOMES[state]


# The way to each state, by legal steps.
WAYS: dict[State, tuple[Step, ...]] = {
    State.WAITING: (),
    State.OPENING: (Step.PICKUP,),
    State.RUNNING: (Step.PICKUP, Step.OPENED),
    State.ENDING: (Step.PICKUP, Step.OPENED, Step.END),
    State.OVER: (Step.PICKUP,),
}


def book_in(state: State) -> tuple[Books, NodeBook]:
    """The books of a worker of one node, and the node's book, in `state`."""
    books = Books(["node"], gather=True)
    books.start()
    book = books.pick("node")
    for step in WAYS[state][1:]:
        book.step(step)
    if state is State.WAITING:
        book = NodeBook("node")
    if state is State.OVER:
        books.close(book, NotStarted("aborted"), 1.0)
    assert book.state is state
    return books, book


def entries(books: Books, book: NodeBook) -> tuple[object, ...]:
    """All that is entered of it."""
    results = [books.outcome(node) for node in books.targets]
    return (
        *(getattr(book, name) for name in NodeBook.__slots__),
        *(books.targets["node"] is book, books.timed_out, books.state, books._running, *results),
    )


@pytest.mark.parametrize(("state", "step"), list(itertools.product(State, Step)))
def test_a_book_that_refuses_a_step_is_as_it_was(state: State, step: Step) -> None:
    books, book = book_in(state)
    before = entries(books, book)
    if step in STEPS[state]:
        book.step(step)
        assert book.state is STEPS[state][step]
    else:
        with pytest.raises(IllegalStepError):
            book.step(step)
        assert entries(books, book) == before


@pytest.mark.parametrize(("state", "outcome"), list(itertools.product(State, EVERY_OUTCOME)))
def test_books_that_refuse_an_outcome_are_as_they_were(state: State, outcome: Outcome) -> None:
    books, book = book_in(state)
    before = entries(books, book)
    if isinstance(outcome, OUTCOMES[state]):
        books.close(book, outcome, 2.0)
        assert (book.state, book.outcome) == (State.OVER, outcome)
    else:
        with pytest.raises(IllegalStepError):
            books.close(book, outcome, 2.0)
        assert entries(books, book) == before


@pytest.mark.parametrize("state", [state for state in State if state is not State.WAITING])
def test_a_node_is_picked_up_once(state: State) -> None:
    books, book = book_in(state)
    before = entries(books, book)
    with pytest.raises(IllegalStepError, match="PICKUP"):
        books.pick("node")
    assert entries(books, book) == before


@pytest.mark.parametrize(
    ("state", "step", "running"), list(itertools.product(WorkerState, WorkerStep, (0, 1)))
)
def test_a_worker_takes_a_step_if_the_table_has_it(
    state: WorkerState, step: WorkerStep, running: int
) -> None:
    if step in WORKER_STEPS[state] and not (running and step is WorkerStep.CLOSE):
        assert advance_worker(state, step, running) is WORKER_STEPS[state][step]
    else:
        with pytest.raises(IllegalStepError, match=f"{step.name} of a worker"):
            advance_worker(state, step, running)


def test_a_worker_is_started_once_and_closed_once_and_not_while_a_run_goes_on() -> None:
    books = Books(["node"], gather=True)
    for illegal in (lambda: books.pick("node"), books.close_rest):
        with pytest.raises(IllegalStepError):
            illegal()
    books.start()
    with pytest.raises(IllegalStepError):
        books.start()
    book = books.pick("node")
    with pytest.raises(IllegalStepError, match="1 runs"):
        books.close_rest()
    books.close(book, NotStarted("aborted"), 1.0)
    books.close_rest()
    for illegal in (books.start, lambda: books.pick("node"), books.close_rest):
        with pytest.raises(IllegalStepError):
            illegal()
    assert books.state is WorkerState.CLOSED


def assigned(name: str) -> set[str]:
    """Where in the library an attribute of this name is set: file and value."""
    found = set()
    for path in Path(trioshell.__file__).parent.glob("_*.py"):
        for part in ast.walk(ast.parse(path.read_text())):
            targets = part.targets if isinstance(part, ast.Assign) else []
            if any(isinstance(at, ast.Attribute) and at.attr == name for at in targets):
                assert isinstance(part, ast.Assign)
                found.add(f"{path.name}: {ast.unparse(part.value)}")
    return found


def test_nothing_but_the_table_changes_a_state() -> None:
    assert assigned("state") == {
        "_books.py: State.WAITING",
        "_books.py: advance(self.state, step)",
        "_books.py: finish(book.state, outcome)",
        "_books.py: WorkerState.NEW",
        "_books.py: advance_worker(self.state, WorkerStep.START)",
        "_books.py: advance_worker(self.state, WorkerStep.PICKUP)",
        "_books.py: advance_worker(self.state, WorkerStep.CLOSE, self._running)",
    }


REPEATED = [Started, PickedUp, Received, Sent, Ended, Finished]


@pytest.mark.parametrize("kind", REPEATED)
def test_a_report_that_cannot_follow_comes_out_and_nobody_waits_for_it(kind: type[Any]) -> None:
    """As if the engine had a defect: each report that there is, told of once more at the end."""
    transport = SimulatedTransport(Script((ReadStdin(echo=True), b"line\n")))
    workers: list[Worker] = []

    async def main() -> None:
        task = Task(transport=transport)
        dispatcher = task._engine.dispatcher
        report = dispatcher.report
        kept: list[Any] = []

        async def repeat(what: Any) -> None:
            kept.append(what)
            await report(what)
            if isinstance(what, Finished):
                await report(next(each for each in kept if isinstance(each, kind)))

        dispatcher.report = repeat  # type: ignore[method-assign, assignment]  # this one repeats
        async with task:
            workers.extend([task.shell("x", nodes="node[1-2]"), task.shell("x", nodes="other")])
            workers[0].write(b"input\n")
            workers[0].set_write_eof()
            for worker in workers:
                await worker.wait()

    with pytest.raises(BaseExceptionGroup) as caught:
        simulate(main)
    assert caught.group_contains(IllegalStepError)
    assert [worker.closed for worker in workers] == [True, True]
    assert [str(result.outcome) for result in workers[0].results().values()] == [
        "exited with 0"
    ] * 2
    assert transport.statistics().open == 0


def test_the_page_shows_the_tables() -> None:
    page = lifecycle_page.PAGE.read_text()
    assert page == lifecycle_page.drawn(page), f"run `{lifecycle_page.COMMAND}`"


def test_a_change_of_a_table_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    page = lifecycle_page.PAGE.read_text()
    with monkeypatch.context() as patch:
        patch.delitem(STEPS, State.OPENING)
        assert page != lifecycle_page.drawn(page)
    with monkeypatch.context() as patch:
        patch.delitem(WORKER_STEPS, WorkerState.STARTED)
        assert page != lifecycle_page.drawn(page)
    with monkeypatch.context() as patch:
        patch.setitem(OUTCOMES, State.OPENING, (NotStarted,))
        assert page != lifecycle_page.drawn(page)


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks of 'run' once, not 0 times"):
        lifecycle_page.drawn("# A page\n")
