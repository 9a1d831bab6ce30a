"""The clauses of a transport's contract about the end: what is ended, and that nothing is left."""

from __future__ import annotations

import trio

from trioshell._results import Exited
from trioshell.testing._clauses import Clause, clause, over
from trioshell.testing._probe import (
    Holdings,
    Probe,
    read_all,
    read_chunks,
    read_lines,
    require,
    shown,
)

END_CLAUSES: list[Clause] = []


async def _end(probe: Probe, name: str, grace: float, ready: int) -> tuple[bytes, float]:
    """Run `name` until it is ready, and end it; what it wrote, and the seconds that end took."""
    async with probe.opened(name) as session:
        said = await read_lines(session, ready)
        require(await probe.alive(), "not seen in the list of processes while it runs")
        chunks: list[tuple[str, bytes]] = []
        began = trio.current_time()
        with trio.move_on_after(grace + 3) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read_chunks, session, chunks)
                await session.end(grace)
                took = trio.current_time() - began
                nursery.cancel_scope.deadline = trio.current_time() + 1
            require(not nursery.cancel_scope.cancelled_caught, "receive still waits after the end")
        require(not scope.cancelled_caught, f"end({grace:g}) has not returned in {grace + 3:g} s")
        left = await probe.alive()
        require(not left, f"still running after end has returned: {left}")
        await over(session, None)
        return said + b"".join(data for _, data in chunks), took


@clause("end sends SIGTERM first, and what dies of it is not waited for any longer", END_CLAUSES)
async def end_plain(probe: Probe) -> None:
    said, took = await _end(probe, "sleep", grace=6.0, ready=1)
    require(said == b"ready\n", f"received {shown(said)}")
    require(took < 3, f"took {took:.1f} s, as if SIGTERM had not come")


@clause("what a command writes on SIGTERM is still received", END_CLAUSES)
async def end_polite(probe: Probe) -> None:
    said, took = await _end(probe, "polite", grace=6.0, ready=1)
    require(said == b"ready\nbye\n", f"received {shown(said)}")
    require(took < 3, f"took {took:.1f} s, as if SIGTERM had not come")


@clause("end kills what ignores SIGTERM, and not before the grace is over", END_CLAUSES)
async def end_stubborn(probe: Probe) -> None:
    _, took = await _end(probe, "stubborn", grace=0.4, ready=1)
    require(took >= 0.39, f"killed after {took:.2f} s, before the grace of 0.4 s was over")


@clause("end ends every part of a pipeline", END_CLAUSES)
async def end_pipeline(probe: Probe) -> None:
    await _end(probe, "pipeline", grace=6.0, ready=2)


@clause("end ends a whole tree of processes, of which some ignore SIGTERM", END_CLAUSES)
async def end_tree(probe: Probe) -> None:
    await _end(probe, "tree", grace=0.4, ready=3)


@clause("end after the command has ended by itself leaves its exit alone", END_CLAUSES)
async def end_afterwards(probe: Probe) -> None:
    async with probe.opened("exit_3", stdin=True) as session:
        await read_all(session)
        with trio.move_on_after(2) as scope:
            await session.end(6.0)
            await session.send_eof()  # harmless afterwards too
        require(not scope.cancelled_caught, "end waits, though the command has ended by itself")
        await over(session, Exited(3))


@clause("aclose takes everything from a command that still runs, at once, read or not", END_CLAUSES)
async def close_running(probe: Probe) -> None:
    for name in ("stubborn", "tree", "flood"):
        session = await probe.open(name)
        try:
            await read_lines(session, {"stubborn": 1, "tree": 3, "flood": 0}[name])
        finally:
            with trio.move_on_after(3) as scope:
                await session.aclose()
        require(not scope.cancelled_caught, f"{name}: aclose has not returned in 3 s")
        left = await probe.soon_gone()
        require(not left, f"{name}: still running after aclose: {left}")


@clause("opening can be cancelled at any instant, and leaves nothing behind", END_CLAUSES)
async def open_cancelled(probe: Probe) -> None:
    async with probe.opened("exit_0"):
        pass  # what is opened once and kept, a connection say, is not left behind
    before = Holdings.now()
    for delay in (0.0, 0.0003, 0.001, 0.003, 0.01, 0.03):
        session = None
        with trio.move_on_after(delay):
            session = await probe.open("sleep")
        if session is not None:
            await session.aclose()
    left = await probe.soon_gone()
    require(not left, f"still running after opening was cancelled: {left}")
    await before.soon_again()


@clause(
    "sessions that were opened and closed leave no descriptor and no child process here",
    END_CLAUSES,
)
async def leaks(probe: Probe) -> None:
    async def several(times: int) -> None:
        for _ in range(times):
            async with probe.opened("exit_0", stdin=True, stderr=True) as session:
                await read_all(session)

    await several(3)  # as above
    before = Holdings.now()
    await several(50)
    await before.soon_again()
