"""The guard of one SSH connection: a shell beside its commands that ends them on request."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import trio

from trioshell._errors import TransportError
from trioshell.transports._guard import Answers, Ended, Ready, say, say_end
from trioshell.transports._ssh_channel import check_packets

# Beyond the grace, the guard needs a second to be sure after SIGKILL, and some round trips.
_PATIENCE_SECONDS: Final = 3.0

# How long a guard may take to start.
_START_SECONDS: Final = 3.0


class SshGuard:
    """The guard, and what asyncssh calls its session.

    Attributes:
        state: ``"starting"``, ``"ready"`` or ``"gone"``.
        left: set when it has exited, or its connection has gone.
    """

    def __init__(self, token: str, name: str, flush: Callable[[], None]) -> None:
        self.state = "starting"
        self.left = trio.Event()
        self._name = name
        self._flush = flush
        self._answers = Answers(token)
        self._ended: dict[int, Ended] = {}
        self._changed = trio.Event()
        self._channel: Any = None

    # -- what asyncssh calls ------------------------------------------------------------

    def connection_made(self, channel: Any) -> None:
        check_packets(channel)
        self._channel = channel

    def session_started(self) -> None:
        if self.state == "gone":  # it has been dismissed before it came
            self._channel.write_eof()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None:
            return
        for answer in self._answers.feed(data):
            if isinstance(answer, Ready):
                self.state = "ready"
            else:
                self._ended[answer.group] = answer
        self._notify()

    def eof_received(self) -> bool:
        self.fail()
        return True

    def exit_status_received(self, status: int) -> None:
        self.fail()

    def exit_signal_received(self, name: str, core: bool, message: str, lang: str) -> None:
        self.fail()

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail()
        self.left.set()

    def pause_writing(self) -> None:
        pass  # what we write is a few bytes a command

    def resume_writing(self) -> None:
        pass

    # -- what a link calls --------------------------------------------------------------

    def fail(self) -> None:
        """It does not answer any more, or never did."""
        self.state = "gone"
        self._notify()

    def dismiss(self) -> None:
        """Let it go: it ends all that it still knows, and exits."""
        self.fail()
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_eof()
            self._flush()

    def know(self, group: int) -> None:
        """Have it end this group as well if the connection dies."""
        self._write(say("know", group))

    def forget(self, group: int) -> None:
        """The group is over, or none of our business any more."""
        self._write(say("forget", group))

    async def end(self, group: int, grace: float, over: Callable[[], bool]) -> Ended:
        """Have a group ended, unless it turns out to be `over` by itself first.

        Raises:
            TransportError: it does not answer, and what is left there is not known.
        """
        await self._wait(_START_SECONDS, lambda: self.state == "ready")
        if over():
            return Ended(group, by_itself=True)
        self._ended.pop(group, None)
        self._write(say_end(group, grace))
        await self._wait(grace + _PATIENCE_SECONDS, lambda: group in self._ended)
        if group not in self._ended:
            raise TransportError(f"nothing on {self._name} confirms that it has been ended")
        return self._ended.pop(group)

    async def _wait(self, seconds: float, reached: Callable[[], bool]) -> None:
        with trio.move_on_after(seconds if math.isfinite(seconds) else 1e9):
            while not reached() and self.state != "gone":
                await self._changed.wait()

    def _notify(self) -> None:
        # A new one at once: there may be many who wait, each for something else.
        self._changed.set()
        self._changed = trio.Event()

    def _write(self, words: bytes) -> None:
        if self.state != "gone" and self._channel is not None and not self._channel.is_closing():
            self._channel.write(words)
            self._flush()
