"""check_transport: what keeps the contract passes, and each clause finds who breaks it."""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import trio

from trioshell._errors import SpawnError, TransportError
from trioshell._results import Exited, Signaled, Unreachable
from trioshell.testing import Checked, SimulatedTransport, check_transport, posix_like, simulate
from trioshell.testing._clauses import CLAUSES
from trioshell.testing._end_clauses import END_CLAUSES
from trioshell.testing._task_clauses import TASK_CLAUSES
from trioshell.transports import ExecTransport
from trioshell.transports._base import Chunk, Job, Session, Transport

NAMES = [clause.name for clause in (*CLAUSES, *END_CLAUSES, *TASK_CLAUSES)]
Exit = Exited | Signaled | Unreachable | None


class Run(Session):
    """A session that keeps every promise by passing everything on; each below breaks one."""

    def __init__(self, inner: Session, job: Job) -> None:
        self.inner = inner
        self.job = job
        self.written = False

    def __getattribute__(self, name: str) -> Any:
        # `exit` is an attribute of the contract; here it follows that of the inner session.
        return self.exit_now() if name == "exit" else super().__getattribute__(name)

    def exit_now(self) -> Exit:
        return self.inner.exit

    async def receive(self) -> Sequence[Chunk]:
        chunks = await self.inner.receive()
        self.written = self.written or bool(chunks)
        return chunks

    async def send(self, data: bytes) -> None:
        await self.inner.send(data)

    async def send_eof(self) -> None:
        await self.inner.send_eof()

    async def end(self, grace: float) -> None:
        await self.inner.end(grace)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Way(Transport):
    """A transport over simulated nodes whose sessions are of the class given."""

    def __init__(self, run: type[Run] = Run, **keywords: Any) -> None:
        self.inner = SimulatedTransport(posix_like(unreachable="far"), **keywords)
        self.run = run

    def check(self, job: Job) -> None:
        self.inner.check(job)

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        return self.run(await self.inner.open(job, node, rank), job)


# Sessions that break one promise


class LosesReturns(Run):
    async def receive(self) -> Sequence[Chunk]:
        chunks = await super().receive()
        return [(sname, data.replace(b"\r", b"")) for sname, data in chunks]


class LosesTheTail(Run):
    held: Sequence[Chunk] = ()

    async def receive(self) -> Sequence[Chunk]:
        held = self.held or await super().receive()
        self.held = await super().receive()
        return held if self.held else ()


class GivesNothingAsAChunk(Run):
    async def receive(self) -> Sequence[Chunk]:
        return [*await super().receive(), ("stdout", b"")]


class InventsAStream(Run):
    async def receive(self) -> Sequence[Chunk]:
        return [("stdlog", data) for _, data in await super().receive()]


class ComesBackToLife(Run):
    over = False

    async def receive(self) -> Sequence[Chunk]:
        chunks = await super().receive()
        if not chunks and self.over:
            return [("stdout", b"ghost")]
        self.over = not chunks
        return chunks


class MutilatesArguments(Run):
    async def receive(self) -> Sequence[Chunk]:
        return [(sname, data.replace(b"  ", b" ")) for sname, data in await super().receive()]


class AlwaysZero(Run):
    def exit_now(self) -> Exit:
        return None if super().exit_now() is None else Exited(0)


class Takes255ForUnreachable(Run):
    def exit_now(self) -> Exit:
        told = super().exit_now()
        return Unreachable("ssh says 255") if told == Exited(255) else told


class TakesSignalsForCodes(Run):
    def exit_now(self) -> Exit:
        told = super().exit_now()
        return Exited(told.rc) if isinstance(told, Signaled) else told


class CutsWhatIsSent(Run):
    async def send(self, data: bytes) -> None:
        await super().send(data[1:])


class NeverEndsStdin(Run):
    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()


class EndsStdinOnce(Run):
    ended = False

    async def send_eof(self) -> None:
        if self.ended:
            raise trio.ClosedResourceError
        self.ended = True
        await super().send_eof()


class RaisesTheWrongError(Run):
    async def send(self, data: bytes) -> None:
        try:
            await super().send(data)
        except trio.BrokenResourceError as error:
            raise BrokenPipeError(32, "Broken pipe") from error


class SendsForEver(Run):
    async def send(self, data: bytes) -> None:
        try:
            await super().send(data)
        except trio.BrokenResourceError:
            await trio.sleep_forever()


class ConsumesThenIsCancelled(Run):
    async def receive(self) -> Sequence[Chunk]:
        chunks = await super().receive()
        await trio.lowlevel.checkpoint()
        return chunks


