"""asyncio's side of an `SshTransport`: one trio-asyncio loop in a system task of Trio.

asyncssh speaks asyncio, we speak Trio. What runs between them is made cheap here: a callback
that asyncio asks for does not cost a step of the Trio scheduler, as trio-asyncio by itself
would have it, but waits in a queue that whoever has just given asyncssh something to do runs
to its end, at once and in place (`Bridge.drain`). What asyncssh writes meanwhile goes out in
one piece afterwards.

The loop belongs to no caller's cancel scope: cancelling whoever happened to open the first
connection must not end those of the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol, TypeVar

import asyncssh
import outcome
import trio

from trioshell._errors import TransportError
from trioshell.transports import _ssh_asyncio
from trioshell.transports._ssh_poller import Poller

log = logging.getLogger("trioshell.ssh")

T = TypeVar("T")

# How long the loop may take to wind up, once everything that we know of has been closed.
_STOP_SECONDS = 2.0


class Writer(Protocol):
    """Something that collects bytes to be sent, and sends them when told."""

    def flush(self) -> None:
        """Send what has been collected, without blocking."""

    def abort(self) -> None:
        """Close at once."""


class Bridge:
    """A trio-asyncio loop, and a Trio nursery beside it.

    Attributes:
        loop: the loop, for whoever has to give it to asyncssh.
        nursery: for Trio tasks that must live as long as the loop and no longer.
        poller: tells the connections' sockets when they are ready.
        transports: those that are open, which are closed when the loop ends.
    """

    loop: asyncio.AbstractEventLoop
    nursery: trio.Nursery

    def __init__(self) -> None:
        self.poller = Poller(self.give)
        self.transports: set[Writer] = set()
        self._ready: deque[asyncio.Handle] = deque()
        self._dirty: list[Writer] = []
        self._draining = False
        self._kicked = False
        self._unfinished = 0
        self._finished = trio.Event()
        self._stop = trio.Event()
        self._started = trio.Event()
        self._stopped = trio.Event()
        self._kick: Callable[[Callable[[], None]], object]

    @property
    def running(self) -> bool:
        """True between `start` and the beginning of `stop`."""
        return self._started.is_set() and not self._stop.is_set()

    async def start(self) -> None:
        """Start the loop. Cancelled, it is running or will be ended by `stop`."""
        trio.lowlevel.spawn_system_task(self._run, name="trioshell SSH loop")
        await self._started.wait()

    async def stop(self) -> None:
        """End the loop and all that still runs on it. Never raises; bounded."""
        self._stop.set()
        # Shielded: a loop that is left running would outlive its Task. Bounded.
        with trio.move_on_after(_STOP_SECONDS, shield=True):
            await self._stopped.wait()

    def finish_soon(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run a Trio function that somebody who is cancelled leaves to us; it must be bounded."""
        self._unfinished += 1
        self.nursery.start_soon(self._finish, function, args)

    async def _finish(
        self, function: Callable[..., Awaitable[None]], args: tuple[object, ...]
    ) -> None:
        try:
            await function(*args)
        except Exception:  # a bug of ours: it must not end the connections of the others
            log.exception("something could not be finished over SSH")
        finally:
            self._unfinished -= 1
            self._finished.set()

    async def wait_finished(self) -> None:
        """Wait until nothing of `finish_soon` is under way."""
        while self._unfinished and self.running:
            self._finished = trio.Event()
            await self._finished.wait()

    async def _run(self) -> None:
        try:
            async with _ssh_asyncio.open_loop() as loop:
                self._take_over(loop)
                async with trio.open_nursery() as self.nursery:
                    self.nursery.start_soon(self.poller.run)
                    self._started.set()
                    await self._stop.wait()
                    self.nursery.cancel_scope.cancel()
                    for transport in list(self.transports):
                        transport.abort()
        except Exception:  # it would end the whole program from inside a system task
            log.exception("the SSH loop has failed; its connections are lost")
        finally:
            self._stop.set()
            self._started.set()
            self._stopped.set()

    def _take_over(self, loop: Any) -> None:
        self.loop = loop
        self._kick = loop.call_soon
        loop.call_soon = self._call_soon
        run_in_executor = loop.run_in_executor

        def run_here(executor: Any, func: Any, *args: Any) -> Any:
            # asyncssh sends the making of its options to a thread, for the sake of the files
            # that it might have to read. It has to read none: we have.
            if getattr(func, "func", None) is not asyncssh.SSHClientConnectionOptions:
                return run_in_executor(executor, func, *args)
            future = loop.create_future()
            try:
                future.set_result(func(*args))
            except ValueError as exc:
                future.set_exception(exc)
            return future

        loop.run_in_executor = run_here
        loop.set_exception_handler(_report)

    def _call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self.loop, context)
        self._ready.append(handle)
        if not self._draining and not self._kicked:
            self._kicked = True
            self._kick(self.drain)
        return handle

    def write_later(self, writer: Writer) -> None:
        """Have `writer` flushed when what is being done now is done."""
        self._dirty.append(writer)
        if not self._draining and not self._kicked:
            self._kicked = True
            self._kick(self.drain)

    def flush(self) -> None:
        """Send what asyncssh has written just now; what else it wants done comes later."""
        if not self._draining:
            dirty, self._dirty = self._dirty, []
            for writer in dirty:
                writer.flush()

    def drain(self) -> None:
        """Run all that asyncio wants to have run, and send what that has written."""
        self.give(_nothing)

    def give(self, function: Callable[..., object], *args: object) -> None:
        """Call something of asyncssh, and run all that asyncio then wants to have run.

        To be called by any Trio task. Inside of a turn that is under way, it is part of it.
        """
        if self._draining:
            function(*args)
            return
        self._draining = True
        self._kicked = False
        # asyncio's "running loop" is looked up in the context of the current Trio task.
        token = _ssh_asyncio.current_loop.set(self.loop)
        try:
            function(*args)
            ready = self._ready
            while ready or self._dirty:
                while ready:
                    handle = ready.popleft()
                    if not handle.cancelled():
                        handle._run()
                dirty, self._dirty = self._dirty, []
                for writer in dirty:
                    writer.flush()
        finally:
            _ssh_asyncio.current_loop.reset(token)
            self._draining = False

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start an asyncio task, and let it go as far as it gets."""
        made: list[asyncio.Task[T]] = []
        self.give(lambda: made.append(self.loop.create_task(coroutine)))
        return made[0]

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run an asyncio coroutine and wait for it. Cancelled, it is cancelled too."""
        task = self.spawn(coroutine)
        try:
            return await self.wait(task)
        except trio.Cancelled:
            self.cancel(task)
            raise

    async def run_trio(self, awaitable: Awaitable[T]) -> T:
        """For asyncio: wait for something that speaks Trio."""

        async def wait() -> T:
            return await awaitable

        loop: Any = self.loop
        result: T = await loop.trio_as_future(wait)
        return result

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel an asyncio task, whose end nobody waits for."""
        task.add_done_callback(_forget)
        self.give(task.cancel)

    async def wait(self, task: asyncio.Task[T]) -> T:
        """Wait for an asyncio task. Cancelled, the task goes on.

        Raises:
            TransportError: the loop has ended under it.
        """
        if task.done():
            await trio.lowlevel.checkpoint_if_cancelled()
            return _result(task)
        waiting: trio.lowlevel.Task | None = trio.lowlevel.current_task()

        def done(_: asyncio.Task[T]) -> None:
            if waiting is not None:
                trio.lowlevel.reschedule(waiting, outcome.Value(None))

        def abort(_: object) -> trio.lowlevel.Abort:
            # The call of done may be in the queue already, where nothing can take it out.
            nonlocal waiting
            waiting = None
            return trio.lowlevel.Abort.SUCCEEDED

        task.add_done_callback(done)
        await trio.lowlevel.wait_task_rescheduled(abort)
        return _result(task)


def _result(task: asyncio.Task[T]) -> T:
    try:
        return task.result()
    except asyncio.CancelledError:
        # Whoever waits has not cancelled it, so it was the loop, which has come to an end.
        raise TransportError("SSH has been shut down in the middle of it") from None


def _nothing() -> None:
    pass


def _forget(task: asyncio.Task[Any]) -> None:
    # Looking at the exception is what tells asyncio that somebody knows of it.
    if not task.cancelled():
        task.exception()


def _report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Nobody waits for what failed here, or it would have been told. trio-asyncio's own handler
    # would end the loop, and with it the connections of everybody else.
    log.error("%s", context.get("message", "error in asyncio"), exc_info=context.get("exception"))
