"""However a command is ended, all that it started is gone, and what it had said is kept."""

from __future__ import annotations

import math
import shlex
import signal
from collections.abc import Awaitable, Callable

import pytest
import trio

import trioshell
from tests.real.probes import (
    AT_ONCE_SECONDS,
    Mark,
    Recorder,
    check_order,
    only,
    wait_line,
    wait_until,
)
from trioshell import (
    Aborted,
    Close,
    DistantWorker,
    Exited,
    Hup,
    NotStarted,
    Pickup,
    Signaled,
    Task,
    TimedOut,
    Worker,
)
from trioshell.transports import Chunk, Job, Session, Transport

GRACE = 0.2

# What it says last has no newline, so that only the end can deliver it.
READY = "env printf 'ready\\nhalf'"  # bash's own would write it in two pieces


def bash(script: str) -> str:
    """The system's own shell has job control only at a terminal."""
    return f"exec bash -c {shlex.quote(script)}"


TREES = {
    "simple": f"{READY}; exec sleep 61",
    "deaf": f"trap '' TERM; {READY}; while :; do sleep 61; done",
    "deaf to all it may be": f"trap '' TERM HUP INT QUIT PIPE ALRM; {READY}; sleep 61; sleep 61",
    "child and grandchild": f"(sleep 61 & sleep 61) & {READY}; wait",
    "deaf grandchildren of a polite leader": (
        f"(trap '' TERM; (sleep 61 & sleep 61 & wait) & {READY}; sleep 61) & wait"
    ),
    "leader that is gone before its children": f"(trap '' TERM; {READY}; sleep 61) & sleep 61",
    "pipeline": f"{READY}; sleep 61 | sleep 61 | sleep 61",
    "deaf pipeline": f"trap '' TERM; {READY}; sleep 61 | (sleep 61; sleep 61) | cat",
    "timeout": f"{READY}; timeout 61 sleep 61",
    "deaf under timeout": "timeout 61 sh -c \"trap '' TERM; printf 'ready\\\\nhalf'; sleep 61\"",
    "job control": bash(f"set -m; sleep 61 & sleep 61 & {READY}; wait"),
    "deaf job control": bash(
        f"trap '' TERM; set -m; sleep 61 & (sleep 61; sleep 61) & {READY}; wait"
    ),
    "stopped": f"{READY}; kill -STOP $$; sleep 61",
    "stopped child": f"sleep 61 & kill -STOP $!; {READY}; wait",
    "deaf and stopped": f"trap '' TERM; sleep 61 & kill -STOP $!; {READY}; kill -STOP $$",
    "breeds when told to end": (
        f"exec 2>/dev/null; trap 'sleep 61 & sleep 61 &' TERM; {READY}; sleep 61; sleep 61"
    ),
    "output closed": f"{READY}; exec >&- 2>&- <&-; sleep 61; sleep 61",
}


class OddError(Exception):
    pass


async def ready(workers: list[Worker]) -> None:
    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(wait_line, worker)


async def end_by_worker_abort(start: Callable[..., Awaitable[list[Worker]]]) -> None:
    async with Task(kill_grace=GRACE) as task:
        for worker in await start(task):
            worker.abort()


async def end_by_task_abort(start: Callable[..., Awaitable[list[Worker]]]) -> None:
    async with Task(kill_grace=GRACE) as task:
        await start(task)
        task.abort()


async def end_by_cancellation(start: Callable[..., Awaitable[list[Worker]]]) -> None:
    with trio.CancelScope() as scope:
        async with Task(kill_grace=GRACE) as task:
            await start(task)
            scope.cancel()
    assert scope.cancelled_caught


async def end_by_outer_nursery(start: Callable[..., Awaitable[list[Worker]]]) -> None:
    async with trio.open_nursery() as nursery:

        async def main() -> None:
            async with Task(kill_grace=GRACE) as task:
                await start(task)
                started.set()

        started = trio.Event()
        nursery.start_soon(main)
        await started.wait()
        await trio.testing.wait_all_tasks_blocked()  # main waits in the Task's __aexit__
        nursery.cancel_scope.cancel()


async def end_by_fail_after(start: Callable[..., Awaitable[list[Worker]]]) -> None:
    with pytest.raises(trio.TooSlowError):  # noqa: PT012  # a whole Task is what raises
        with trio.fail_after(60) as scope:
            async with Task(kill_grace=GRACE) as task:
                await start(task)
                scope.deadline = trio.current_time() + 0.01


async def end_by_body(start: Callable[..., Awaitable[list[Worker]]]) -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # a whole Task is what raises
        async with Task(kill_grace=GRACE) as task:
            await start(task)
            raise OddError("body")
    assert [type(exc) for exc in caught.value.exceptions] == [OddError]


