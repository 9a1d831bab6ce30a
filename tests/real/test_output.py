"""What commands write comes back whole: every byte, every line, in order, whatever ends it."""

from __future__ import annotations

import os
import random
import resource
import signal
from pathlib import Path

import pytest
import trio

import trioshell
from tests.real.probes import (
    AT_ONCE_SECONDS,
    Mark,
    Recorder,
    check_order,
    is_alive,
    kill,
    only,
    state_of,
    wait_until,
)
from trioshell import Exited, Task, TimedOut, Worker


async def lines_of(command: str) -> list[bytes]:
    recorder = Recorder()
    worker = await trioshell.run(command, handler=recorder, stdin=False)
    check_order(recorder)
    assert list(worker.read()) == recorder.lines()
    return recorder.lines()


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (r"a\rb\nc\rd\n", [b"a\rb", b"c\rd"]),
        (r"10%%\r50%%\r100%%\n", [b"10%\r50%\r100%"]),
        (r"a\r\nb\r\n", [b"a", b"b"]),
        (r"a\r\r\nb\n", [b"a\r", b"b"]),
        (r"\r\n\r\r\n", [b"", b"\r"]),
        (r"a\n\rb\n", [b"a", b"\rb"]),
        (r"a\nlast", [b"a", b"last"]),
        (r"last", [b"last"]),
        (r"\n\n", [b"", b""]),
        (r"a\v\f\034\205\nb\n", [b"a\v\f\x1c\x85", b"b"]),
        (r"", []),
    ],
)
async def test_lines_are_cut_at_newlines_only(written: str, lines: list[bytes]) -> None:
    assert await lines_of(f"printf '{written}'") == lines


async def test_a_last_line_keeps_its_carriage_return_in_the_raw_output() -> None:
    worker = await trioshell.run(r"printf 'a\r\nb\r\r\nc\r'")
    assert only(worker).stdout == b"a\r\nb\r\r\nc\r"


@pytest.mark.parametrize("pieces", [(b"a\r", b"\nb\n"), (b"a", b"\r", b"\n", b"b\n"), (b"a\r\nb",)])
async def test_lines_do_not_depend_on_the_chunks(pieces: tuple[bytes, ...]) -> None:
    # It writes the next piece when we have seen the one before.
    program = "; ".join(
        f"printf '{os.fsdecode(piece).encode('unicode_escape').decode()}'; echo next >&2; read -r x"
        for piece in pieces
    )

    class Ask(Recorder):
        def ev_read(self, worker: Worker, node: object, sname: str, msg: bytes) -> None:
            super().ev_read(worker, node, sname, msg)
            if sname == "stderr":
                worker.write(b"\n")

    recorder = Ask()
    with trio.fail_after(AT_ONCE_SECONDS):
        await trioshell.run(program, handler=recorder, stderr=True)
    assert recorder.lines() == [b"a", b"b"]


async def test_every_byte_comes_back(tmp_path: Path) -> None:
    data = bytes(range(256)) * 3 + b"\xff\xfe\x00\n\x00\x00\n\xc3\x28 caf\xe9\n"
    (tmp_path / "bytes").write_bytes(data)
    recorder = Recorder()
    worker = await trioshell.run(["cat", str(tmp_path / "bytes")], handler=recorder, stdin=False)
    assert only(worker).stdout == data
    assert recorder.lines() == data.removesuffix(b"\n").split(b"\n")
    assert worker.read() == data.removesuffix(b"\n")


async def test_much_output_of_several_nodes_is_whole_and_in_order(tmp_path: Path) -> None:
    chance = random.Random(1)
    expected = {}
    for node in ("n1", "n2", "n3"):
        data = b"\n".join(chance.randbytes(chance.randrange(3000)) for _ in range(1000))
        (tmp_path / node).write_bytes(data)
        expected[node] = data
    recorder = Recorder()
    worker = await trioshell.run(
        ["cat", f"{tmp_path}/%h"], "n[1-3]", transport="exec", handler=recorder, stdin=False
    )
    assert {node: result.stdout for node, result in worker.results().items()} == expected
    for node, data in expected.items():
        lines = [line.removesuffix(b"\r") for line in data.removesuffix(b"\n").split(b"\n")]
        assert recorder.lines(node=node) == lines


