"""SimulatedTransport: every promise of a Session, at exact virtual times."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from trioshell._errors import SpawnError, TransportError
from trioshell._results import Exited, Signaled, Unreachable
from trioshell.testing import (
    Break,
    CloseOutput,
    CloseStdin,
    ListProcesses,
    ReadStdin,
    Script,
    SimulatedTransport,
    simulate,
)
from trioshell.transports._base import Command, Copy, Job, Session

Main = Callable[[], Awaitable[None]]


def virtual(main: Main) -> Callable[[], None]:
    """The test `main` run by `simulate`, since @given and pytest-trio's clock do not mix."""

    def test() -> None:
        simulate(main)

    test.__doc__ = main.__doc__
    return test


@asynccontextmanager
async def opened(
    script: Script,
    *,
    stdin: bool = False,
    stderr: bool = False,
    transport: SimulatedTransport | None = None,
    **keywords: Any,
) -> AsyncIterator[Session]:
    transport = SimulatedTransport(script, **keywords) if transport is None else transport
    session = await transport.open(Job("x", None, stdin=stdin, stderr=stderr), "n1", 0)
    try:
        yield session
    finally:
        await session.aclose()


async def arrivals(session: Session) -> list[tuple[float, str, bytes]]:
    """Everything until the run is over, each chunk with the time of its coming; then the end."""
    came: list[tuple[float, str, bytes]] = []
    while chunks := await session.receive():
        came.extend((trio.current_time(), sname, data) for sname, data in chunks)
    came.append((trio.current_time(), "", b""))
    return came


async def output(session: Session) -> bytes:
    return b"".join([data for _, _, data in await arrivals(session)])


# Output and exits


@virtual
async def test_the_default_exits_at_once_without_output() -> None:
    async with opened(Script()) as session:
        before = session.exit
        assert before is None
        assert await session.receive() == ()
        assert session.exit == Exited(0)
        assert await session.receive() == ()
        assert trio.current_time() == 0


@virtual
async def test_each_chunk_comes_at_its_time_on_its_stream() -> None:
    script = Script((b"a", 1.5, ("stderr", b"b"), ("stdout", b"c"), 2.0, b"d", 0.5), rc=3)
    async with opened(script, stderr=True) as session:
        assert await arrivals(session) == [
            (0, "stdout", b"a"),
            (1.5, "stderr", b"b"),
            (1.5, "stdout", b"c"),
            (3.5, "stdout", b"d"),
            (4.0, "", b""),
        ]
        assert session.exit == Exited(3)


@virtual
async def test_merged_output_is_one_stream_in_the_order_of_writing() -> None:
    async with opened(Script((b"a", ("stderr", b"b"), b"c"))) as session:
        assert await arrivals(session) == [
            (0, "stdout", b"a"),
            (0, "stdout", b"b"),
            (0, "stdout", b"c"),
            (0, "", b""),
        ]


@virtual
async def test_an_empty_write_is_never_a_chunk() -> None:
    async with opened(Script((b"", ("stderr", b""), b"x")), stderr=True) as session:
        assert await session.receive() == [("stdout", b"x")]


@virtual
async def test_a_signal_that_is_not_ours() -> None:
    async with opened(Script((b"x", 1.0), signum=11)) as session:
        assert await output(session) == b"x"
        assert session.exit == Signaled(11)


@virtual
async def test_exit_is_known_before_the_output_is_read() -> None:
    async with opened(Script((b"x", 1.0), rc=4)) as session:
        await trio.sleep(1)
        assert await session.receive() == [("stdout", b"x")]
        assert session.exit == Exited(4)


@virtual
async def test_a_hang_lasts_for_ever() -> None:
    async with opened(Script((b"x", math.inf))) as session:
        assert await session.receive() == [("stdout", b"x")]
        with trio.move_on_after(1e9) as scope:
            await session.receive()
        assert scope.cancelled_caught
        assert session.exit is None