async def end_by_interrupt(start: Callable[..., Awaitable[list[Worker]]]) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012  # a whole Task is what raises
        async with Task(kill_grace=GRACE) as task:
            await start(task)
            raise KeyboardInterrupt
    assert [type(exc) for exc in caught.value.exceptions] == [KeyboardInterrupt]


async def end_by_handler(start: Callable[..., Awaitable[list[Worker]]]) -> None:
    class Raise:
        def ev_timer(self, timer: object) -> None:
            raise OddError("handler")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # a whole Task is what raises
        async with Task(kill_grace=GRACE) as task:
            await start(task)
            task.timer(0, Raise())
    assert [type(exc) for exc in caught.value.exceptions] == [OddError]


WAYS = [
    end_by_worker_abort,
    end_by_task_abort,
    end_by_cancellation,
    end_by_outer_nursery,
    end_by_fail_after,
    end_by_body,
    end_by_interrupt,
    end_by_handler,
]


@pytest.mark.parametrize("way", WAYS)
async def test_all_is_gone(way: Callable[..., Awaitable[None]], mark: Mark) -> None:
    """Every tree at once, and again while most of them wait for a place."""
    recorder = Recorder()
    workers: dict[str, Worker] = {}
    began = math.inf

    async def start(task: Task) -> list[Worker]:
        nonlocal began
        for name, tree in TREES.items():
            workers[name] = task.shell(tree, key=name, handler=recorder, stderr=False)
        with trio.fail_after(20):
            await ready(list(workers.values()))
        began = trio.current_time()
        return list(workers.values())

    await way(start)
    assert mark.living() == []
    assert trio.current_time() - began < GRACE + 2  # all under one deadline
    for name, worker in workers.items():
        result = only(worker)
        assert (name, result.outcome, result.rc) == (name, Aborted(), None)
        assert result.stdout.startswith(b"ready\nhalf"), name
        assert recorder.lines(node=name)[:2] == [b"ready", b"half"], name
        assert worker.closed
    check_order(recorder)
    assert [event.rc for event in recorder.of(Hup)] == [None] * len(TREES)
    assert [event.timedout for event in recorder.of(Close)] == [False] * len(TREES)


async def test_all_is_gone_after_a_timeout(mark: Mark) -> None:
    recorder = Recorder()
    seconds = 1.5
    async with Task(kill_grace=GRACE, command_timeout=seconds) as task:
        workers = {
            name: task.shell(tree, key=name, handler=recorder) for name, tree in TREES.items()
        }
    assert mark.living() == []
    for name, worker in workers.items():
        result = only(worker)
        assert (name, result.outcome, result.rc) == (name, TimedOut(seconds), None)
        assert result.stdout.startswith(b"ready\nhalf"), name
        assert result.started_at is not None
        assert result.ended_at is not None
        assert result.ended_at - result.started_at >= seconds
        assert result.ended_at - result.started_at < seconds + GRACE + 2
        assert worker.did_timeout()
    check_order(recorder)
    assert [event.rc for event in recorder.of(Hup)] == [None] * len(TREES)
    assert [event.timedout for event in recorder.of(Close)] == [True] * len(TREES)
    assert task.num_timeout() == len(TREES)
    assert set(task.iter_keys_timeout()) == set(TREES)


async def test_trioshell_run_cancelled_leaves_nothing(mark: Mark) -> None:
    async def main() -> None:
        class Handler:
            def ev_read(self, worker: Worker, node: object, sname: str, msg: bytes) -> None:
                if msg == b"ready":
                    scope.cancel()

        command = f"{TREES['deaf pipeline']}"
        await trioshell.run(
            command, "n[1-3]", transport="exec", handler=Handler(), kill_grace=GRACE
        )
        raise AssertionError("was not cancelled")

    with trio.CancelScope() as scope:
        await main()
    assert scope.cancelled_caught
    assert mark.living() == []


async def test_task_run_cancelled_aborts_that_worker_alone(mark: Mark) -> None:
    async with Task(kill_grace=GRACE) as task:
        other = task.shell("echo ready; cat")
        await wait_line(other)
        with trio.move_on_after(0.05) as scope:
            await task.run("sleep 61", key="cancelled")
        assert scope.cancelled_caught
        assert not other.closed
        other.write(b"still here\n")
        other.set_write_eof()
    assert only(other).outcome == Exited(0)
    assert only(other).stdout == b"ready\nstill here\n"
    with pytest.raises(KeyError):
        task.key_retcode("cancelled")


