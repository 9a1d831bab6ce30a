"""The clauses of a transport's contract that are tried through a `Task`, as programs use it."""

from __future__ import annotations

import trio

from trioshell._events import Event, Read, Written
from trioshell._results import Aborted, Exited, Outcome, Signaled, TimedOut, Unreachable
from trioshell._task import Task
from trioshell._worker import Worker
from trioshell.testing._clauses import Clause, clause
from trioshell.testing._commands import ALL_BYTES, NUMBERS
from trioshell.testing._grammar import check_grammar
from trioshell.testing._probe import Probe, require, shown
from trioshell.testing._recorder import Recorder

TASK_CLAUSES: list[Clause] = []

# Well below the 3 s within which everything else here is expected, so that it is known by what
# a command was ended.
_GRACE_SECONDS = 0.3


def _require_outcomes(worker: Worker, outcome: Outcome) -> None:
    for node, result in worker.results().items():
        seen = f"{node}: {result.outcome!r} and not {outcome!r}"
        require(result.outcome == outcome, seen)


@clause("through a Task: every node has its output and its outcome", TASK_CLAUSES)
async def task_output(probe: Probe) -> None:
    recorder = Recorder()

    def shell(task: Task, name: str, *, stderr: bool = False) -> Worker:
        command = probe.command(name)
        worker: Worker = task.shell(command, nodes=probe.nodes, handler=recorder, stderr=stderr)
        return worker

    async with Task(transport=probe.transport) as task:
        everything = shell(task, "all_bytes")
        apart = shell(task, "both_streams", stderr=True)
        fails = shell(task, "exit_3")
        killed = shell(task, "killed")
    check_grammar(recorder.events)
    for worker, outcome in (
        (everything, Exited(0)),
        (apart, Exited(0)),
        (fails, Exited(3)),
        (killed, Signaled(9)),
    ):
        require(len(worker.results()) == len(probe.nodes), "a node without a result")
        _require_outcomes(worker, outcome)
    for node in probe.nodes:
        result = everything.results()[node]
        require(result.stdout == ALL_BYTES, f"{node}: {shown(result.stdout)}")
        lines = [e.msg for e in recorder.of(everything) if isinstance(e, Read) and e.node == node]
        require(lines == ALL_BYTES.split(b"\n"), f"{node}: {lines}")
        result = apart.results()[node]
        require(
            (result.stdout, result.stderr) == (b"one\nthree\n", b"two\n"),
            f"{node}: {result.stdout!r} and {result.stderr!r}",
        )


@clause("through a Task: what is written reaches every node, and comes back", TASK_CLAUSES)
async def task_stdin(probe: Probe) -> None:
    data = NUMBERS[: 1 << 19]
    recorder = Recorder()
    async with Task(transport=probe.transport) as task:
        worker = task.shell(probe.command("cat"), nodes=probe.nodes, handler=recorder)
        for start in range(0, len(data), 50_000):
            worker.write(data[start : start + 50_000])
        worker.set_write_eof()
    check_grammar(recorder.events)
    _require_outcomes(worker, Exited(0))
    for node in probe.nodes:
        came_back = worker.results()[node].stdout
        require(came_back == data, f"{node}: {shown(came_back)} of {shown(data)}")
        sizes = [e.size for e in recorder.events if isinstance(e, Written) and e.node == node]
        require(sum(sizes) == len(data), f"{node}: {sum(sizes)} bytes told as written")


async def _require_gone(probe: Probe) -> None:
    for node in probe.nodes:
        left = await probe.alive(node)
        require(not left, f"{node}: still running after the Task: {left}")


@clause("through a Task: what runs longer than its timeout is ended, all of it", TASK_CLAUSES)
async def task_timeout(probe: Probe) -> None:
    recorder = Recorder()
    async with Task(transport=probe.transport, kill_grace=_GRACE_SECONDS) as task:
        worker = task.shell(probe.command("tree"), nodes=probe.nodes, handler=recorder, timeout=0.5)
        quick = task.shell(probe.command("exit_0"), nodes=probe.nodes, handler=recorder)
    check_grammar(recorder.events)
    _require_outcomes(worker, TimedOut(0.5))
    _require_outcomes(quick, Exited(0))
    await _require_gone(probe)


@clause("through a Task: abort ends all of a command, and keeps what it has said", TASK_CLAUSES)
async def task_abort(probe: Probe) -> None:
    ready: list[Event] = []

    def react(event: Event) -> None:
        if isinstance(event, Read):
            ready.append(event)
            if len(ready) == 3 * len(probe.nodes):
                event.worker.abort()

    recorder = Recorder(react)
    async with Task(transport=probe.transport, kill_grace=_GRACE_SECONDS) as task:
        worker = task.shell(probe.command("tree"), nodes=probe.nodes, handler=recorder)
    check_grammar(recorder.events)
    _require_outcomes(worker, Aborted())
    for node, result in worker.results().items():
        require(result.stdout == b"ready\n" * 3, f"{node}: kept {shown(result.stdout)}")
    await _require_gone(probe)


@clause("through a Task: cancelling the block that it stands in ends everything", TASK_CLAUSES)
async def task_cancelled(probe: Probe) -> None:
    with trio.CancelScope() as scope:

        def react(event: Event) -> None:
            if isinstance(event, Read):
                scope.cancel()

        recorder = Recorder(react)
        async with Task(transport=probe.transport, kill_grace=_GRACE_SECONDS) as task:
            worker = task.shell(probe.command("stubborn"), nodes=probe.nodes, handler=recorder)
            await trio.sleep_forever()
    require(scope.cancelled_caught, "the cancellation did not come out of the Task")
    check_grammar(recorder.events)
    require(len(worker.results()) == len(probe.nodes), "a node without a result")
    await _require_gone(probe)


@clause("through a Task: one dead target does not disturb the others", TASK_CLAUSES)
async def task_unreachable(probe: Probe) -> None:
    recorder = Recorder()
    nodes = [*map(str, probe.nodes), str(probe.unreachable)]
    async with Task(transport=probe.transport) as task:
        worker = task.shell(probe.command("both_streams"), nodes=nodes, handler=recorder)
    check_grammar(recorder.events)
    for node, result in worker.results().items():
        if node == probe.unreachable:
            require(isinstance(result.outcome, Unreachable), f"{node}: {result.outcome!r}")
            require(result.rc == 255, f"{node}: rc {result.rc}")
        else:
            require(result.outcome == Exited(0), f"{node}: {result.outcome!r}")
            require(result.stdout == b"one\ntwo\nthree\n", f"{node}: {shown(result.stdout)}")
