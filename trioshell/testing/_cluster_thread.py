"""The thread in which the embedded cluster's servers run, on an asyncio loop of their own.

So the servers' load on the event loop, and their bugs, are not those of the client under
test, which runs in another thread under Trio.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_CALL_TIMEOUT = 10.0


class LoopThread(ABC):
    """An asyncio loop in a thread of its own, from `begin` to `finish`, once.

    A subclass says what is to be set up and taken down there. Either may raise: the
    exception is kept, and `join` raises it.
    """

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        # Invariant: these three are read and written under the lock only.
        self._lock = threading.Lock()
        self._over = self._finishing = False
        self._on_end: Callable[[], None] | None = None

    @abstractmethod
    async def set_up(self) -> None:
        """Called first, in the thread."""

    @abstractmethod
    async def take_down(self) -> None:
        """Called last, in the thread, whether or not `set_up` has raised."""

    def begin(self, ready: Callable[[], None]) -> None:
        """Start the thread, which calls `ready` when `set_up` is over or has failed."""
        self._ready = ready
        self._thread.start()

    def finish(self, ended: Callable[[], None]) -> None:
        """Have the thread end, and call `ended` as its last act; here, if it is over already."""
        with self._lock:
            if not self._over:
                self._on_end = ended
                self._finishing = True
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._stop.set)
                return
        ended()

    def join(self) -> None:
        """Wait for the thread, and raise what was raised in it. The second time, do nothing."""
        self._thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    @property
    def failed(self) -> bool:
        """True if something was raised in the thread, which then has ended or is about to."""
        return self._error is not None

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the coroutine in the thread; return what it returns, or raise what it raises.

        Blocks, for a moment if `work` does not wait. `RuntimeError` if the loop does not run.
        """
        with self._lock:
            if self._loop is None or self._finishing:
                raise RuntimeError("the cluster does not run: use it inside its block")
            done = asyncio.run_coroutine_threadsafe(work(), self._loop)
        return done.result(_CALL_TIMEOUT)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as exc:  # noqa: BLE001  # a thread has nobody else to raise it to
            self._error = exc
            self._ready()
        with self._lock:
            self._over = self._finishing = True
            on_end = self._on_end
        if on_end is not None:
            on_end()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._finishing:
                self._stop.set()
        try:
            await self.set_up()
            self._ready()
            await self._stop.wait()
        finally:
            await self.take_down()