@virtual
async def test_a_broken_connection_keeps_what_came_before() -> None:
    script = Script((b"half", 2.0, b" more", Break("link is down")))
    async with opened(script, stdin=True) as session:
        assert await arrivals(session) == [
            (0, "stdout", b"half"),
            (2.0, "stdout", b" more"),
            (2.0, "", b""),
        ]
        assert session.exit == Unreachable("link is down")
        with pytest.raises(trio.BrokenResourceError):
            await session.send(b"x")
        with pytest.raises(TransportError, match=r"link is down; .* may still be running"):
            await session.end(1.0)


# Opening


@virtual
async def test_connecting_takes_its_time_and_the_steps_count_from_then() -> None:
    async with opened(Script((1.0, b"x"), connect=2.5)) as session:
        assert trio.current_time() == 2.5
        assert (await arrivals(session))[0] == (3.5, "stdout", b"x")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (Script(connect=3.0, unreachable="no route to host"), TransportError),
        (Script(connect=3.0, not_started="no such file"), SpawnError),
    ],
)
def test_a_failure_to_open_comes_after_the_connect_time(
    script: Script, error: type[TransportError]
) -> None:
    async def main() -> None:
        transport = SimulatedTransport(script)
        with pytest.raises(TransportError) as caught:
            await transport.open(Job("x"), "n1", 0)
        assert type(caught.value) is error
        assert caught.value.reason == (script.unreachable or script.not_started)
        assert trio.current_time() == 3.0
        (record,) = transport.records("n1")
        assert (record.opened_at, record.started_at, record.error) == (0, None, str(caught.value))
        assert transport.statistics().failed == 1

    simulate(main)


@virtual
async def test_opening_can_be_cancelled_and_leaves_nothing() -> None:
    transport = SimulatedTransport(Script(connect=math.inf))
    with trio.move_on_after(7.0) as scope:
        await transport.open(Job("x"), "n1", 0)
    assert scope.cancelled_caught
    statistics = transport.statistics()
    assert (statistics.opening, statistics.open, statistics.failed) == (0, 0, 1)
    assert transport.records()[0].error == "cancelled"


# The promises of receive


@virtual
async def test_a_cancelled_receive_has_consumed_nothing() -> None:
    async with opened(Script((b"a", 1.0, b"b", 1.0, b"c"))) as session:
        came: list[tuple[str, bytes]] = []
        for tick in range(40):
            with trio.CancelScope(deadline=trio.current_time() + 0.125) as scope:
                if tick % 3 == 0:
                    scope.cancel()
                came.extend(await session.receive())
        assert [data for _, data in came] == [b"a", b"b", b"c"]


@virtual
async def test_every_call_lets_others_run_and_can_be_cancelled() -> None:
    script = Script((b"x", math.inf))
    async with opened(script, stdin=True) as session:
        for call in (
            session.receive,
            lambda: session.send(b"x"),
            session.send_eof,
            lambda: session.end(1.0),
        ):
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
        assert await session.receive() == [("stdout", b"x")]
        with trio.testing.assert_checkpoints():
            await session.send(b"y")


# Backpressure


@virtual
async def test_a_full_pipe_stops_the_writer_and_delays_what_follows() -> None:
    script = Script((b"x" * 250, 1.0, b"y"))
    async with opened(script, pipe_bytes=100) as session:
        await trio.sleep(10)  # the process has written 100 and waits
        assert await session.receive() == [("stdout", b"x" * 100)]
        await trio.sleep(10)
        assert await session.receive() == [("stdout", b"x" * 100)]
        assert await session.receive() == [("stdout", b"x" * 50)]
        assert await arrivals(session) == [(21.0, "stdout", b"y"), (21.0, "", b"")]