@pytest.mark.parametrize("checkpoints", range(16))
async def test_an_abort_at_any_step_reaches_every_node(checkpoints: int, mark: Mark) -> None:
    # The feeder takes places and starts nodes meanwhile: none may slip through.
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task(kill_grace=0.05, transport="exec") as task:
            worker = task.shell("trap '' TERM; sleep 9; exit 1", nodes="n[1-20]")
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            worker.abort()
    assert mark.living() == []
    for result in worker.results().values():
        assert isinstance(result.outcome, Aborted | NotStarted)


@pytest.mark.parametrize("seconds", [0, 0.001, 0.003, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("deaf", [False, True])
async def test_a_cancellation_at_any_instant(seconds: float, deaf: bool, mark: Mark) -> None:
    recorder = Recorder()
    command = "trap '' TERM; sleep 9 & sleep 9; exit 1" if deaf else "sleep 0.02; echo %h"
    with trio.move_on_after(seconds):
        async with Task(kill_grace=0.05, fanout=8, transport="exec") as task:
            worker = task.shell(command, nodes="n[1-200]", handler=recorder)
    assert mark.living() == []
    assert len(worker.results()) == 200
    picked = {event.node for event in recorder.of(Pickup)}
    assert {event.node for event in recorder.of(Hup)} == picked
    for node, result in worker.results().items():
        if node not in picked:
            assert isinstance(result.outcome, NotStarted)
        elif result.outcome == Exited(0):
            assert result.stdout == f"{node}\n".encode()
        else:
            assert isinstance(result.outcome, Aborted | NotStarted)
    check_order(recorder)


async def test_nodes_that_are_ended_at_once_share_one_grace(mark: Mark) -> None:
    async with Task(kill_grace=0.5, transport="exec") as task:
        worker = task.shell(TREES["deaf"], nodes="n[1-20]")
        await wait_line(worker, times=20)
        began = trio.current_time()
        worker.abort()
        await worker.wait()
        took = trio.current_time() - began
    assert 0.5 <= took < 1.5
    assert mark.living() == []


async def test_a_polite_command_has_its_last_word_and_costs_no_grace() -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        async with Task(kill_grace=60) as task:
            worker = task.shell("trap 'echo bye; exit 0' TERM; echo ready; read -r x")
            await wait_line(worker)
            worker.abort()
    assert only(worker).outcome == Aborted()
    assert list(worker.read()) == [b"ready", b"bye"]


async def test_a_grace_of_zero_kills_at_once(mark: Mark) -> None:
    async with Task(kill_grace=0) as task:
        workers = [task.shell(tree) for tree in TREES.values()]
        await ready(workers)
        began = trio.current_time()
        task.abort()
    assert trio.current_time() - began < 1
    assert mark.living() == []
    assert {only(worker).outcome for worker in workers} == {Aborted()}


async def test_output_during_the_grace_is_kept_whole() -> None:
    script = (
        "trap 'i=0; while [ $i -lt 3000 ]; do echo line$i; i=$((i+1)); done; printf last; exit' "
        "TERM; echo ready; read -r x"
    )
    async with Task(kill_grace=30) as task:
        worker = task.shell(script)
        await wait_line(worker)
        worker.abort()
    assert list(worker.read())[1:] == [*(b"line%d" % i for i in range(3000)), b"last"]


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGHUP])
async def test_a_signal_that_we_did_not_send(signum: signal.Signals) -> None:
    recorder = Recorder()
    worker = await trioshell.run(
        f"ulimit -c 0; echo x; kill -{int(signum)} $$; sleep 61", handler=recorder, stdin=False
    )
    assert only(worker).outcome == Signaled(int(signum))
    assert only(worker).rc == 128 + signum
    assert [event.rc for event in recorder.of(Hup)] == [128 + signum]
    assert worker.current_rc == 128 + signum
    assert worker.read() == b"x"


@pytest.mark.parametrize("rc", [0, 1, 126, 127, 137, 255])
async def test_a_return_code_is_the_command_s_own(rc: int) -> None:
    worker = await trioshell.run(f"exit {rc}")
    assert only(worker).outcome == Exited(rc)
    assert only(worker).ok == (rc == 0)


async def test_a_command_that_cannot_be_found() -> None:
    worker = await trioshell.run("trioshell-no-such-command")
    assert only(worker).outcome == Exited(127)
    recorder = Recorder()
    worker = await trioshell.run(
        ["trioshell-no-such-command"], "n[1-2]", transport="exec", handler=recorder
    )
    for result in worker.results().values():
        assert isinstance(result.outcome, NotStarted)
        assert "trioshell-no-such-command" in result.outcome.reason
        assert (result.rc, result.started_at, result.ended_at) == (None, None, None)
    assert [event.rc for event in recorder.of(Hup)] == [None, None]
    check_order(recorder)


