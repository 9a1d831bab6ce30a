"""Where the time of a command goes: a sampled profile, by part of the engine."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Workload

EVERY_SECONDS = 0.001

# The parts, and the modules of ours that each is made of. The innermost module of ours that
# is on the stack takes the time of whatever it has called.
PARTS = {
    "pipes and pidfds": "_process _poller _streams _supervisor _drain _sessions",
    "handing over to the spawn threads": "_spawn",
    "opening a session": "_exec _base _placeholders",
    "a node's child task": "_conduct _input _reports",
    "feeder and fanout": "_feeder _fanout _engine",
    "dispatcher and books": (
        "_dispatch _books _gathering _lines _message _lifecycle _consumers _handler _events "
        "_results"
    ),
}
REST = "Trio's scheduler, and the rest"
SPAWNING = "spawn threads (posix_spawn)"
CHILDREN = "the commands themselves"


_PART_OF = {module: part for part, modules in PARTS.items() for module in modules.split()}


def part_of(frame: FrameType | None) -> str:
    """The part of the innermost module of ours."""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if "trioshell" in path.parts:
            return _PART_OF.get(path.stem, REST)
        frame = frame.f_back
    return REST


class Sampler:
    """Looks where the main thread is, and gives that place the time since it last looked.

    The kernel's timer counts the processor time of all threads; what is given is the main
    thread's own, so that the sum is right whatever the others do.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._last = 0.0

    def __enter__(self) -> Sampler:
        assert threading.current_thread() is threading.main_thread()
        signal.signal(signal.SIGPROF, self._look)
        self._last = time.thread_time()
        signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)
        return self

    def __exit__(self, *exc_info: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def _look(self, signum: int, frame: FrameType | None) -> None:
        now = time.thread_time()
        self.seconds[part_of(frame)] += now - self._last
        self._last = now


def ours(amount: int, meter: Meter) -> None:
    import trio

    import trioshell
    import trioshell.transports._exec  # else imported when it counts

    class Count(trioshell.EventHandler):
        lines = 0

        def ev_read(self, worker: object, node: object, sname: str, msg: bytes) -> None:
            self.lines += 1

    count = Count()

    async def main() -> None:
        async with trioshell.Task(fanout=64, transport="exec") as task:
            task.shell("echo hello", nodes=f"node[1-{amount}]", handler=count, timeout=600)

    sampler = Sampler()
    with meter:
        before = time.thread_time()
        with sampler:
            trio.run(main)
        main_thread = time.thread_time() - before
    assert count.lines == amount
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    parts = dict(sampler.seconds)
    parts[REST] = parts.get(REST, 0.0) + main_thread - sum(parts.values())
    parts[SPAWNING] = meter.figures.cpu - main_thread
    parts[CHILDREN] = children.ru_utime + children.ru_stime
    meter.note(parts=parts)


WORKLOADS = (
    Workload(
        "breakdown",
        "where the time of a command goes",
        "3,000 local `echo` at fanout 64 with a handler, a timeout and gathering; the main thread "
        "is looked at every millisecond of processor time. The look itself costs some percent.",
        "command",
        (3_000,),
        (600,),
        (Contender(OURS, ours, "fanout 64, a sync ev_read, timeout=600"),),
        counts="cpu",
        rounds=3,
    ),
)
