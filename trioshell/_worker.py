"""A worker: one command, on one target or on many, and all that its user sees of it.

`Worker` is what every kind of worker has; `DistantWorker` (in `_distant`) adds what is read
by node set. A worker is inert until a Task is given it; from then on its feeder (in `_feeder`) is
what lives of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from trioshell._arguments import check_cap, check_data, check_fanout, check_flag, check_seconds
from trioshell._books import Books, Results
from trioshell._caps import Caps
from trioshell._consumers import Consumers, EventStream
from trioshell._errors import WorkerError
from trioshell._feeder import Feeder
from trioshell._handler import EventHandler
from trioshell._lifecycle import WorkerState
from trioshell._message import Message
from trioshell._results import NodeResult
from trioshell.transports import Job, Transport, find_transport

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

    from trioshell._engine import Engine
    from trioshell._task import Task

Buffer: TypeAlias = bytes | bytearray | memoryview

SNAME_STDIN = "stdin"
SNAME_STDOUT = "stdout"
SNAME_STDERR = "stderr"


def find_methods(handler: object, names: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    """The methods of that name that do something; found once, not at each event."""
    methods = {}
    for name in names:
        method = getattr(handler, name, None)
        if method is not None and getattr(method, "__func__", None) is not getattr(
            EventHandler, name
        ):
            methods[name] = method
    return methods


class Worker:
    """One command, on whatever it runs; and all that came of it.

    Made by `Task.shell` and its like, or built by hand and given to `Task.schedule`.
    Everything here is sync and may be called at any time from the program's Trio thread,
    handlers included, unless it says otherwise.

    Attributes:
        eh: the handler, or None. May be replaced while the worker runs.
        task: the Task that it was given to; None before.
        timeout: seconds that each node's command may run, from its start; None for no bound.
        command: what is run; None for a worker that runs nothing (`StreamWorker`).
        current_node: the node of which the handler is being told, or was told last.
        current_msg: the line that was read last from any stream but stderr.
        current_errmsg: the line that was read last from stderr.
        current_rc: the return code of which the handler was told last.
        current_sname: the stream of which it was told last.
    """

    SNAME_STDIN = SNAME_STDIN
    SNAME_STDOUT = SNAME_STDOUT
    SNAME_STDERR = SNAME_STDERR

    def __init__(
        self,
        handler: object = None,
        *,
        work: Any = None,
        targets: Iterable[Hashable] | None = None,
        nodes: Any = None,
        timeout: float | None = None,
        stderr: bool | None = None,
        stdin: bool = True,
        autoclose: bool = False,
        transport: str | Transport | None = "exec",
        fanout: int | None = None,
        gather: bool = True,
        max_output_bytes: float | None = None,
        max_line_bytes: float | None = None,
    ) -> None:
        self.timeout = check_seconds("timeout", timeout)
        self._takes_default_timeout = timeout is None  # infinity is no bound, and no default
        self.task: Task | None = None
        self.current_node: Hashable = None
        self.current_msg: bytes | None = None
        self.current_errmsg: bytes | None = None
        self.current_rc: int | None = None
        self.current_sname: str | None = None
        self.eh = handler
        self.autoclose = check_flag("autoclose", autoclose)
        self.command = work if isinstance(work, str | tuple) else None
        self._stderr = None if stderr is None else check_flag("stderr", stderr)
        self._job = Job(work, nodes, check_flag("stdin", stdin), bool(stderr))
        self._transport = transport
        self._own_limiter = (
            None if fanout is None else trio.CapacityLimiter(check_fanout("fanout", fanout))
        )
        self._books = Books([self] if targets is None else targets, gather)
        self._caps = Caps(
            check_cap("max_output_bytes", max_output_bytes),
            check_cap("max_line_bytes", max_line_bytes),
        )
        self._consumers = Consumers()
        self._feeder = Feeder(self, self._books.targets, self._consumers)
        self._closed = trio.Event()

    def __repr__(self) -> str:
        what = type(self).__name__
        state = "closed" if self.closed else "running" if self.started else "not started"
        of = "" if self.command is None else f" of {self.command!r}"
        return f"<{what}{of} for {len(self._books.targets)} targets, {state}>"

    # -- the handler -----------------------------------------------------------------------

    @property
    def eh(self) -> object:
        return self._handler

    @eh.setter
    def eh(self, handler: object) -> None:
        names = ("ev_start", "ev_pickup", "ev_read", "ev_written", "ev_hup", "ev_close")
        if handler is not None and not any(hasattr(handler, name) for name in (*names, "ev_timer")):
            raise TypeError(f"handler must have a method like ev_read, and {handler!r} has none")
        self._methods = find_methods(handler, names)
        self._handler = handler

    @property
    def nodes(self) -> NodeSet | None:
        """The worker's targets; None for one that runs here, without nodes."""
        return None

    # -- what it does ------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """True once `ev_start` has been due."""
        return self._books.state is not WorkerState.NEW

    @property
    def closed(self) -> bool:
        """True when everything is over, and the handler has been told."""
        return self._closed.is_set()

    async def wait(self) -> None:
        """Wait until the worker is closed.

        Raises:
            TaskError: called from a handler of the same Task, which would wait for itself.
            WorkerError: it has not been given to a Task.
        """
        if self.task is None:
            raise WorkerError("the worker cannot be waited for: no Task has been given it")
        self.task._check_not_in_handler("wait")
        self._consumers.lift(trio.lowlevel.current_task())
        await self._closed.wait()

    def abort(self) -> None:
        """End all of it: commands that run are killed, with all that they started, and nodes
        that wait never start.

        Returns at once; `wait` tells when it is done. Safe at any time: on a worker that has
        not started, is aborting already or is closed, it does what is left to do.
        """
        self._feeder.abort()

    def did_timeout(self) -> bool:
        """True if any node's command ran longer than its timeout."""
        self._check_readable()
        return self._books.timed_out > 0

    # -- its input ---------------------------------------------------------------------------

    def write(self, data: Buffer, sname: str | None = None) -> None:
        """Queue `data` for every target, started or not; returns at once.

        A target that has ended, or that has closed its stdin, is passed over. The data is
        kept until the last node has started and has taken it, so memory is bounded only by
        what is written; `send_all` waits.

        Args:
            data: as many bytes as you like, taken as they are now.
            sname: the stream to write to; stdin if it is not given.

        Raises:
            WorkerError: the worker has no stdin (``stdin=False``), or `set_write_eof` has
                been called.
            ValueError: it has no such stream.
        """
        data = check_data("data", data)
        sname = self._check_sname(sname)
        if not self._job.stdin:
            raise WorkerError("nothing can be written to a worker that has stdin=False")
        if self._feeder.input.eof:
            raise WorkerError("nothing can be written after set_write_eof()")
        if data and not self.closed:
            self._feeder.put(sname, data)

    async def send_all(self, data: Buffer, sname: str | None = None) -> None:
        """As `write`, then wait until every target that runs has taken it.

        Before the first target runs it waits for that; nodes that wait for their place in
        the fanout are not waited for. Before the Task is entered nothing is waited for.
        Cancelled, the data is queued all the same.

        Raises:
            TaskError: called from a handler of the same Task: a command that waits until it is
                read would wait for the handler, which waits for the command. Use `write`.
            WorkerError: or ValueError, as `write`.
        """
        if self.task is not None:
            self.task._check_not_in_handler("send_all")
        self.write(data, sname)
        await self._feeder.wait_taken()

    def set_write_eof(self, sname: str | None = None) -> None:
        """No more input: each target's stdin is closed when it has taken what was written.

        Harmless when repeated.
        """
        self._check_sname(sname)
        if self._job.stdin and not self._feeder.input.eof:
            self._feeder.put_eof()

    def _check_sname(self, sname: str | None) -> str:
        if sname not in (None, SNAME_STDIN):
            raise ValueError(f"sname must be {SNAME_STDIN!r} for a command, not {sname!r}")
        return SNAME_STDIN

    # -- what came of it -----------------------------------------------------------------------

    def results(self) -> Mapping[Hashable, NodeResult]:
        """From each node whose run is over to its `NodeResult`, in node order: a live view."""
        self._check_readable()
        return Results(self._books)

    def events(self) -> EventStream:
        """The worker's events as an async iterator of records, to be matched.

        Each call makes a consumer of its own, which gets everything from the start on: one
        that comes late is told first what it has missed, node by node, of the output what
        has been gathered and not flushed. The iterator ends after `Close`.

        A consumer that lags behind holds the worker's nodes back, as a slow handler does. One
        that is dropped, closed, whose task has ended, or whose task waits for the worker by
        `wait` or by leaving the Task's block holds nobody back.
        """
        return self._consumers.add(self)

    def read(self, node: Hashable = None, sname: str = SNAME_STDOUT) -> Message:
        """What a node has written to a stream until now; empty if nothing.

        Args:
            node: the node; None for the only one, or for a worker that has no nodes.

        Raises:
            KeyError: the node is not of this worker.
        """
        self._check_readable()
        if node is None:
            if len(self._books.targets) != 1:
                raise KeyError("read() must be told which node, since the worker has several")
            node = next(iter(self._books.targets))
        book = self._books.find(node)
        return Message() if book is None else book.outputs.message(sname)

    def flush_buffers(self) -> None:
        """Forget what has been gathered of stdout (and of every stream but stderr)."""
        self._check_readable()
        self._books.flush(lambda sname: sname != SNAME_STDERR)

    def flush_errors(self) -> None:
        """Forget what has been gathered of stderr."""
        self._check_readable()
        self._books.flush(lambda sname: sname == SNAME_STDERR)

    def last_read(self) -> bytes | None:
        """Deprecated: `current_msg`."""
        self._warn("last_read", "current_msg")
        return self.current_msg

    def last_error(self) -> bytes | None:
        """Deprecated: `current_errmsg`."""
        self._warn("last_error", "current_errmsg")
        return self.current_errmsg

    def _warn(self, name: str, instead: str) -> None:
        text = f"{name}() is deprecated: use {instead}, or what the handler method is given"
        self._check_readable()
        warnings.warn(text, DeprecationWarning, stacklevel=3)

    def _check_readable(self) -> None:
        if self.task is None:
            raise WorkerError("the worker cannot be read: no Task has been given it")

    def _name_nodes(self, nodes: list[Hashable]) -> str:
        """Nodes or keys of this worker, for a message to a person."""
        return ", ".join("the command" if node is self else str(node) for node in nodes)

    # -- the engine's side -----------------------------------------------------------------

    def _check(self) -> None:
        """For a worker that is built by hand: raise at once what `_attach` would raise."""
        if self._transport is not None:  # else it is the Task's, which is not known yet
            find_transport(self._transport).check(self._job)

    def _attach(self, task: Task) -> None:
        """Become a worker of `task`, which starts it soon."""
        if self.task is not None:
            raise WorkerError(f"{self!r} has been scheduled already; build a new one")
        transport = task._find_transport(self._transport)
        stderr = task._stderr if self._stderr is None else self._stderr
        job = Job(self._job.work, self._job.nodes, self._job.stdin, stderr, task._connect_timeout)
        transport.check(job)
        self._job, self.task = job, task
        if self._takes_default_timeout:
            self.timeout = task._command_timeout
        self._books.caps = self._caps.or_else(task._caps) or None
        engine = task._engine
        self._feeder.attach(engine, job, transport, self.timeout, self._limiters(engine))

    def _give_up(self) -> None:
        """Be closed: everybody has been told, or nobody can be told any more."""
        self._consumers.finish()
        self._closed.set()

    async def _release(self) -> None:
        """Let go of what the worker has held from before its start; all runs are over."""

    def _limiters(self, engine: Engine) -> list[trio.CapacityLimiter]:
        """What bounds how many of its nodes run at once, the narrowest first."""
        own = [] if self._own_limiter is None else [self._own_limiter]
        return [*own, engine.limiter]