@pytest.mark.parametrize("vector", [["/"], ["/etc/passwd"], ["/no/such/file"], ["x" * 300]])
async def test_a_program_that_cannot_be_executed(vector: list[str]) -> None:
    worker = await trioshell.run(vector)
    assert isinstance(only(worker).outcome, NotStarted)


async def test_arguments_that_are_too_long_for_the_system() -> None:
    worker = await trioshell.run(["true", "x" * 3_000_000])
    assert isinstance(only(worker).outcome, NotStarted)


async def test_some_time_out_and_some_do_not(mark: Mark) -> None:
    recorder = Recorder()
    worker = await trioshell.run(
        "case %n in 1|3) sleep 61;; 2) exit 9;; esac; echo %h",
        "n[1-5]",
        transport="exec",
        timeout=1,
        handler=recorder,
    )
    assert isinstance(worker, DistantWorker)
    assert list(worker.iter_keys_timeout()) == ["n2", "n4"]
    assert worker.num_timeout() == 2
    assert worker.did_timeout()
    assert [(rc, str(nodes)) for rc, nodes in worker.iter_retcodes()] == [(0, "n[1,5]"), (9, "n3")]
    for node in ("n2", "n4"):
        with pytest.raises(KeyError):
            worker.node_retcode(node)
    assert [event.timedout for event in recorder.of(Close)] == [True]
    assert mark.living() == []


async def test_a_timeout_counts_from_each_node_s_own_start() -> None:
    worker = await trioshell.run(
        "sleep 0.3", "n[1-4]", transport="exec", fanout=1, timeout=1, stdin=False
    )
    assert {result.outcome for result in worker.results().values()} == {Exited(0)}


async def test_which_timeout_counts() -> None:
    async with Task(command_timeout=0.2) as task:
        of_the_task = task.shell("sleep 61")
        its_own = task.shell("sleep 61", timeout=0.1)
        none = task.shell("sleep 0.5; echo done", timeout=math.inf)
    assert only(of_the_task).outcome == TimedOut(0.2)
    assert only(its_own).outcome == TimedOut(0.1)
    assert only(none).outcome == Exited(0)


async def test_abort_is_safe_at_any_time() -> None:
    recorder = Recorder()
    task = Task(transport="exec", fanout=2, kill_grace=GRACE)
    before = task.shell("echo x", nodes="n[1-3]", handler=recorder)
    before.abort()
    async with task:
        running = task.shell("echo ready; sleep 61", nodes="n[1-5]", handler=recorder)
        at_once = task.shell("echo x", handler=recorder)
        at_once.abort()
        await wait_line(running, times=2)
        running.abort()
        running.abort()
        await running.wait()
        running.abort()
        over = await task.run("exit 5", handler=recorder)
        over.abort()
        task.abort()
    over.abort()
    running.abort()
    task.abort()
    assert {type(result.outcome) for result in before.results().values()} == {NotStarted}
    assert isinstance(only(at_once).outcome, NotStarted)
    assert only(over).outcome == Exited(5)
    outcomes = [result.outcome for result in running.results().values()]
    assert outcomes[:2] == [Aborted(), Aborted()]
    assert {type(outcome) for outcome in outcomes[2:]} == {NotStarted}
    check_order(recorder)
    assert len(recorder.of(Close)) == 4
    assert [event.node for event in recorder.of(Pickup) if event.worker is before] == []


async def test_an_unscheduled_worker_may_be_aborted() -> None:
    worker = trioshell.ExecWorker("n[1-2]", command="echo x")
    worker.abort()
    async with Task() as task:
        task.schedule(worker)
    assert {type(result.outcome) for result in worker.results().values()} == {NotStarted}


async def test_a_task_goes_on_after_abort() -> None:
    async with Task() as task:
        first = task.shell("echo ready; sleep 61")
        await wait_line(first)
        task.abort()
        second = await task.run("echo second", stdin=False)
    assert only(first).outcome == Aborted()
    assert only(second).stdout == b"second\n"


async def test_a_busy_handler_does_not_hold_up_the_end_of_a_command(mark: Mark) -> None:
    # The timeout kills while the handler still has a line in hand.
    class Busy(Recorder):
        gone = False

        async def ev_read(  # type: ignore[override]
            self, worker: Worker, node: object, sname: str, msg: bytes
        ) -> None:
            if msg == b"ready":
                await wait_until(lambda: not mark.living())
                self.gone = True

    handler = Busy()
    worker = await trioshell.run(
        "trap '' TERM; echo ready; sleep 61; sleep 61",
        timeout=0.3,
        kill_grace=GRACE,
        handler=handler,
    )
    assert handler.gone
    assert only(worker).outcome == TimedOut(0.3)


