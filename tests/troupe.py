"""The handlers of a drawn service: they write down what they are told, and react as drawn."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import trio

from trioshell._errors import TaskError
from trioshell._events import Close, Event, Hup, Pickup, Read, Start, Written
from trioshell._worker import Worker

if TYPE_CHECKING:
    from tests.mixed import Action
    from tests.stage import Stage
    from trioshell._timer import Timer

# A ticker that keeps the Task open gives up after so many.
MOST_TICKS = 3


class Boom(Exception):
    """What handlers and blocks raise."""


class Actor:
    """What handlers of all kinds have in common."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def begin(self, called: Called) -> Iterator[Action]:
        """Write the call down, look whether it is right, and give what is to be done."""
        stage = self.stage
        if stage.busy:
            stage.wrong.append(f"a handler is called for {called} while another one is")
        number = len(stage.calls)
        stage.calls.append((trio.current_time(), called))
        if not isinstance(called, TimerKeeper):
            what = look(stage, called)
            if what:
                stage.wrong.append(f"{called}: {what}")
        return (action for at, action in stage.mixed.reactions if at == number)

    def do(self, action: Action) -> None:
        if action[0] == "raise":
            raise self.stage.throw(Boom("handler"))
        if action[0] == "interrupt":
            self.stage.interrupt()
        if action[0] not in ("sleep", "wait", "interrupt"):
            self.stage.act(action)

    def perform_now(self, called: Called) -> None:
        actions = self.begin(called)
        self.stage.busy = True
        try:
            for action in actions:
                self.do(action)
        finally:
            self.stage.busy = False

    async def perform(self, called: Called) -> None:
        stage = self.stage
        actions = self.begin(called)
        stage.busy = True
        try:
            for action in actions:
                if action[0] == "sleep":
                    await trio.sleep(action[1] / 8)
                elif action[0] == "wait":
                    await self.wait_in_vain(action[1])
                self.do(action)
            if stage.mixed.delay:
                await trio.sleep(stage.mixed.delay)
        finally:
            stage.busy = False

    async def wait_in_vain(self, number: int) -> None:
        worker = self.stage.any_worker(number)
        assert worker is not None
        try:
            await worker.wait()
        except TaskError:
            return
        self.stage.wrong.append("a handler could wait for a worker of its Task")


class Async(Actor):
    async def ev_start(self, worker: Worker) -> None:
        await self.perform(Start(worker))

    async def ev_pickup(self, worker: Worker, node: Hashable) -> None:
        await self.perform(Pickup(worker, node))

    async def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
        await self.perform(Read(worker, node, sname, msg))

    async def ev_written(self, worker: Worker, node: Hashable, sname: str, size: int) -> None:
        await self.perform(Written(worker, node, sname, size))

    async def ev_hup(self, worker: Worker, node: Hashable, rc: int | None) -> None:
        await self.perform(Hup(worker, node, rc))

    async def ev_close(self, worker: Worker, timedout: bool) -> None:
        await self.perform(Close(worker, timedout))


class Sync(Actor):
    def ev_start(self, worker: Worker) -> None:
        self.perform_now(Start(worker))

    def ev_pickup(self, worker: Worker, node: Hashable) -> None:
        self.perform_now(Pickup(worker, node))

    def ev_read(self, worker: Worker, node: Hashable, sname: str, msg: bytes) -> None:
        self.perform_now(Read(worker, node, sname, msg))

    def ev_written(self, worker: Worker, node: Hashable, sname: str, size: int) -> None:
        self.perform_now(Written(worker, node, sname, size))

    def ev_hup(self, worker: Worker, node: Hashable, rc: int | None) -> None:
        self.perform_now(Hup(worker, node, rc))

    def ev_close(self, worker: Worker, timedout: bool) -> None:
        self.perform_now(Close(worker, timedout))


class Both(Async):
    def ev_read(  # type: ignore[override]  # a handler may mix the kinds
        self, worker: Worker, node: Hashable, sname: str, msg: bytes
    ) -> None:
        self.perform_now(Read(worker, node, sname, msg))


HANDLERS: dict[str, Callable[[Stage], Actor] | None] = {
    "async": Async,
    "sync": Sync,
    "both": Both,
    "none": None,
}


class TimerKeeper(Actor):
    """The handler of one timer, with what is to be expected of it.

    Attributes:
        due: before this it must not fire.
        valid: False once it must not fire any more.
        fired: when it did.
    """

    timer: Timer
    autoclose = False

    def __init__(self, stage: Stage, fire: float, interval: float | None) -> None:
        super().__init__(stage)
        self.due = trio.current_time() + fire
        self.interval = interval
        self.valid = True
        self.fired: list[float] = []

    def retime(self, seconds: float) -> None:
        self.timer.set_nextfire(seconds)  # which raises if it is too late for that
        self.due, self.valid = trio.current_time() + seconds, True

    def invalidate(self) -> None:
        self.timer.invalidate()
        self.valid = False

    async def ev_timer(self, timer: Timer) -> None:
        now = trio.current_time()
        if timer is not self.timer or not self.valid:
            self.stage.wrong.append(f"a timer that is not valid has fired at {now}")
        if now < self.due:
            self.stage.wrong.append(f"a timer due at {self.due} has fired at {now}")
            timer.invalidate()  # it might go on for ever
        self.fired.append(now)
        if self.interval is None:
            self.valid = False
        else:
            self.due += self.interval
        if len(self.fired) >= MOST_TICKS and not self.autoclose:
            self.invalidate()
        await self.perform(self)


Called: TypeAlias = Event | TimerKeeper


def look(stage: Stage, event: Event) -> str:
    """What a handler is told can be read already; what is wrong with it, or nothing."""
    worker = event.worker
    crew = stage.mixed.workers[stage.crew_of[stage.workers.index(worker)]]  # type: ignore[arg-type]
    match event:
        case Start():
            return "" if worker.started and not worker.closed else "it has not started"
        case Pickup(node=node):
            return "" if worker.current_node == node else "it is not the current node"
        case Read(node=node, sname=sname, msg=msg):
            last = worker.current_errmsg if sname == "stderr" else worker.current_msg
            if (worker.current_node, worker.current_sname, last) != (node, sname, msg):
                return "it is not the current line"
            told = [
                other.msg
                for _, other in stage.calls
                if isinstance(other, Read) and (other.node, other.sname) == (node, sname)
            ]
            kept = list(worker.read(node, sname))
            return "" if kept[: len(told)] == (told if crew.gather else []) else "it is not kept"
        case Written(node=node, sname=sname):
            current = (worker.current_node, worker.current_sname)
            return "" if current == (node, sname) else "it is not current"
        case Hup(node=node, rc=rc):
            current_rc, result = worker.current_rc, worker.results()[node]
            return "" if worker.current_node == node and result.rc == current_rc == rc else "no rc"
        case Close(timedout=timedout):
            if worker.closed or worker.did_timeout() != timedout:
                return "it is closed, or timed out otherwise"
            complete = len(worker.results()) == len(crew.scripts)
            return "" if complete else "not every node has its result"