class TakesSilenceForTheEnd(Run):
    async def receive(self) -> Sequence[Chunk]:
        with trio.move_on_after(0.1):
            return await super().receive()
        return ()


class DrainsAlways(Run):
    async def receive(self) -> Sequence[Chunk]:
        chunks = await super().receive()
        if not chunks and self.written:
            await trio.sleep(0.1)
        return chunks


class EndsNothing(Run):
    ended = False

    async def receive(self) -> Sequence[Chunk]:
        if self.ended:
            return ()
        with trio.move_on_after(0.2):
            return await super().receive()
        return await self.receive()

    async def end(self, grace: float) -> None:
        self.ended = True
        await trio.lowlevel.checkpoint()


class EndsAndLeavesNothingUndone(EndsNothing):
    """Nothing at all ends the command: neither end nor aclose."""

    async def aclose(self) -> None:
        if "processes" in self.kind or self.inner.exit is not None:
            await super().aclose()

    @property
    def kind(self) -> str:
        return "processes" if "ps -A" in str(self.job.work) else ""


class NeverSaysTerm(Run):
    async def end(self, grace: float) -> None:
        await trio.sleep(grace)
        await super().end(0)


class KillsAtOnce(Run):
    async def end(self, grace: float) -> None:
        await super().end(0)


class GoesDeafAtTheEnd(Run):
    ending = False

    async def receive(self) -> Sequence[Chunk]:
        chunks = await super().receive()
        return () if self.ending else chunks

    async def end(self, grace: float) -> None:
        self.ending = True
        await super().end(grace)


class CallsItAnExit(Run):
    ended = False

    def exit_now(self) -> Exit:
        return Exited(143) if self.ended else super().exit_now()

    async def end(self, grace: float) -> None:
        self.ended = super().exit_now() is None
        await super().end(grace)


class ForgetsTheExit(Run):
    ended = False

    def exit_now(self) -> Exit:
        return None if self.ended else super().exit_now()

    async def end(self, grace: float) -> None:
        self.ended = True
        await super().end(grace)


class WaitsForTheDead(Run):
    async def end(self, grace: float) -> None:
        await super().end(grace)
        await trio.sleep(grace)


class WaitsAfterTheEnd(Run):
    ended = False

    async def receive(self) -> Sequence[Chunk]:
        chunks = await super().receive()
        if not chunks and self.ended:
            await trio.sleep_forever()
        return chunks

    async def end(self, grace: float) -> None:
        self.ended = True
        await super().end(grace)


class LeaksADescriptor(Run):
    leaked: ClassVar[list[int]] = []

    async def aclose(self) -> None:
        self.leaked.append(os.open(os.devnull, os.O_RDONLY))
        await super().aclose()


class LeaksAChild(Run):
    leaked: ClassVar[list[subprocess.Popen[bytes]]] = []

    async def aclose(self) -> None:
        if len(self.leaked) < 5:
            self.leaked.append(subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL))
        await super().aclose()


# Transports that break one promise


class OpensOtherwise(Way):
    """Changes the job by a function before it opens."""

    def __init__(self, change: Callable[[Job], Job]) -> None:
        super().__init__()
        self.change = change

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        return await super().open(self.change(job), node, rank)


class OpensThenIsCancelled(Way):
    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        with trio.CancelScope(shield=True):  # which is the mistake
            session = await super().open(job, node, rank)
        await trio.lowlevel.checkpoint()
        return session


class RefusesTheEleventh(Way):
    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        now = self.inner.statistics()
        if now.opening + now.open >= 10:
            raise TransportError("too many sessions")
        return await super().open(job, node, rank)