@virtual
async def test_apart_each_stream_has_a_pipe_of_its_own_merged_they_share_one() -> None:
    script = Script((b"x" * 100, ("stderr", b"y" * 100), b"z"))
    async with opened(script, pipe_bytes=100, stderr=True) as session:
        assert await session.receive() == [("stdout", b"x" * 100), ("stderr", b"y" * 100)]
        assert await session.receive() == [("stdout", b"z")]
    async with opened(script, pipe_bytes=100) as session:
        assert await session.receive() == [("stdout", b"x" * 100)]
        assert await session.receive() == [("stdout", b"y" * 100)]
        assert await output(session) == b"z"


@virtual
async def test_a_flood_arrives_complete_and_in_order() -> None:
    data = bytes(range(256)) * 4096
    async with opened(Script(tuple(data[i : i + 5000] for i in range(0, len(data), 5000)))) as s:
        assert await output(s) == data


# The end of a run


@virtual
async def test_output_held_open_is_waited_for_briefly() -> None:
    async with opened(Script((1.0, b"x"), holds_output=600.0), drain=0.5) as session:
        assert await arrivals(session) == [(1.0, "stdout", b"x"), (1.5, "", b"")]
        assert session.exit == Exited(0)
    async with opened(Script(holds_output=0.25), drain=0.5) as session:
        began = trio.current_time()
        assert await output(session) == b""
        assert trio.current_time() == began + 0.25


@virtual
async def test_closing_the_output_early_is_not_the_end() -> None:
    async with opened(Script((b"x", CloseOutput(), 5.0), rc=3)) as session:
        assert await arrivals(session) == [(0, "stdout", b"x"), (5.0, "", b"")]
        assert session.exit == Exited(3)


async def _ended(session: Session, grace: float) -> list[tuple[float, str, bytes]]:
    """What comes while `end` runs beside it."""
    came: list[tuple[float, str, bytes]] = []

    async def receive() -> None:
        came.extend(await arrivals(session))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await session.end(grace)
    return came


@pytest.mark.parametrize(
    ("script", "gone", "killed", "said"),
    [
        (Script(math.inf), 10.0, False, b""),
        (Script(math.inf, on_term=2.5), 12.5, False, b""),
        (Script(math.inf, on_term=None), 14.0, True, b""),
        (Script(math.inf, on_term=4.0), 14.0, False, b""),
        (Script(math.inf, on_term=(1.0, b"bye")), 11.0, False, b"bye"),
        (Script(math.inf, on_term=(1.0, b"bye", 60.0)), 14.0, True, b"bye"),
        (Script((11.0, b"on", math.inf), on_term=None), 14.0, True, b"on"),
        (Script((11.0, b"on"), on_term=None), 11.0, False, b"on"),
        (Script(ReadStdin()), 10.0, False, b""),
        (Script(holds_output=3600.0, steps=math.inf), 10.0, False, b""),
    ],
)
def test_end_sends_term_then_kill_at_the_grace(
    script: Script, gone: float, killed: bool, said: bytes
) -> None:
    async def main() -> None:
        transport = SimulatedTransport(script)
        async with opened(script, transport=transport, stdin=True) as session:
            await trio.sleep(10)
            came = await _ended(session, 4.0)
            assert trio.current_time() == gone
            assert b"".join(data for _, _, data in came) == said
            assert came[-1] == (gone, "", b"")
            assert session.exit is None
            assert transport.running("n1") == ()
        (record,) = transport.records()
        assert (record.term_at, record.ended_at) == (10.0, gone)
        assert record.kill_at == (14.0 if killed else None)

    simulate(main)


@virtual
async def test_end_without_grace_kills_at_once() -> None:
    async with opened(Script(math.inf, on_term=None)) as session:
        await session.end(0)
        assert trio.current_time() == 0
        assert await session.receive() == ()


@virtual
async def test_what_was_written_before_the_end_is_still_received() -> None:
    async with opened(Script((b"x" * 300, math.inf)), pipe_bytes=100) as session:
        await trio.sleep(1)
        await session.end(1.0)
        assert await arrivals(session) == [(1.0, "stdout", b"x" * 100), (1.0, "", b"")]


