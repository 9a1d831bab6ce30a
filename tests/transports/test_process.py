"""A local command as a session: its output, its input, and that nothing of it is left."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from trioshell._errors import SpawnError
from trioshell._results import Exited, Signaled, Unreachable
from trioshell.transports import ExecTransport, Job, Session
from trioshell.transports._process import DRAIN_SECONDS
from trioshell.transports._sessions import SessionTable


@asynccontextmanager
async def opened(
    command: str | tuple[str, ...], *, stdin: bool = False, stderr: bool = False
) -> AsyncIterator[Session]:
    async with ExecTransport() as transport:
        session = await transport.open(Job(command, stdin=stdin, stderr=stderr), "here", 0)
        try:
            yield session
        finally:
            await session.aclose()


async def read_all(session: Session) -> dict[str, bytes]:
    streams: dict[str, list[bytes]] = {}
    with trio.fail_after(10):
        while chunks := await session.receive():
            for sname, data in chunks:
                assert data
                streams.setdefault(sname, []).append(data)
    return {sname: b"".join(parts) for sname, parts in streams.items()}


async def read_until(session: Session, wanted: bytes) -> bytes:
    got = b""
    with trio.fail_after(10):
        while wanted not in got:
            chunks = await session.receive()
            assert chunks, f"ended with {session.exit} after {got!r}"
            got += b"".join(data for _, data in chunks)
    return got


async def test_output_and_exit() -> None:
    async with opened("printf 'a\\nb'; exit 3") as session:
        assert await read_all(session) == {"stdout": b"a\nb"}
        assert session.exit == Exited(3)


async def test_stderr_apart_and_merged() -> None:
    async with opened("echo out; echo err >&2", stderr=True) as session:
        assert await read_all(session) == {"stdout": b"out\n", "stderr": b"err\n"}
    async with opened("echo out; echo err >&2; echo more") as session:
        assert await read_all(session) == {"stdout": b"out\nerr\nmore\n"}


async def test_a_vector_is_read_by_no_shell() -> None:
    async with opened(("printf", "%s|", "$HOME", "a b", "")) as session:
        assert await read_all(session) == {"stdout": b"$HOME|a b||"}


async def test_killed_by_a_signal() -> None:
    async with opened("kill -SEGV $$") as session:
        await read_all(session)
        assert session.exit == Signaled(signal.SIGSEGV)


async def test_what_cannot_be_found_is_not_started() -> None:
    async with ExecTransport() as transport:
        with pytest.raises(SpawnError, match="cannot start '/no/such': No such file"):
            await transport.open(Job(("/no/such",)), "here", 0)
        with pytest.raises(SpawnError, match="cannot start '/etc/passwd': Permission denied"):
            await transport.open(Job(("/etc/passwd",)), "here", 0)


async def test_the_child_has_a_session_and_three_descriptors_of_its_own() -> None:
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        async with opened("ls /proc/$$/fd; ps -o sid=,pgid= -p $$; echo $$") as session:
            lines = (await read_all(session))["stdout"].split()
    finally:
        os.close(leaked)
    *fds, sid, pgid, pid = (int(line) for line in lines)
    assert fds == [0, 1, 2]
    assert sid == pgid == pid
    assert sid != os.getsid(0)


async def test_signals_are_at_their_defaults() -> None:
    async with opened("grep SigIgn /proc/self/status") as session:
        ignored = int((await read_all(session))["stdout"].split()[1], 16)
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        assert not ignored & 1 << signum - 1


async def test_stdin_is_written_and_ended() -> None:
    async with opened("cat; echo end", stdin=True) as session, trio.open_nursery() as nursery:
        data = bytes(range(256)) * 4096

        async def write() -> None:
            await session.send(data)
            await session.send_eof()
            await session.send_eof()

        nursery.start_soon(write)
        assert (await read_all(session))["stdout"] == data + b"end\n"


async def test_who_reads_no_stdin_breaks_the_writing_and_not_the_run() -> None:
    async with opened("exec 0<&-; echo closed; read x <&1 || exit 5", stdin=True) as session:
        await read_until(session, b"closed")
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(10):
            await session.send(b"x" * 1_000_000)
        with pytest.raises(trio.BrokenResourceError):
            await session.send(b"x")
        await session.end(0)


async def test_without_stdin_there_is_nothing_to_read() -> None:
    async with opened("cat; echo end") as session:
        assert await read_all(session) == {"stdout": b"end\n"}


async def test_a_cancelled_receive_has_consumed_nothing() -> None:
    async with opened("read x; printf abc", stdin=True) as session:
        with trio.move_on_after(0.01) as scope:
            await session.receive()
        assert scope.cancelled_caught
        await session.send(b"\n")
        assert await read_all(session) == {"stdout": b"abc"}


async def test_the_exit_ends_a_run_and_not_the_end_of_its_output() -> None:
    async with opened("sleep 30 & echo $!") as session:
        begin = trio.current_time()
        pid = int((await read_all(session))["stdout"])
        assert trio.current_time() - begin < 2
        assert session.exit == Exited(0)
    # What it left in the background on purpose is left alone.
    os.kill(pid, signal.SIGKILL)


async def test_last_words_of_the_background_are_heard_for_a_moment() -> None:
    async with opened(f"(sleep {DRAIN_SECONDS / 4}; echo late) & echo soon") as session:
        assert (await read_all(session))["stdout"] == b"soon\nlate\n"


async def test_a_background_that_floods_does_not_hold_the_end_up() -> None:
    async with opened("yes &", stderr=True) as session:
        begin = trio.current_time()
        streams = await read_all(session)
        assert trio.current_time() - begin < 2
        assert session.exit == Exited(0)
    # It has been ended by SIGPIPE, as behind any reader that goes away: it is in no table soon.
    with trio.fail_after(10):
        while SessionTable().members(session.pid, trio.current_time()):  # type: ignore[attr-defined]  # noqa: ASYNC110
            await trio.sleep(0.01)  # nobody tells of a grandchild's death
    assert streams["stdout"].startswith(b"y\n")


async def test_output_that_is_closed_early_is_not_the_end() -> None:
    async with opened("exec >&- 2>&-; read x; exit 7", stdin=True) as session:
        with trio.move_on_after(0.05) as scope:
            await session.receive()
        assert scope.cancelled_caught
        await session.send(b"\n")
        assert await read_all(session) == {}
        assert session.exit == Exited(7)


async def test_the_end_reaches_everything_and_hears_last_words() -> None:
    command = (
        "trap 'echo bye; exit 0' TERM; "
        "(trap '' TERM; sleep 60) & timeout 60 sleep 60 & "  # one that ignores, a group apart
        "echo ready; while :; do wait; done"
    )
    async with opened(command) as session:
        await read_until(session, b"ready\n")
        async with trio.open_nursery() as nursery:
            heard: list[bytes] = []

            async def listen() -> None:
                heard.append((await read_all(session)).get("stdout", b""))

            nursery.start_soon(listen)
            begin = trio.current_time()
            await session.end(0.3)
            assert 0.3 <= trio.current_time() - begin < 2
        assert heard == [b"bye\n"]
        assert session.exit is None


async def test_the_end_is_soon_when_all_obey() -> None:
    async with opened("sleep 60 | sleep 60 & echo ready; wait") as session:
        await read_until(session, b"ready")
        begin = trio.current_time()
        await session.end(30)
        assert trio.current_time() - begin < 5
        assert session.exit is None


async def test_what_is_stopped_is_ended_too() -> None:
    async with opened("echo ready; kill -STOP $$") as session:
        await read_until(session, b"ready")
        begin = trio.current_time()
        await session.end(30)
        assert trio.current_time() - begin < 5


async def test_what_had_ended_by_itself_is_not_ended_again() -> None:
    async with opened("sleep 30 & echo $!; exit 4") as session:
        pid = int(await read_until(session, b"\n"))
        with trio.fail_after(10):
            while SessionTable().members(session.pid, trio.current_time()) != [pid]:  # type: ignore[attr-defined]  # noqa: ASYNC110
                await trio.sleep(0.001)  # as above
        await session.end(0)
        assert session.exit == Exited(4)
        os.kill(pid, signal.SIGKILL)  # it lives: a daemon is left alone


async def test_closing_ends_what_still_runs() -> None:
    async with opened("trap '' TERM; echo ready; sleep 60 & wait") as session:
        await read_until(session, b"ready")
    assert SessionTable().members(session.pid, trio.current_time()) == []  # type: ignore[attr-defined]


async def test_a_status_that_somebody_else_has_taken_is_said_to_be_unknown() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        async with opened("echo x") as session:
            assert await read_all(session) == {"stdout": b"x\n"}
            assert isinstance(session.exit, Unreachable)
            assert "exit status was taken" in session.exit.reason
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_the_end_when_somebody_else_reaps() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        async with opened("echo ready; sleep 60") as session:
            await read_until(session, b"ready")
            with trio.fail_after(10):
                await session.end(1)
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_who_finds_no_descriptor_waits_for_another_to_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = os.pipe
    refused = 0

    def pipe() -> tuple[int, int]:
        nonlocal refused
        if refused < 3:
            refused += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real()

    monkeypatch.setattr(os, "pipe", pipe)
    async with opened("echo x") as session:
        assert await read_all(session) == {"stdout": b"x\n"}
    assert refused == 3


async def test_who_never_finds_a_descriptor_gives_up_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pipe() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with ExecTransport() as transport:
        monkeypatch.setattr(os, "pipe", pipe)
        with pytest.raises(SpawnError, match="Too many open files"), trio.fail_after(10):
            await transport.open(Job("echo x"), "here", 0)