def own_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def seconds_for_a_line_of(megabytes: int) -> float:
    size = megabytes * 1_000_000
    best = float("inf")
    for _ in range(3):
        recorder = Recorder()
        before = own_seconds()
        await trioshell.run(f"head -c {size} /dev/zero", handler=recorder, stdin=False)
        best = min(best, own_seconds() - before)
        assert [len(line) for line in recorder.lines()] == [size]
    return best


async def test_a_huge_line_without_newline_takes_linear_time() -> None:
    # Own CPU time, not that of the clock. Four times the line: linear is 4, quadratic is 16.
    small = await seconds_for_a_line_of(5)
    large = await seconds_for_a_line_of(20)
    assert large < 8 * max(small, 0.02)


async def test_a_huge_line_is_whole() -> None:
    script = "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo end"
    recorder = Recorder()
    await trioshell.run(script, handler=recorder, stdin=False)
    huge, end = recorder.lines()
    assert huge == b"x" * 10_000_000
    assert end == b"end"


async def test_merged_stderr_keeps_the_order_of_writing() -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done"
    expected = [f"{kind}{i}".encode() for i in range(300) for kind in "oe"]
    recorder = Recorder()
    worker = await trioshell.run(script, handler=recorder, stdin=False)
    assert recorder.lines() == expected
    assert recorder.lines("stderr") == []
    assert only(worker).stderr == b""


async def test_stderr_apart_is_whole_on_its_own() -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done; printf x >&2"
    recorder = Recorder()
    worker = await trioshell.run(script, handler=recorder, stdin=False, stderr=True)
    assert recorder.lines() == [b"o%d" % i for i in range(300)]
    assert recorder.lines("stderr") == [*(b"e%d" % i for i in range(300)), b"x"]
    assert only(worker).stderr == b"".join(b"e%d\n" % i for i in range(300)) + b"x"
    assert worker.current_errmsg == b"x"
    assert worker.current_msg == b"o299"


async def test_a_command_that_closes_its_output_early_goes_on_and_freezes_nobody() -> None:
    async with Task(transport="exec") as task:
        early = task.shell("echo first; exec >&- 2>&-; read -r x; exit 3", stderr=True)
        with trio.fail_after(AT_ONCE_SECONDS):
            other = await task.run("echo other; exit 4", stdin=False)
        assert not early.closed
        early.write(b"go\n")
    assert only(other).outcome == Exited(4)
    assert only(other).stdout == b"other\n"
    assert only(early).outcome == Exited(3)
    assert only(early).stdout == b"first\n"


async def test_a_command_that_closes_its_output_early_can_time_out() -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        worker = await trioshell.run("echo a; exec >&- 2>&-; sleep 60", timeout=0.3)
    assert only(worker).outcome == TimedOut(0.3)
    assert only(worker).stdout == b"a\n"


@pytest.mark.parametrize("stderr", [False, True])
async def test_a_grandchild_that_holds_the_output_delays_nobody(mark: Mark, stderr: bool) -> None:
    with trio.fail_after(2):
        worker = await trioshell.run("sleep 60 & echo $!", stderr=stderr)
    pid = int(bytes(worker.read()))
    assert only(worker).outcome == Exited(0)
    assert is_alive(pid)  # left alone: the command has put it there on purpose
    kill(pid)


async def test_a_grandchild_that_floods_the_output_delays_nobody(mark: Mark) -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        worker = await trioshell.run("yes & exit 5", gather=False)
    assert only(worker).outcome == Exited(5)


async def test_a_daemon_survives_the_end_of_its_command_and_of_the_task(mark: Mark) -> None:
    async with Task(transport="exec") as task:
        worker = task.shell("nohup sleep 60 >/dev/null 2>&1 & echo $!", nodes="n[1-2]")
    pids = [int(result.stdout) for result in worker.results().values()]
    assert [is_alive(pid) for pid in pids] == [True, True]
    for pid in pids:
        kill(pid)


