"""The Task: what a user gives work to, and reads the results of."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, Unpack, overload

import trio

from trioshell._arguments import (
    check_cap,
    check_command,
    check_fanout,
    check_fanout_or_auto,
    check_finite_seconds,
    check_flag,
    check_hashable,
    check_seconds,
)
from trioshell._caps import Caps
from trioshell._copy import CopyWorker
from trioshell._distant import DistantWorker
from trioshell._engine import Engine
from trioshell._errors import TaskError
from trioshell._feeder import Feeder
from trioshell._overall import Overall
from trioshell._timer import Timer
from trioshell._worker import Worker
from trioshell.transports import Transport, check_transport, find_transport

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

# What `fanout="auto"` never exceeds, unless a Task says otherwise.
MAX_FANOUT = 512

AnyWorker = TypeVar("AnyWorker", bound=Worker)


class ShellOptions(TypedDict, total=False):
    """What `Task.shell` takes beside a command and its nodes; see there."""

    key: Hashable
    handler: object
    timeout: float | None
    stderr: bool | None
    stdin: bool
    autoclose: bool
    transport: str | Transport | None
    fanout: int | None
    gather: bool
    max_output_bytes: float | None
    max_line_bytes: float | None


@dataclass(frozen=True, slots=True)
class TaskStatistics:
    """A Task at one moment.

    Attributes:
        fanout: how many sessions may run at once.
        running: how many do.
        waiting: how many workers wait for a place for their next node.
        open_workers: workers that have been scheduled and are not closed.
        valid_timers: timers that will fire again.
    """

    fanout: int
    running: int
    waiting: int
    open_workers: int
    valid_timers: int


class Task(Overall):
    """Runs commands on many targets at once, and leaves none of them behind.

    An async context manager, and a nursery for workers: leaving the block waits until each
    is closed. When the block has been left, in whatever way, no command of the Task runs any
    more, here or on a target, and no descriptor, thread, child process or connection of it
    is left (but for a transport that you have entered yourself).

    If the block raises or is cancelled, or a handler raises, all workers are aborted first:
    their commands get SIGTERM and after `kill_grace` SIGKILL, everything is reported to the
    handlers to its end, async handler methods being cancelled at their first checkpoint, and
    then what was raised comes out in an exception group, as from a nursery.

    It may be given work by its own block, by handlers, and by any child task of the same
    `trio.run`; before it is entered as well, which is then started when it is.

    Args:
        fanout: the most sessions that run at once over the whole Task, 1 or more; or ``"auto"``
            for as many as turns out, while they run, to finish soonest (docs/fanout.md).
        transport: the way to ``nodes=``, unless a worker has its own: a name or a
            `Transport`. One object serves all workers that ask for the same name.
        connect_timeout: seconds until the way to a target must be open; None for no bound.
        command_timeout: seconds that each node's command may run, unless a worker says
            otherwise; None for no bound.
        stderr: True to keep stderr apart, unless a worker says otherwise.
        keep_results: False to hold no reference to a worker that is closed, for a Task that
            lives for months. What is read over all workers then raises `TaskError`.
        kill_grace: seconds between SIGTERM and SIGKILL; 0 sends both at once.
        max_output_bytes: how many bytes of a node's output are kept, stdout and stderr together,
            over its whole run, unless a worker says otherwise; None for all. Whatever comes
            after that is read and thrown away, so that the command goes on undisturbed; neither
            handlers nor `events` are told of it. ``NodeResult.missing_bytes`` says how much.
        max_line_bytes: how many bytes of a line are kept, its end not counted, unless a worker
            says otherwise; None for all. A longer line is told as soon as it is known to be
            longer, cut, and with a newline where it was cut. What was cut off counts as
            missing, and not towards ``max_output_bytes``.
        max_fanout: what ``fanout="auto"`` never exceeds, 1 or more.

    Raises:
        ValueError: or TypeError; an argument is wrong.
    """

    def __init__(
        self,
        *,
        fanout: int | Literal["auto"] = 64,
        transport: str | Transport = "ssh",
        connect_timeout: float | None = 10.0,
        command_timeout: float | None = None,
        stderr: bool = False,
        keep_results: bool = True,
        kill_grace: float = 2.0,
        max_output_bytes: float | None = None,
        max_line_bytes: float | None = None,
        max_fanout: int = MAX_FANOUT,
    ) -> None:
        seconds = check_seconds("connect_timeout", connect_timeout)
        self._connect_timeout = math.inf if seconds is None else seconds
        self._command_timeout = check_seconds("command_timeout", command_timeout)
        self._stderr = check_flag("stderr", stderr)
        self._keep_results = check_flag("keep_results", keep_results)
        self._caps = Caps(
            check_cap("max_output_bytes", max_output_bytes),
            check_cap("max_line_bytes", max_line_bytes),
        )
        at_once = check_fanout_or_auto("fanout", fanout)
        self._max_fanout = check_fanout("max_fanout", max_fanout)
        self._engine = Engine(at_once or 1, check_finite_seconds("kill_grace", kill_grace))
        if at_once is None:
            self._engine.find_fanout(self._max_fanout)
        self._transport = check_transport(transport)
        self._transports: dict[str, Transport] = {}
        self._workers: list[Worker] = []

    # -- giving it work ----------------------------------------------------------------------

    @overload
    def shell(
        self,
        command: str | Sequence[str],
        *,
        nodes: str | NodeSet | Iterable[str],
        **options: Unpack[ShellOptions],
    ) -> DistantWorker: ...

    @overload
    def shell(
        self,
        command: str | Sequence[str],
        *,
        nodes: None = None,
        **options: Unpack[ShellOptions],
    ) -> Worker: ...

    def shell(
        self,
        command: str | Sequence[str],
        *,
        nodes: str | NodeSet | Iterable[str] | None = None,
        key: Hashable = None,
        handler: object = None,
        timeout: float | None = None,
        stderr: bool | None = None,
        stdin: bool = True,
        autoclose: bool = False,
        transport: str | Transport | None = None,
        fanout: int | None = None,
        gather: bool = True,
        max_output_bytes: float | None = None,
        max_line_bytes: float | None = None,
    ) -> Worker:
        """Schedule a command, and return its worker at once.

        Args:
            command: a shell command line, read by the target's shell; or an argument vector,
                which no shell reads (it is quoted where one is on the way).
            nodes: the targets: a node set as a string (groups included), a `NodeSet` or an
                iterable of names. Duplicates are one target. None runs it once, here.
            key: without `nodes`, under which key its results are found; by default the
                worker itself.
            handler: an `EventHandler`, or any object with some of its methods.
            timeout: seconds that each node's command may run from its start; None for the
                Task's ``command_timeout``, `math.inf` for no bound.
            stderr: True to keep stderr apart, False to merge it into stdout in the order of
                writing; None as the Task has it.
            stdin: True to be able to `write`: a command that reads its stdin then waits until
                `set_write_eof`. False gives it an empty one.
            autoclose: True not to keep the Task's block open; the worker is aborted when all
                that keeps it open is closed.
            transport: the way to the nodes; None for the Task's.
            fanout: how many of these nodes may run at once, inside the Task's fanout.
            gather: False to keep no output: it is told to the handler and to `events` only.
            max_output_bytes, max_line_bytes: how much of a node's output, and of each of its
                lines, is kept and told; None as the Task has it, `math.inf` for no bound.

        Raises:
            ValueError: or TypeError; an argument is wrong. Nothing has been started.
            TransportError: the transport can't be used here at all.
            TaskError: the Task has been left.
        """
        work = check_command(command)
        common: dict[str, Any] = {
            "timeout": timeout,
            "stderr": stderr,
            "stdin": stdin,
            "autoclose": autoclose,
            "fanout": fanout,
            "gather": gather,
            "max_output_bytes": max_output_bytes,
            "max_line_bytes": max_line_bytes,
        }
        worker: Worker
        if nodes is not None:
            if key is not None:
                raise ValueError(
                    f"key is for a command without nodes, but key was {key!r} and "
                    f"nodes {str(nodes)!r}; give one of them"
                )
            worker = DistantWorker(nodes, handler, work=work, transport=transport, **common)
        else:
            check_hashable("key", key)
            if transport not in (None, "exec"):
                raise ValueError(
                    f"transport {transport!r} needs nodes; a command without nodes runs here"
                )
            targets = None if key is None else [key]
            worker = Worker(handler, work=work, targets=targets, **common)
        return self.schedule(worker)

    def copy(
        self,
        source: str | PurePath,
        dest: str | PurePath,
        nodes: str | NodeSet | Iterable[str],
        handler: object = None,
        timeout: float | None = None,
        **options: Any,
    ) -> CopyWorker:
        """Schedule the copying of a file or a tree to every node; see `CopyWorker`."""
        worker = CopyWorker(nodes, handler, timeout, source=source, dest=dest, **options)
        return self.schedule(worker)

    def rcopy(
        self,
        source: str | PurePath,
        dest: str | PurePath,
        nodes: str | NodeSet | Iterable[str],
        handler: object = None,
        timeout: float | None = None,
        **options: Any,
    ) -> CopyWorker:
        """Schedule the copying of a file or a tree from every node, to ``NAME.NODE`` in the
        directory `dest`; see `CopyWorker`.
        """
        return self.copy(source, dest, nodes, handler, timeout, reverse=True, **options)

    def schedule(self, worker: AnyWorker) -> AnyWorker:
        """Start a worker that you have built yourself, or when the Task is entered; returns it.

        Raises:
            WorkerError: it has been scheduled before.
            TaskError: the Task has been left.
        """
        if not isinstance(worker, Worker):
            raise TypeError(f"worker must be a Worker, not {worker!r}")
        self._check_open("be given a worker")
        worker._attach(self)
        if self._keep_results:
            self._workers.append(worker)
        self._engine.begin(worker._feeder)
        return worker

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        nodes: str | NodeSet | Iterable[str],
        **options: Unpack[ShellOptions],
    ) -> DistantWorker: ...

    @overload
    async def run(
        self,
        command: str | Sequence[str],
        *,
        nodes: None = None,
        **options: Unpack[ShellOptions],
    ) -> Worker: ...

    async def run(
        self,
        command: str | Sequence[str],
        *,
        nodes: str | NodeSet | Iterable[str] | None = None,
        **options: Any,
    ) -> Worker:
        """`shell`, and wait until that worker is closed. Cancelled, the worker is aborted
        (and its end is waited for by the Task's block, not here).
        """
        self._check_not_in_handler("run")
        if not self._engine.entered:
            raise TaskError("a Task must be entered before anything can be waited for in it")
        worker = self.shell(command, nodes=nodes, **options)
        try:
            await worker.wait()
        except trio.Cancelled:
            worker.abort()
            raise
        return worker

    def timer(
        self,
        fire: float,
        handler: object,
        interval: float | None = None,
        autoclose: bool = False,
    ) -> Timer:
        """Have ``handler.ev_timer(timer)`` called in `fire` seconds; see `Timer`.

        Args:
            fire: seconds from now, or from when the Task is entered.
            handler: an object that has `ev_timer`.
            interval: seconds from then on to each further call; None for a single one.
            autoclose: True not to keep the Task's block open.

        Raises:
            ValueError: or TypeError; an argument is wrong.
            TaskError: the Task has been left.
        """
        timer = Timer(self, fire, handler, interval, autoclose)
        self._check_open("be given a timer")
        self._engine.begin(timer)
        return timer

    def abort(self) -> None:
        """Abort every worker and timer that there is now; returns at once.

        Safe at any time, from a handler too. The Task goes on, and may be given new work.
        """
        self._engine.abort()

    # -- how it runs -------------------------------------------------------------------------

    @property
    def fanout(self) -> int:
        """The most sessions that run at once. May be set while they run: a lower one lets
        those that run end by themselves, and ``"auto"`` begins to look for the best anew. What
        is read is always the number that holds at the moment.
        """
        return int(self._engine.limiter.total_tokens)

    @fanout.setter
    def fanout(self, fanout: int | Literal["auto"]) -> None:
        at_once = check_fanout_or_auto("fanout", fanout)
        if at_once is None:
            self._engine.find_fanout(self._max_fanout)
        else:
            self._engine.set_fanout(at_once)

    def statistics(self) -> TaskStatistics:
        """How the Task stands at this moment."""
        limiter = self._engine.limiter.statistics()
        timers = [live for live in self._engine.live if isinstance(live, Timer)]
        return TaskStatistics(
            fanout=self.fanout,
            running=limiter.borrowed_tokens,
            waiting=limiter.tasks_waiting,
            open_workers=len(self._engine.live) - len(timers),
            valid_timers=sum(timer.is_valid() for timer in timers),
        )

    # -- its life ----------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection  # an interrupt must find it entered whole, or not at all
    async def __aenter__(self) -> Self:
        if self._engine.entered:
            raise TaskError("a Task can be entered once; make a new one")
        await self._engine.enter()
        return self

    @trio.lowlevel.enable_ki_protection  # and not between the block and the end of its commands
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        task = trio.lowlevel.current_task()
        for live in self._engine.live:
            if isinstance(live, Feeder):
                live.worker._consumers.lift(task)
        return await self._engine.leave(exc_type, exc, traceback)

    # -- for its workers -----------------------------------------------------------------------

    def _find_transport(self, transport: str | Transport | None) -> Transport:
        """The transport that a worker asks for; by default the Task's. One for each name."""
        asked = self._transport if transport is None else transport
        if isinstance(asked, Transport):
            return asked
        if asked not in self._transports:
            self._transports[asked] = find_transport(asked)
        return self._transports[asked]

    def _check_open(self, what: str) -> None:
        if self._engine.entered and not trio.lowlevel.in_trio_run():
            raise TaskError(
                f"the Task cannot {what} from outside of its trio.run; in a thread, use "
                "trio.from_thread.run_sync"
            )
        if self._engine.over:
            raise TaskError(f"the Task is over and cannot {what}; make a new one")
        self._engine.admit()

    def _check_not_in_handler(self, what: str) -> None:
        if trio.lowlevel.current_task() is self._engine.dispatcher.task:
            raise TaskError(
                f"{what}() was called from a handler of the same Task and would wait for "
                "itself; use shell() or write(), or another Task"
            )