@virtual
async def test_a_full_pipe_holds_up_the_last_words_until_somebody_reads() -> None:
    script = Script((b"x" * 100, math.inf), on_term=(b"bye",))
    async with opened(script, pipe_bytes=100) as session, trio.open_nursery() as nursery:
        nursery.start_soon(session.end, 4.0)
        await trio.sleep(2)
        assert await session.receive() == [("stdout", b"x" * 100)]
        assert await output(session) == b"bye"
        assert trio.current_time() == 2.0


@virtual
async def test_end_at_the_very_instant_of_the_exit_finds_the_exit() -> None:
    async with opened(Script(3.0, rc=5)) as session:
        await trio.sleep(3)
        await session.end(2.0)
        assert session.exit == Exited(5)
        assert trio.current_time() == 3.0
        assert await session.receive() == ()


@virtual
async def test_end_after_the_exit_touches_nothing_and_stops_the_draining() -> None:
    transport = SimulatedTransport(Script(holds_output=60.0, rc=5), drain=10.0)
    async with opened(Script(), transport=transport) as session:
        await trio.sleep(1)
        await session.end(2.0)
        assert session.exit == Exited(5)
        assert await session.receive() == ()
        assert trio.current_time() == 1.0
        assert transport.running("n1") == ("x",)  # what it left behind on purpose
        await session.end(2.0)
    assert transport.records()[0].term_at is None


@virtual
async def test_a_connection_that_breaks_at_the_end_cannot_tell() -> None:
    async with opened(Script(math.inf, on_term=(1.0, Break("cut")))) as session:
        with pytest.raises(TransportError, match="cut; the command may still be running"):
            await session.end(4.0)
        assert trio.current_time() == 1.0
        assert await session.receive() == ()
        assert session.exit == Unreachable("cut")


@virtual
async def test_aclose_kills_at_any_time_even_cancelled_and_twice() -> None:
    transport = SimulatedTransport(Script(math.inf, on_term=None))
    session = await transport.open(Job("x"), "n1", 0)
    await trio.sleep(2)
    with trio.CancelScope() as scope:
        scope.cancel()
        await session.aclose()
    assert scope.cancelled_caught
    assert transport.running("n1") == ()
    await session.aclose()
    (record,) = transport.records()
    assert (record.kill_at, record.ended_at, record.closed_at, record.exit) == (2, 2, 2, None)
    assert transport.statistics().closed == 1
    for call in (session.receive, session.send_eof):
        with pytest.raises(trio.ClosedResourceError):
            await call()


# stdin


@virtual
async def test_cat() -> None:
    data = bytes(range(256)) * 1000
    script = Script(ReadStdin(echo=True))
    transport = SimulatedTransport(script)
    async with opened(script, transport=transport, stdin=True) as session:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                await session.send(data)
                await session.send_eof()
                await session.send_eof()

            assert await output(session) == data
        assert session.exit == Exited(0)
        with pytest.raises(trio.BrokenResourceError):
            await session.send(b"x")
        await session.send_eof()
    (record,) = transport.records()
    assert record.stdin == data
    assert record.eof


@virtual
async def test_nobody_reads_so_the_sender_waits_until_the_exit() -> None:
    transport = SimulatedTransport(Script(5.0), pipe_bytes=10)
    async with opened(Script(), transport=transport, stdin=True) as session:
        await session.send(b"x" * 10)
        with pytest.raises(trio.BrokenResourceError):
            await session.send(b"y")
        assert trio.current_time() == 5.0
        assert await session.receive() == ()
        assert session.exit == Exited(0)
    assert transport.records()[0].stdin == b"x" * 10


@virtual
async def test_a_slow_reader_of_stdin() -> None:
    script = Script(ReadStdin(size=100, pause=1.0))
    async with opened(script, stdin=True, pipe_bytes=100) as session:
        await session.send(b"x" * 500)
        assert trio.current_time() == 3.0  # read at 0, 1, 2, 3; a hundred are still in the pipe
        await session.send_eof()
        assert await output(session) == b""
        assert trio.current_time() == 5.0