async def test_a_flood_that_nobody_reads_can_be_aborted(mark: Mark) -> None:
    class Stuck:
        def __init__(self) -> None:
            self.told = trio.Event()
            self.go = trio.Event()

        async def ev_read(self, worker: Worker, node: object, sname: str, msg: bytes) -> None:
            self.told.set()
            await self.go.wait()

    handler = Stuck()
    with trio.fail_after(10):
        async with Task(transport="exec", kill_grace=GRACE) as task:
            worker = task.shell("yes %h", nodes="n[1-4]", handler=handler, gather=False)
            await handler.told.wait()
            task.abort()
            await wait_until(lambda: not mark.living())
            handler.go.set()
    assert {result.outcome for result in worker.results().values()} == {Aborted()}


async def test_a_stuck_handler_is_cancelled_with_the_task(mark: Mark) -> None:
    class Stuck:
        async def ev_read(self, worker: Worker, node: object, sname: str, msg: bytes) -> None:
            scope.cancel()
            await trio.sleep_forever()

    with trio.fail_after(10):
        with trio.CancelScope() as scope:
            async with Task(transport="exec", kill_grace=GRACE) as task:
                worker = task.shell("yes %h", nodes="n[1-4]", handler=Stuck(), gather=False)
    assert mark.living() == []
    assert worker.closed


async def hundreds_aborted(count: int, mark: Mark) -> None:
    async with Task(transport="exec", fanout=count, kill_grace=1) as task:
        # Half of them do not listen.
        command = "[ $((%n %% 2)) = 0 ] && trap '' TERM; echo ready; sleep 97"
        worker = task.shell(command, nodes=f"n[1-{count}]", stdin=False)
        await wait_line(worker, times=count)
        began = trio.current_time()
        worker.abort()
        await worker.wait()
        took = trio.current_time() - began
    assert mark.living() == []
    assert {result.outcome for result in worker.results().values()} == {Aborted()}
    assert took < 1 + 1


async def test_three_hundred_running_commands_are_gone_within_a_second_of_the_grace(
    mark: Mark,
) -> None:
    await hundreds_aborted(300, mark)


@pytest.mark.soak
async def test_a_thousand_running_commands_are_gone_within_a_second_of_the_grace(
    mark: Mark,
) -> None:
    await hundreds_aborted(1000, mark)


class BrokenSession(Session):
    """It breaks the contract of a session in one of its methods."""

    def __init__(self, where: str, told: trio.Event) -> None:
        self.where = where
        self.told = told

    async def receive(self) -> list[Chunk]:
        await self.told.wait()
        if self.where == "receive":
            raise OddError(self.where)
        await trio.sleep_forever()

    async def send(self, data: bytes) -> None:
        await self.told.wait()
        raise OddError(self.where)

    async def send_eof(self) -> None:
        raise AssertionError

    async def end(self, grace: float) -> None:
        if self.where == "end":
            raise OddError(self.where)
        self.exit = Exited(0)

    async def aclose(self) -> None:
        if self.where == "aclose":
            raise OddError(self.where)


class BrokenTransport(Transport):
    connects = False

    def __init__(self, where: str) -> None:
        self.where = where
        self.told = trio.Event()

    def check(self, job: Job) -> None:
        pass

    async def open(self, job: Job, node: object, rank: int) -> Session:
        if self.where == "open":
            await self.told.wait()
            raise OddError(self.where)
        return BrokenSession(self.where, self.told)


@pytest.mark.parametrize("where", ["open", "receive", "send", "end", "aclose"])
async def test_a_transport_that_breaks_its_promises_leaves_no_command_of_others_behind(
    where: str, mark: Mark
) -> None:
    transport = BrokenTransport(where)
    with trio.fail_after(AT_ONCE_SECONDS), pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012  # a whole Task is what raises
        async with Task(kill_grace=GRACE) as task:
            good = task.shell(TREES["deaf"], nodes="n[1-3]", transport="exec")
            await wait_line(good, times=3)
            broken = task.shell("anything", nodes="m[1-2]", transport=transport)
            broken.write(b"data")
            await wait_until(lambda: task.statistics().running == 5)
            transport.told.set()
            if where in ("end", "aclose"):
                await trio.testing.wait_all_tasks_blocked(0.01)
                broken.abort()
    assert caught.group_contains(OddError)
    assert mark.living() == []