async def test_a_daemon_survives_an_abort_that_comes_after_its_command(mark: Mark) -> None:
    # The handler holds the end up, until the command is dead and yet not reported.
    class AbortLate(Recorder):
        async def ev_read(  # type: ignore[override]
            self, worker: Worker, node: object, sname: str, msg: bytes
        ) -> None:
            self.leader, self.daemon = map(int, msg.split())
            await wait_until(lambda: state_of(self.leader) in ("Z", ""))
            worker.abort()

    handler = AbortLate()
    worker = await trioshell.run("sleep 60 & echo $$ $!", handler=handler, stdin=False)
    assert only(worker).outcome == Exited(0)
    assert is_alive(handler.daemon)
    kill(handler.daemon)


async def test_what_lay_in_the_pipe_at_the_end_is_delivered_to_a_slow_reader(mark: Mark) -> None:
    # 60 000 bytes fit into the pipe: the command is dead long before the handler reads on.
    class Wait(Recorder):
        async def ev_read(  # type: ignore[override]
            self, worker: Worker, node: object, sname: str, msg: bytes
        ) -> None:
            super().ev_read(worker, node, sname, msg)
            if msg.startswith(b"pids"):
                _, leader, self.daemon = msg.split()
                await wait_until(lambda: state_of(int(leader)) in ("Z", ""))

    handler = Wait()
    script = "sleep 60 & echo pids $$ $!; head -c 60000 /dev/zero | tr '\\0' 'x'; printf last"
    worker = await trioshell.run(script, handler=handler, stdin=False)
    kill(int(handler.daemon))
    assert only(worker).outcome == Exited(0)
    assert handler.lines()[1:] == [b"x" * 60000 + b"last"]


async def test_sigpipe_is_at_its_default_in_commands() -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        worker = await trioshell.run("yes | head -1; cat /proc/self/status", stderr=True)
    assert only(worker).stderr == b""
    status = dict(line.split(b":\t", 1) for line in list(worker.read())[1:])
    ignored = int(status[b"SigIgn"], 16)
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        assert not ignored & 1 << (signum - 1)
    assert int(status[b"SigBlk"], 16) == 0


async def test_a_blocked_signal_is_not_inherited() -> None:
    # A program with signal-handling threads blocks signals; its commands must be killable.
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        worker = await trioshell.run(["grep", "^SigBlk", "/proc/self/status"])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    assert int(bytes(worker.read()).split()[1], 16) == 0


async def test_a_command_has_three_descriptors_whatever_the_program_has() -> None:
    read, write = os.pipe()
    os.set_inheritable(read, True)
    os.set_inheritable(write, True)
    try:
        # The fourth is ls's own, on the directory.
        worker = await trioshell.run(["ls", "/proc/self/fd"], stderr=True, stdin=True)
    finally:
        os.close(read)
        os.close(write)
    assert list(worker.read()) == [b"0", b"1", b"2", b"3"]


async def test_a_command_leads_a_session_and_a_process_group() -> None:
    worker = await trioshell.run("echo $$; cat /proc/$$/stat")
    pid, stat = worker.read()
    _parent, group, session = stat.rpartition(b")")[2].split()[1:4]
    assert pid == group == session


async def test_environment_and_directory_are_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIOSHELL_ODD", "a b\nc=\udcff")
    worker = await trioshell.run('pwd; printf %s "$TRIOSHELL_ODD"')
    assert only(worker).stdout == os.fsencode(f"{tmp_path}\n") + b"a b\nc=\xff"


async def test_a_program_is_looked_up_in_the_path_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "trioshell-odd-tool"
    tool.write_text('#!/bin/sh\necho found "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    worker = await trioshell.run(["trioshell-odd-tool", "a b", "*", "$HOME", ""])
    assert bytes(worker.read()) == b"found a b * $HOME "


async def test_output_without_gathering_is_told_and_not_kept() -> None:
    recorder = Recorder()
    worker = await trioshell.run("echo a; printf b", handler=recorder, gather=False, stdin=False)
    assert recorder.lines() == [b"a", b"b"]
    assert only(worker).stdout == b""
    assert worker.read() == b""


async def test_an_empty_command_output_is_an_empty_message() -> None:
    worker = await trioshell.run("true", "n[1-2]", transport="exec")
    assert isinstance(worker, trioshell.DistantWorker)
    assert list(worker.iter_buffers()) == []
    assert worker.node_buffer("n1") == b""
    assert list(worker.node_buffer("n1")) == []
