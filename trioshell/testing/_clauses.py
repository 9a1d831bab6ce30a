"""The clauses of a transport's contract about a run: what goes into it and what comes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from trioshell._errors import SpawnError, TransportError
from trioshell._results import Exited, Outcome, Signaled
from trioshell.testing._commands import ALL_BYTES, FLOOD_BYTES, NUMBERS, ODD_ARGUMENT
from trioshell.testing._probe import (
    Probe,
    read_all,
    read_chunks,
    read_lines,
    require,
    shown,
)
from trioshell.transports._base import Session

Check = Callable[[Probe], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Clause:
    """One promise of the contract.

    Attributes:
        name: what it is excluded by.
        promise: the promise in one sentence.
        check: an async function that raises an AssertionError if it is not kept.
    """

    name: str
    promise: str
    check: Check


CLAUSES: list[Clause] = []


def clause(promise: str, clauses: list[Clause] = CLAUSES) -> Callable[[Check], Check]:
    """Enter the function below, under its name, into the list `clauses`."""

    def enter(check: Check) -> Check:
        clauses.append(Clause(getattr(check, "__name__", ""), promise, check))
        return check

    return enter


async def over(session: Session, exit: Outcome | None) -> None:
    """The run is over: `receive` says so again and does not wait, and `exit` is as it should be."""
    again = await session.receive()
    require(not again, f"receive returned {again!r} after the end of the run")
    require(session.exit == exit, f"exit is {session.exit!r} and not {exit!r}")


@clause("all that a command writes is received, complete and in order, whatever the bytes")
async def output(probe: Probe) -> None:
    for name, written in (("numbers", NUMBERS), ("all_bytes", ALL_BYTES)):
        async with probe.opened(name) as session:
            data = await read_all(session)
            require(data == written, f"{name}: {shown(data)} instead of {shown(written)}")
            await over(session, Exited(0))


@clause("with stderr=False both streams are one, in the order of writing")
async def merged(probe: Probe) -> None:
    async with probe.opened("both_streams") as session:
        chunks: list[tuple[str, bytes]] = []
        await read_chunks(session, chunks)
        data = b"".join(chunk for _, chunk in chunks)
        require(data == b"one\ntwo\nthree\n", f"received {shown(data)}")
        require({sname for sname, _ in chunks} == {"stdout"}, f"received {chunks!r}")


@clause("with stderr=True the streams are kept apart")
async def apart(probe: Probe) -> None:
    for sname, written in (("stdout", b"one\nthree\n"), ("stderr", b"two\n")):
        async with probe.opened("both_streams", stderr=True) as session:
            data = await read_all(session, sname)
            require(data == written, f"{sname}: {shown(data)} instead of {written!r}")


@clause("a command line is read by a shell")
async def shell(probe: Probe) -> None:
    async with probe.opened("shell") as session:
        data = await read_all(session)
        require(data == b"one\ntwo\n", f"received {shown(data)}")


@clause("an argument vector reaches the command as it is, read by no shell")
async def vector(probe: Probe) -> None:
    async with probe.opened("vector") as session:
        data = await read_all(session)
        require(data == ODD_ARGUMENT.encode() + b"\n", f"received {shown(data)}")


@clause("the command's own exit code is told")
async def exit_codes(probe: Probe) -> None:
    for name, rc in (("exit_0", 0), ("exit_1", 1), ("exit_3", 3), ("exit_127", 127)):
        async with probe.opened(name) as session:
            require(not await read_all(session), "output of a command that writes none")
            await over(session, Exited(rc))
    async with probe.opened("not_found") as session:
        await read_all(session)
        await over(session, Exited(127))


@clause("a command that exits with 255 has exited, and is not unreachable")
async def exit_255(probe: Probe) -> None:
    async with probe.opened("exit_255") as session:
        await read_all(session)
        await over(session, Exited(255))


@clause("a command that a signal has ended is told apart from one that exits")
async def signaled(probe: Probe) -> None:
    async with probe.opened("killed") as session:
        await read_all(session)
        await over(session, Signaled(9))


async def _feed(session: Session, data: bytes) -> None:
    for start in range(0, len(data), 100_000):
        await session.send(data[start : start + 100_000])
    await session.send_eof()
    await session.send_eof()  # harmless when repeated


@clause("what is sent reaches the command's stdin, whole and in order, and then its end")
async def stdin(probe: Probe) -> None:
    async with probe.opened("cat", stdin=True) as session, trio.open_nursery() as nursery:
        nursery.start_soon(_feed, session, NUMBERS[: 1 << 20])
        data = await read_all(session)
        sent = NUMBERS[: 1 << 20]
        require(data == sent, f"{shown(data)} came back of {shown(sent)}")
        await over(session, Exited(0))


@clause("with stdin=False the command finds its stdin empty")
async def stdin_empty(probe: Probe) -> None:
    async with probe.opened("until_eof") as session:
        data = await read_all(session)
        require(data == b"done\n", f"received {shown(data)}")
        await over(session, Exited(0))


@clause("sending to a command that reads nothing and ends does not hang and disturbs nothing")
async def stdin_refused(probe: Probe) -> None:
    async with probe.opened("exit_3", stdin=True) as session, trio.open_nursery() as nursery:

        async def feed() -> None:
            try:
                await session.send(NUMBERS[: 1 << 20])
                await session.send_eof()
            except trio.BrokenResourceError:
                pass  # what is promised; a window large enough may take it all instead

        nursery.start_soon(feed)
        require(not await read_all(session), "output of a command that writes none")
        await over(session, Exited(3))


async def _cancel_after(turns: int, scope: trio.CancelScope) -> None:
    """Cancel `scope` when every other task has had so many turns; never after the sixth."""
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    if turns < 6:
        scope.cancel()


@clause("a cancelled receive has consumed nothing")
async def receive_cancelled(probe: Probe) -> None:
    async with probe.opened("numbers") as session:
        chunks: list[tuple[str, bytes]] = []
        tries, is_over = 0, False
        while not is_over:
            tries += 1
            async with trio.open_nursery() as nursery:
                # At each of the first few turns that it takes, and at none.
                nursery.start_soon(_cancel_after, tries % 7, nursery.cancel_scope)
                came = await session.receive()
                # Nothing is awaited from here on: what has been returned has been received.
                is_over = not came
                chunks.extend(came)
                nursery.cancel_scope.cancel()
        data = b"".join(chunk for _, chunk in chunks)
        require(data == NUMBERS, f"{shown(data)} instead of {shown(NUMBERS)}")


@clause("a command whose output nobody reads is stopped, others go on, and nothing is lost")
async def backpressure(probe: Probe) -> None:
    async with probe.opened("flood") as session:
        first = b"".join([data for _, data in await session.receive()])
        # Time enough to write it all, if anything took it.
        until = trio.current_time() + 0.7
        while trio.current_time() < until:
            require(await probe.alive(), "it has written everything, though nobody reads")
            await trio.sleep(0.05)
        rest = await read_all(session)
        require(
            len(first) + len(rest) == FLOOD_BYTES and not rest.strip(b"\0"),
            f"{len(first) + len(rest)} bytes instead of {FLOOD_BYTES}",
        )
        await over(session, Exited(0))


@clause("a command that has written something is over as soon as one that has not")
async def prompt(probe: Probe) -> None:
    async def quickest(name: str) -> float:
        times = []
        for _ in range(5):
            began = trio.current_time()
            async with probe.opened(name) as session:
                await read_all(session)
                times.append(trio.current_time() - began)
        return min(times)

    silent, loud = await quickest("exit_0"), await quickest("both_streams")
    require(
        loud < silent + 0.05,
        f"over after {loud:.3f} s at best, and after {silent:.3f} s without output, as if it "
        "waited for somebody who holds the output open",
    )


@clause("a command that closes its output early is waited for")
async def close_early(probe: Probe) -> None:
    async with probe.opened("close_early", stdin=True) as session:
        await read_lines(session, 1)
        with trio.move_on_after(0.2):
            came = await session.receive()
            raise AssertionError(f"receive returned {came!r} while the command still runs")
        await session.send_eof()
        require(not await read_all(session), "output of a closed stream")
        await over(session, Exited(3))


@clause("what is left in the background holds up no end, though it holds the output, and lives on")
async def background(probe: Probe) -> None:
    async with probe.opened("background") as session:
        with trio.move_on_after(3) as scope:
            pid = (await read_all(session)).decode().strip()
        require(not scope.cancelled_caught, "still waiting 3 s after the command has exited")
        await over(session, Exited(0))
        await session.end(1.0)  # changes nothing: the command has ended by itself
        await over(session, Exited(0))
    require(await probe.alive(), "what it had put into the background was killed")
    killing = Probe(probe.transport, probe.nodes, {"kill": ("kill", pid)}, None)
    async with killing.opened("kill") as session:
        await read_all(session)


@clause("many sessions at once do not get in each other's way")
async def many(probe: Probe) -> None:
    async def one(node: str, number: int) -> None:
        rc = (0, 1, 3)[number % 3]
        own = b"" if rc else NUMBERS[number * 10_000 : number * 10_000 + 100_000]
        async with probe.opened(f"exit_{rc}" if rc else "cat", node=node, stdin=not rc) as session:
            async with trio.open_nursery() as nursery:
                if own:
                    nursery.start_soon(_feed, session, own)
                data = await read_all(session)
            require(data == own, f"{node}: {shown(data)} instead of {shown(own)}")
            await over(session, Exited(rc))

    async with trio.open_nursery() as nursery:
        for number in range(24):
            nursery.start_soon(one, str(probe.nodes[number % len(probe.nodes)]), number)


@clause("a target that cannot be reached is a TransportError with a reason")
async def unreachable(probe: Probe) -> None:
    with trio.move_on_after(12) as scope:
        try:
            session = await probe.open("exit_0", node=probe.unreachable)
        except SpawnError as error:
            raise AssertionError(f"a SpawnError, as if the way were open: {error}") from error
        except TransportError as error:
            require(error.reason.strip(), "a TransportError without a reason")
        else:
            await session.aclose()
            raise AssertionError("it has been reached")
    require(not scope.cancelled_caught, "nothing known after 12 s")
