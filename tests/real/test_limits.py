"""Descriptors, processes and memory run out, or run for months: everything still runs."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Hashable
from pathlib import Path

import pytest
import trio

import trioshell
from tests.real.probes import Recorder, run_python, wait_until
from trioshell import Exited, Read, Task, Worker

FEW_DESCRIPTORS = """
import resource, sys, trio, trioshell
stderr = sys.argv[1] == "True"
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

async def main():
    async with trioshell.Task(fanout=64, transport="exec", stderr=stderr) as task:
        worker = task.shell("echo %h; echo e >&2; sleep 0.05", nodes="n[1-200]")
        other = task.shell(["echo", "%h"], nodes="m[1-50]", stdin=False)
    for w, nodes in ((worker, 200), (other, 50)):
        outcomes = {str(result.outcome) for result in w.results().values()}
        assert outcomes == {"exited with 0"}, outcomes
        assert len(w.results()) == nodes
        for node, result in w.results().items():
            expected = f"{node}\\n".encode() + (b"" if stderr or w is other else b"e\\n")
            assert result.stdout == expected, result
    print("all ran")

trio.run(main)
"""


@pytest.mark.parametrize("stderr", [False, True])
def test_a_limit_of_40_descriptors_with_a_fanout_of_64(stderr: bool) -> None:
    assert run_python(FEW_DESCRIPTORS, str(stderr)) == "all ran\n"


FULL_BY_OTHERS = """
import os, resource, trio, trioshell
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

async def main():
    async with trioshell.Task(transport="exec") as task:
        await task.run("true", nodes="n1")  # so that all that is imported late is there
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        first = task.shell("echo %h", nodes="n[1-5]", stdin=False)
        with trio.move_on_after(0.2):
            await first.wait()
        assert not first.closed
        for fd in taken:
            os.close(fd)
        await first.wait()
        print([str(result.outcome) for result in first.results().values()])

trio.run(main)
"""


def test_descriptors_that_the_program_itself_has_taken_are_waited_for() -> None:
    assert run_python(FULL_BY_OTHERS) == f"{['exited with 0'] * 5}\n"


FULL_FOR_EVER = """
import os, resource, time, trio, trioshell
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

async def main():
    async with trioshell.Task(transport="exec") as task:
        await task.run("true", nodes="n1")  # so that all that is imported late is there
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        began = time.monotonic()
        worker = await task.run("echo %h", nodes="n1", stdin=False)
        assert time.monotonic() - began < 15
        for fd in taken:
            os.close(fd)
        (result,) = worker.results().values()
        print(result.outcome)

trio.run(main)
"""


def test_a_node_for_which_there_is_never_a_descriptor_is_reported() -> None:
    said = run_python(FULL_FOR_EVER)
    assert said.startswith("not started: cannot start '/bin/sh': Too many open files"), said


FEW_PROCESSES = """
import os, resource, sys, trio, trioshell
import trioshell.transports._exec
from ClusterShell.NodeSet import NodeSet
resource.setrlimit(resource.RLIMIT_NPROC, (12, 12))
os.setgroups([])
os.setresgid(61234, 61234, 61234)
os.setresuid(61234, 61234, 61234)
os.chdir("/")

async def main():
    async with trioshell.Task(fanout=64, transport="exec") as task:
        worker = task.shell(["sh", "-c", "echo $0; exec sleep 0.05", "%h"], nodes="n[1-60]")
    outcomes = {str(result.outcome) for result in worker.results().values()}
    assert outcomes == {"exited with 0"}, outcomes
    assert [r.stdout for r in worker.results().values()] == [b"n%d\\n" % i for i in range(1, 61)]
    print("all ran")

trio.run(main)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_limit_of_processes_as_an_ordinary_user() -> None:
    assert run_python(FEW_PROCESSES) == "all ran\n"


NO_MORE_THREADS = FEW_PROCESSES.replace("(12, 12)", "(1, 1)").replace("all ran", "never")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_limit_of_one_process_is_reported_for_each_node() -> None:
    program = NO_MORE_THREADS.replace("n[1-60]", "n[1-3]").replace(
        'assert outcomes == {"exited with 0"}, outcomes', "print(sorted(outcomes)); return"
    )
    said = run_python(program)
    assert "not started: cannot start 'sh': Resource temporarily unavailable" in said


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def test_a_slow_handler_under_a_flood_keeps_memory_bounded_and_loses_nothing() -> None:
    # 50 MB of lines that number themselves, on two nodes at once.
    lines_a_node = 125_000
    counts = {"n1": 0, "n2": 0}
    most = 0

    class Slow:
        async def ev_read(self, worker: Worker, node: str, sname: str, msg: bytes) -> None:
            nonlocal most
            counts[node] += 1
            assert int(msg) == counts[node]
            if counts[node] % 10_000 == 0:
                await trio.sleep(0.005)
                most = max(most, resident_bytes())

    gc.collect()
    before = resident_bytes()
    worker = await trioshell.run(
        f"seq -f %%0199.f {lines_a_node}",
        "n[1-2]",
        transport="exec",
        handler=Slow(),
        gather=False,
        stdin=False,
    )
    assert counts == {"n1": lines_a_node, "n2": lines_a_node}
    assert {result.outcome for result in worker.results().values()} == {Exited(0)}
    assert most - before < 20_000_000


