"""Inside programs with habits of their own: signals, waits, closed streams, several runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio

import trioshell
from tests.real.probes import Mark, python, run_python

# A program in which SIGCHLD is ignored has its zombies buried by the kernel, with their status.
SIGCHLD_IGNORED = """
import signal, trio, trioshell
signal.signal(signal.SIGCHLD, signal.SIG_IGN)

async def main():
    with trio.fail_after(20):
        async with trioshell.Task(transport="exec", kill_grace=0.1) as task:
            worker = task.shell("echo %h; exit 3", nodes="n[1-3]", stdin=False)
            late = task.shell("trap '' TERM; echo ready; sleep 61 & sleep 61", timeout=0.2)
            # So short that some are gone before anybody can look at them.
            short = task.shell(["true"], nodes="m[1-200]", stdin=False)
    assert len(short.results()) == 200
    print([str(r.outcome) for r in worker.results().values()])
    print([r.stdout for r in worker.results().values()])
    print([str(r.outcome) for r in late.results().values()])

trio.run(main)
"""


def test_sigchld_ignored_by_the_program(mark: Mark) -> None:
    outcomes, outputs, late = run_python(SIGCHLD_IGNORED).splitlines()
    # What it exited with is lost; that it ended, and what it said, is not.
    assert outcomes.count("exit status was taken by somebody else") == 3
    assert outputs == str([b"n1\n", b"n2\n", b"n3\n"])
    assert late == "['timed out after 0.2 s']"
    assert mark.living() == []


SOMEBODY_ELSE_WAITS = """
import os, threading, time, trio, trioshell

def reap():
    while not stop.is_set():
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.0005)

async def main():
    with trio.fail_after(20):
        async with trioshell.Task(transport="exec", kill_grace=0.1) as task:
            worker = task.shell("echo %h", nodes="n[1-50]", stdin=False)
            short = task.shell(["true"], nodes="k[1-200]", stdin=False)
            late = task.shell("echo ready; sleep 61 & sleep 61", nodes="m[1-5]", timeout=0.3)
    assert [r.stdout for r in worker.results().values()] == [b"n%d\\n" % i for i in range(1, 51)]
    results = [*worker.results().values(), *short.results().values()]
    kinds = {str(r.outcome).split(":")[0] for r in results}
    assert kinds <= {"exited with 0", "unreachable"}, kinds
    print(len(short.results()), [str(r.outcome) for r in late.results().values()])

stop = threading.Event()
thread = threading.Thread(target=reap, daemon=True)
thread.start()
trio.run(main)
stop.set()
thread.join()
"""


def test_somebody_else_in_the_program_waits_for_every_child(mark: Mark) -> None:
    said = run_python(SOMEBODY_ELSE_WAITS, seconds=30)
    assert said == f"200 {['timed out after 0.3 s'] * 5}\n"
    assert mark.living() == []


NO_STREAMS = """
import os, sys
report = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
report = __import__("fcntl").fcntl(report, 1030, 10)  # F_DUPFD_CLOEXEC, out of the way
for fd in range(3, 10):
    try:
        os.close(fd)
    except OSError:
        pass
for fd in (0, 1, 2):
    os.close(fd)
import trio, trioshell

async def main():
    with trio.fail_after(20):
        async with trioshell.Task(transport="exec", stderr=True) as task:
            worker = task.shell("echo %h; echo err >&2; cat", nodes="n[1-20]")
            worker.write(b"in\\n")
            worker.set_write_eof()
            none = task.shell("cat; echo none", stdin=False)
    for node, result in worker.results().items():
        assert result.stdout == f"{node}\\nin\\n".encode(), result
        assert result.stderr == b"err\\n", result
        assert result.rc == 0
    (result,) = none.results().values()
    assert result.stdout == b"none\\n", result

try:
    trio.run(main)
    os.write(report, b"well")
except BaseException as exc:
    os.write(report, repr(exc).encode())
"""


def test_a_program_whose_standard_streams_are_closed(tmp_path: Path) -> None:
    report = tmp_path / "report"
    done = python(NO_STREAMS, str(report))
    assert report.read_text() == "well", done


def test_several_runs_in_one_process() -> None:
    async def main() -> bytes:
        worker = await trioshell.run("echo %h; cat", "n[1-3]", transport="exec")
        return b"".join(result.stdout for result in worker.results().values())

    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(10):
        assert trio.run(main) == b"n1\nn2\nn3\n"
        assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


def test_a_run_inside_a_thread_of_its_own() -> None:
    async def main() -> bytes:
        return bytes((await trioshell.run("echo in a thread")).read())

    async def outer() -> list[bytes]:
        said: list[bytes] = []

        async def one() -> None:
            said.append(await trio.to_thread.run_sync(trio.run, main))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
        return said

    assert trio.run(outer) == [b"in a thread"] * 3


INTERRUPTED = """
import sys, trio, trioshell

class Show:
    def ev_read(self, worker, node, sname, msg):
        print(msg.decode(), flush=True)

async def main():
    async with trioshell.Task(kill_grace=0.2, transport="exec") as task:
        task.shell("trap '' TERM INT; echo ready; sleep 61 & sleep 61", nodes="n1", handler=Show())

try:
    trio.run(main)
except* KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_an_interrupt_from_the_keyboard_leaves_nothing(mark: Mark) -> None:
    root = str(Path(trioshell.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        env={**os.environ, "PYTHONPATH": root},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        said, complaints = program.communicate(timeout=20)
    assert (said, complaints, program.returncode) == ("interrupted\n", "", 0)
    assert mark.living() == []


INTERRUPTS = """
import os, random, signal, sys, threading, trio, trioshell

class Tell:
    def ev_read(self, worker, node, sname, msg):
        pass

async def main():
    async with trioshell.Task(kill_grace=0.1, transport="exec") as task:
        for _ in range(20):
            await task.run("echo %h; sleep 0.01", nodes="n[1-8]", handler=Tell(), stdin=False)

threading.Timer(float(sys.argv[1]), signal.raise_signal, [signal.SIGINT]).start()
try:
    trio.run(main)
except* KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.09])
def test_an_interrupt_in_the_midst_of_the_work_is_nothing_but_an_interrupt(
    seconds: float, mark: Mark
) -> None:
    assert run_python(INTERRUPTS, str(seconds)) == "interrupted\n"
    assert mark.living() == []


async def test_inside_a_test_of_pytest_trio_with_other_children_around() -> None:
    # Trio's own processes and ours do not take each other's statuses.
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(["sh", "-c", "exit 7"])
        nursery.start_soon(trioshell.run, "exit 3")
        await process.wait()
    assert process.returncode == 7
    assert subprocess.run(["sh", "-c", "exit 6"], check=False).returncode == 6


async def test_children_of_the_program_itself_are_not_touched(mark: Mark) -> None:
    other = subprocess.Popen(["sleep", "61"])
    try:
        async with trioshell.Task(kill_grace=0.1) as task:
            task.shell("sleep 61", timeout=0.1)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