class SaysItOtherwise(Way):
    """Has another error for a target that is not reached; None opens it."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        if node != "far":
            return await super().open(job, node, rank)
        if self.error is not None:
            raise self.error
        return await super().open(job, "n1", rank)


class KillsTheBackground(Way):
    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        self.inner._background.clear()
        return await super().open(job, node, rank)


def _quiet(job: Job) -> Job:
    """As if no shell read a command line."""
    return replace(job, work=(job.work,)) if isinstance(job.work, str) else job


BROKEN: list[tuple[str, Callable[[], Transport], str]] = [
    ("output", lambda: Way(LosesReturns), "all_bytes: 8160 bytes"),
    ("output", lambda: Way(LosesTheTail), "numbers: "),
    ("output", lambda: Way(GivesNothingAsAChunk), "a chunk that is b''"),
    ("output", lambda: Way(InventsAStream), "a stream 'stdlog'"),
    ("output", lambda: Way(ComesBackToLife), "after the end of the run"),
    ("merged", lambda: OpensOtherwise(lambda job: replace(job, stderr=True)), "'stderr'"),
    ("apart", lambda: OpensOtherwise(lambda job: replace(job, stderr=False)), "stdout: "),
    ("shell", lambda: OpensOtherwise(_quiet), "received b''"),
    ("vector", lambda: Way(MutilatesArguments), "two words"),
    ("exit_codes", lambda: Way(AlwaysZero), r"Exited\(rc=0\) and not Exited\(rc=1\)"),
    ("exit_255", lambda: Way(Takes255ForUnreachable), "ssh says 255"),
    ("signaled", lambda: Way(TakesSignalsForCodes), r"Exited\(rc=137\)"),
    ("stdin", lambda: Way(CutsWhatIsSent), "came back"),
    ("stdin", lambda: Way(NeverEndsStdin), "not over after 30 s"),
    ("stdin", lambda: Way(EndsStdinOnce), "ClosedResourceError"),
    ("stdin_empty", lambda: OpensOtherwise(lambda job: replace(job, stdin=True)), "not over"),
    ("stdin_refused", lambda: Way(RaisesTheWrongError), "BrokenPipeError"),
    ("stdin_refused", lambda: Way(SendsForEver), "not over after 30 s"),
    ("receive_cancelled", lambda: Way(ConsumesThenIsCancelled), "instead of 3200000 bytes"),
    ("backpressure", lambda: Way(pipe_bytes=1 << 40), "though nobody reads"),
    ("prompt", lambda: Way(DrainsAlways), "as if it waited"),
    ("close_early", lambda: Way(TakesSilenceForTheEnd), "while the command still runs"),
    ("background", lambda: Way(drain=math.inf), "still waiting 3 s after"),
    ("background", KillsTheBackground, "was killed"),
    ("end_plain", lambda: Way(EndsNothing), "still running after end"),
    ("end_plain", lambda: Way(NeverSaysTerm), "as if SIGTERM had not come"),
    ("end_plain", lambda: Way(CallsItAnExit), r"exit is Exited\(rc=143\) and not None"),
    ("end_plain", lambda: Way(WaitsAfterTheEnd), "receive still waits after the end"),
    ("end_polite", lambda: Way(GoesDeafAtTheEnd), r"received b'ready\\n'"),
    ("end_stubborn", lambda: Way(KillsAtOnce), "before the grace"),
    ("end_stubborn", lambda: Way(EndsNothing), "still running after end"),
    ("end_pipeline", lambda: Way(EndsNothing), "still running after end"),
    ("end_tree", lambda: Way(EndsNothing), "still running after end"),
    ("end_afterwards", lambda: Way(ForgetsTheExit), r"None and not Exited\(rc=3\)"),
    ("end_afterwards", lambda: Way(WaitsForTheDead), "end waits"),
    ("close_running", lambda: Way(EndsAndLeavesNothingUndone), "still running after aclose"),
    ("open_cancelled", OpensThenIsCancelled, "still running after opening was cancelled"),
    ("many", RefusesTheEleventh, "too many sessions"),
    ("unreachable", lambda: SaysItOtherwise(None), "it has been reached"),
    ("unreachable", lambda: SaysItOtherwise(SpawnError("no")), "a SpawnError"),
    ("unreachable", lambda: SaysItOtherwise(TransportError(" ")), "without a reason"),
    ("unreachable", lambda: SaysItOtherwise(OSError(113, "No route")), "OSError"),
    ("leaks", lambda: Way(LeaksADescriptor), "50 file descriptors, 0 child"),
    ("leaks", lambda: Way(LeaksAChild), "0 file descriptors, 2 child"),
    ("task_output", lambda: Way(LosesReturns), "n1: "),
    ("task_output", lambda: Way(AlwaysZero), r"Exited\(rc=0\) and not Exited\(rc=3\)"),
    ("task_stdin", lambda: Way(CutsWhatIsSent), "n1: "),
    ("task_timeout", lambda: Way(EndsAndLeavesNothingUndone), "still running after the Task"),
    ("task_abort", lambda: Way(EndsAndLeavesNothingUndone), "still running after the Task"),
    ("task_abort", lambda: Way(CallsItAnExit), r"Exited\(rc=143\) and not Aborted"),
    ("task_cancelled", lambda: Way(EndsAndLeavesNothingUndone), "still running after the Task"),
    ("task_unreachable", lambda: SaysItOtherwise(SpawnError("no")), "NotStarted"),
]


@pytest.fixture(autouse=True)
def _leaks_are_plugged() -> Iterator[None]:
    yield
    while LeaksADescriptor.leaked:
        os.close(LeaksADescriptor.leaked.pop())
    while LeaksAChild.leaked:
        process = LeaksAChild.leaked.pop()
        process.kill()
        process.wait()


async def _check(transport: Transport, *names: str, **keywords: Any) -> Checked:
    """Check only the clauses named, or all if none is."""
    exclude = {name: "not now" for name in NAMES if names and name not in names}
    return await check_transport(
        transport, "n[1-2]", unreachable="far", exclude=exclude, clause_timeout=30, **keywords
    )


@pytest.mark.parametrize(
    ("clause", "transport", "seen"),
    BROKEN,
    ids=[f"{number}-{clause}" for number, (clause, _, _) in enumerate(BROKEN)],
)
def test_each_clause_finds_who_breaks_it(
    clause: str, transport: Callable[[], Transport], seen: str
) -> None:
    with pytest.raises(AssertionError, match=f"^{clause}: .*{seen}"):
        simulate(_check, transport(), clause)


def test_no_clause_is_without_somebody_who_breaks_it() -> None:
    assert {clause for clause, _, _ in BROKEN} == set(NAMES)


@pytest.mark.parametrize(
    "transport", [Way, lambda: SimulatedTransport(posix_like(unreachable="far"))]
)
def test_simulated_nodes_keep_the_whole_contract(transport: Callable[[], Transport]) -> None:
    for seed in range(3):
        checked = simulate(_check, transport(), seed=seed)
        assert checked == Checked(tuple(NAMES), {})


async def test_local_commands_keep_the_whole_contract() -> None:
    here = dict.fromkeys(("unreachable", "task_unreachable"), "it is this machine")
    checked = await check_transport(ExecTransport(), "n[1-3]", exclude=here)
    assert set(checked.clauses) == set(NAMES) - set(here)
    assert checked.excluded == here


def test_what_is_excluded_is_not_tried_and_is_told() -> None:
    checked = simulate(_check, Way(Takes255ForUnreachable), "exit_codes", "output")
    assert checked.clauses == ("output", "exit_codes")
    assert set(checked.excluded) == set(NAMES) - {"output", "exit_codes"}


def test_the_failure_says_clause_promise_and_what_was_seen() -> None:
    with pytest.raises(AssertionError) as caught:
        simulate(_check, Way(Takes255ForUnreachable), "exit_255")
    assert str(caught.value) == (
        "exit_255: a command that exits with 255 has exited, and is not unreachable. "
        "Seen: exit is Unreachable(reason='ssh says 255') and not Exited(rc=255)"
    )


def test_other_commands_may_be_given() -> None:
    with pytest.raises(AssertionError, match=r"^shell: .*received b''"):
        simulate(lambda: _check(Way(), "shell", commands={"shell": "something else"}))


def test_the_transport_is_left_whatever_happens() -> None:
    class Counts(Way):
        started = stopped = 0

        async def start(self) -> None:
            self.started += 1

        async def stop(self) -> None:
            self.stopped += 1

    transport = Counts(AlwaysZero)
    with pytest.raises(AssertionError, match="exit_codes"):
        simulate(_check, transport)
    assert (transport.started, transport.stopped) == (1, 1)
    assert transport.inner.statistics().open == 0


def test_a_cancellation_is_no_failure_of_the_transport() -> None:
    async def main() -> bool:
        with trio.move_on_after(0.1) as scope:
            await _check(Way(NeverEndsStdin), "stdin")
        return scope.cancelled_caught

    assert simulate(main)


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"nodes": []}, "nodes: at least one target"),
        ({"exclude": {"no_such": "x"}}, "exclude: there is no clause 'no_such', only output, "),
        ({"exclude": {"shell": " "}}, "exclude: a reason is needed for leaving out 'shell'"),
        ({"commands": {"no_such": "x"}}, "commands: there is no 'no_such', only numbers, "),
        ({"unreachable": None}, "unreachable: the name of a target that cannot be reached"),
        (
            {"unreachable": None, "exclude": {"unreachable": "x"}},
            "exclude={'task_unreachable': ...}",
        ),
    ],
)
def test_bad_arguments_are_found_before_anything_starts(
    keywords: dict[str, Any], sentence: str
) -> None:
    arguments = {"nodes": "n1", "unreachable": "far", **keywords}
    transport = Way()
    with pytest.raises(ValueError, match=re.escape(sentence)):
        simulate(lambda: check_transport(transport, **arguments))
    assert transport.inner.statistics().opened == 0