SLOW_CONSUMER = """
import os, resource, trio, trioshell
from trioshell import Read

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def main():
    taken = 0
    async with trioshell.Task(transport="exec") as task:
        worker = task.shell("yes a | head -n 80000", nodes="n[1-8]", gather=False, stdin=False)
        before = most = resident()
        async for event in worker.events():
            if isinstance(event, Read):
                taken += 1
                if taken % 50000 == 0:
                    await trio.sleep(0.1)
                    most = max(most, resident())
    assert taken == 8 * 80000
    print((most - before) // 1000000)

trio.run(main)
"""


def test_a_slow_consumer_of_very_short_lines_keeps_memory_bounded() -> None:
    # Of two bytes each a line is: as events they are fifty times as large.
    assert int(run_python(SLOW_CONSUMER)) < 45


async def test_a_stuck_handler_stops_the_writer_itself() -> None:
    told, go = trio.Event(), trio.Event()

    class Stuck:
        async def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
            if not told.is_set():
                self.pid = int(msg)
                told.set()
                await go.wait()

    def written() -> int:
        counters = Path(f"/proc/{handler.pid}/io").read_text()
        return int(counters.split("wchar: ")[1].split()[0])

    async with Task(kill_grace=0.1) as task:
        handler = Stuck()
        worker = task.shell(
            f"echo $$; exec yes {'x' * 200}", handler=handler, gather=False, stdin=False
        )
        await told.wait()
        before = -1
        with trio.fail_after(20):
            while before != written():  # until it stands still
                before = written()
                await trio.sleep(0.05)
        assert written() < 6_000_000
        worker.abort()
        go.set()


async def test_workers_one_after_another_leave_nothing_when_results_are_not_kept() -> None:
    gone: list[weakref.ref[Worker]] = []
    objects = []

    async def one(task: Task, number: int) -> None:
        class Handler(Recorder):
            pass

        nodes = None if number % 2 else "n[1-2]"
        worker = task.shell("echo x; cat", nodes=nodes, transport="exec", handler=Handler())
        events = worker.events()
        worker.write(b"line\n")
        worker.set_write_eof()
        assert sum([isinstance(event, Read) async for event in events]) in (2, 4)
        gone.append(weakref.ref(worker))

    async with Task(keep_results=False, transport="exec") as task:
        for number in range(200):
            await one(task, number)
            if number in (60, 199):
                gc.collect()
                objects.append((len(gc.get_objects()), len(os.listdir("/proc/self/fd"))))
        assert sum(ref() is not None for ref in gone) <= 1
    (objects_early, fds_early), (objects_late, fds_late) = objects
    assert fds_late == fds_early
    assert objects_late - objects_early < 300  # 140 workers later: not two objects each


async def test_timers_one_after_another_leave_nothing() -> None:
    class Tick:
        def ev_timer(self, timer: object) -> None:
            gone.append(weakref.ref(timer))

    gone: list[weakref.ref[object]] = []
    async with Task(keep_results=False) as task:
        for _ in range(50):
            task.timer(0, Tick())
        await task.run("true", stdin=False)
        await wait_until(lambda: len(gone) == 50 and not task.statistics().valid_timers)
        gc.collect()
        assert sum(ref() is not None for ref in gone) <= 1


async def test_many_nodes_that_say_the_same_share_one_copy() -> None:
    async with Task(transport="exec") as task:
        worker = task.shell("head -c 100000 /dev/zero", nodes="n[1-200]", stdin=False)
    ids = {id(result.stdout) for result in worker.results().values()}
    assert len(ids) == 1


async def test_a_raising_handler_under_a_flood_keeps_few_errors() -> None:
    class Fail:
        def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
            raise ValueError(msg)

    with pytest.raises(ExceptionGroup) as caught:
        async with Task(kill_grace=0.1) as task:
            task.shell("yes", handler=Fail(), gather=False)
    assert 1 <= len(caught.value.exceptions) <= 100