@virtual
async def test_stdin_closed_by_the_command() -> None:
    async with opened(Script((CloseStdin(), 2.0)), stdin=True) as session:
        with pytest.raises(trio.BrokenResourceError):
            await session.send(b"x")
        assert trio.current_time() == 0
        assert await arrivals(session) == [(2.0, "", b"")]


@virtual
async def test_reading_a_part_then_going_on() -> None:
    script = Script((ReadStdin(echo=True, total=3), b"|", 1.0, ReadStdin(echo=True)))
    async with opened(script, stdin=True) as session:
        await session.send(b"ab")
        assert await session.receive() == [("stdout", b"ab")]
        await session.send(b"cd")
        assert await session.receive() == [("stdout", b"c"), ("stdout", b"|")]
        await session.send_eof()
        assert await arrivals(session) == [(1.0, "stdout", b"d"), (1.0, "", b"")]


@virtual
async def test_an_echo_into_a_full_pipe_stops_the_sender_too() -> None:
    async with opened(Script(ReadStdin(echo=True)), stdin=True, pipe_bytes=10) as session:
        with trio.move_on_after(60) as scope:
            await session.send(b"x" * 100)
        assert scope.cancelled_caught
        await session.send_eof()
        assert 10 <= len(await output(session)) <= 30


@virtual
async def test_without_stdin_there_is_an_empty_one() -> None:
    async with opened(Script((ReadStdin(echo=True), b"done"))) as session:
        assert await output(session) == b"done"
        with pytest.raises(trio.BrokenResourceError):
            await session.send(b"x")


@virtual
async def test_own_end_of_input_is_final() -> None:
    async with opened(Script(math.inf), stdin=True) as session:
        await session.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await session.send(b"x")


# The transport


@virtual
async def test_scripts_by_node_and_node_set_and_the_default() -> None:
    transport = SimulatedTransport(
        {"n[1-3]": Script(rc=1), "n2": Script(rc=2), "other-host.example_1": Script(rc=3)}
    )
    for node, rc in {"n1": 1, "n2": 2, "n3": 1, "other-host.example_1": 3, "n4": 0}.items():
        session = await transport.open(Job("x"), node, 0)
        assert await session.receive() == ()
        assert session.exit == Exited(rc)
        await session.aclose()


@virtual
async def test_a_function_sees_node_and_command_for_each_session() -> None:
    seen = []

    def script(node: Hashable, command: Command | Copy) -> Script:
        seen.append((node, command))
        return Script(rc=len(seen))

    transport = SimulatedTransport(script)
    works: list[Command | Copy] = ["a", ("b", "c"), Copy("from", "to")]
    for rc, work in enumerate(works, 1):
        session = await transport.open(Job(work), "n1", 0)
        assert await session.receive() == ()
        assert session.exit == Exited(rc)
        await session.aclose()
    assert seen == [("n1", "a"), ("n1", ("b", "c")), ("n1", Copy("from", "to"))]


def test_bad_arguments() -> None:
    bad: Any
    for bad, error, sentence in (
        (7, TypeError, "scripts: a Script, a mapping .* or a function is accepted, not 7"),
        ({"n1": 7}, TypeError, "scripts: a Script is accepted, not 7, for node 'n1'"),
        ({"n[1-": Script()}, ValueError, r"scripts: 'n\[1-' is not a node set"),
    ):
        with pytest.raises(error, match=sentence):
            SimulatedTransport(bad)
    with pytest.raises(ValueError, match="pipe_bytes: at least 1, not 0"):
        SimulatedTransport(pipe_bytes=0)
    with pytest.raises(ValueError, match="drain: seconds, 0 or more, not nan"):
        SimulatedTransport(drain=math.nan)


@virtual
async def test_a_function_that_returns_no_script_is_an_error_that_leaves_nothing() -> None:
    wrong: Any = lambda node, command: None  # noqa: E731  # it is the wrong thing on purpose
    transport = SimulatedTransport(wrong)
    with pytest.raises(TypeError, match="scripts: a Script is accepted, not None, for node 'n1'"):
        await transport.open(Job("x"), "n1", 0)
    assert transport.statistics().opening == 0


@virtual
async def test_statistics_and_records() -> None:
    transport = SimulatedTransport({"n2": Script(connect=1.0), "n3": Script(unreachable="x")})
    first = await transport.open(Job("x"), "n1", 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.open, Job("x"), "n2", 1)
        await trio.testing.wait_all_tasks_blocked()
        now = transport.statistics()
        assert (now.opening, now.open, now.peak) == (1, 1, 2)
    with pytest.raises(TransportError):
        await transport.open(Job("x"), "n3", 2)
    await first.aclose()
    now = transport.statistics()
    assert (now.opening, now.open, now.peak) == (0, 1, 3)
    assert (now.opened, now.closed, now.failed) == (2, 1, 1)
    assert [record.node for record in transport.records()] == ["n1", "n2", "n3"]
    assert [record.started_at for record in transport.records()] == [0, 1.0, None]
    assert transport.records("n2")[0].closed_at is None


@virtual
async def test_without_records_only_the_numbers_are_kept() -> None:
    transport = SimulatedTransport(Script(unreachable="x"), record=False)
    with pytest.raises(TransportError):
        await transport.open(Job("x"), "n1", 0)
    transport = SimulatedTransport(Script(ReadStdin()), record=False)
    async with opened(Script(), transport=transport, stdin=True) as session:
        await session.send(b"x")
    assert transport.records() == ()
    assert transport.statistics().closed == 1


@virtual
async def test_a_node_lists_what_runs_on_it() -> None:
    def script(node: Hashable, command: Command | Copy) -> Script:
        return Script(ListProcesses()) if command == "ps" else Script(5.0, holds_output=5.0)

    async def ps() -> bytes:
        session = await transport.open(Job("ps"), "n1", 0)
        listed = await output(session)
        await session.aclose()
        return listed

    transport = SimulatedTransport(script)
    session = await transport.open(Job(("sleep", "5")), "n1", 0)
    elsewhere = await transport.open(Job("elsewhere"), "n2", 0)
    assert await ps() == b"sleep 5\nps\n"
    await trio.sleep(6)  # nobody has looked since: it is over, and has left something behind
    assert await ps() == b"ps\nsleep 5\n"
    await session.aclose()
    assert await ps() == b"ps\nsleep 5\n"
    await trio.sleep(4)
    assert await ps() == b"ps\n"
    await elsewhere.aclose()


async def test_it_works_on_the_real_clock_too() -> None:
    async with opened(Script((b"a", 0.01, b"b"), rc=3)) as session:
        assert await output(session) == b"ab"
        assert session.exit == Exited(3)


def test_many_nodes_in_virtual_time_are_cheap() -> None:
    """10 000 runs of an hour each, 100 at a time; the whole is 100 hours long."""
    transport = SimulatedTransport(Script((b"x\n", 1800.0, b"y\n", 1800.0)))

    async def worker(nodes: range) -> None:
        for node in nodes:
            session = await transport.open(Job("x"), node, node)
            assert await output(session) == b"x\ny\n"
            await session.aclose()

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(worker, range(number * 100, number * 100 + 100))
        return trio.current_time()

    began = time.process_time()
    assert simulate(main) == 360_000.0
    assert transport.statistics().peak == 100
    assert time.process_time() - began < 20


def test_importing_it_brings_neither_asyncssh_nor_clustershell() -> None:
    program = (
        "import sys, trioshell.testing as t; t.SimulatedTransport; t.simulate; t.Script; dir(t)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert not {b"asyncssh", b"ClusterShell", b"pytest"} & set(done.stdout.split())
