"""A command of a cluster node as a real process, treated as sshd treats it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

_CHUNK = 32768


class Sink(Protocol):
    """What a command's process reports to: the SSH channel that it belongs to."""

    def output(self, stream: str, data: bytes) -> None:
        """It wrote `data` to "stdout" or "stderr"."""

    def output_ended(self) -> None:
        """Nobody holds its stdout or its stderr open any more."""

    def exited(self, returncode: int) -> None:
        """The process is over; -n if signal n ended it. Output may still follow."""

    def stdin_full(self, full: bool) -> None:
        """No more input is wanted just now (True), or again (False)."""

    def stdin_closed(self) -> None:
        """Nobody will read the input any more."""


class CommandProcess:
    """One command's process and its pipes, served by the running asyncio loop.

    As with sshd: it leads a session of its own; its exit is reported when it exits, not
    when its output ends; when the connection goes, its pipes are closed and it is not
    killed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        sink: Sink,
        ended: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sink: Sink | None = sink
        self._ended = ended
        self._input = bytearray()
        self._input_eof = False
        self._input_full = False
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(
            argv,
            bufsize=0,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self._stdin: IO[bytes] | None = self._popen.stdin
        self._outputs = {self._popen.stdout: "stdout", self._popen.stderr: "stderr"}
        for file in (self._stdin, *self._outputs):
            os.set_blocking(file.fileno(), False)
        try:
            self._pidfd = os.pidfd_open(self._popen.pid)
        except OSError:
            self._popen.kill()
            self._popen.wait()
            self.detach()
            raise
        self._loop.add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        """The process, its process group and its session."""
        return self._popen.pid

    def start(self) -> None:
        """Begin to report output."""
        self.resume()

    def pause(self) -> None:
        """Take no more output: the pipe fills, and the command waits."""
        for file in self._outputs:
            self._loop.remove_reader(file)

    def resume(self) -> None:
        """Take output again."""
        for file, stream in self._outputs.items():
            self._loop.add_reader(file, self._on_output, file, stream)

    def feed(self, data: bytes) -> None:
        """More input for it; what it does not read waits here. Dropped if nobody will read."""
        if self._stdin is not None:
            was_empty = not self._input
            self._input += data
            if was_empty:
                self._write_input()

    def feed_eof(self) -> None:
        """Close its stdin after all that was fed."""
        self._input_eof = True
        if not self._input:
            self._close_stdin()

    def detach(self) -> None:
        """The connection is gone: close the pipes, report nothing, leave the process be."""
        self._sink = None
        self._close_stdin()
        for file in list(self._outputs):
            self._close_output(file)

    def _on_output(self, file: IO[bytes], stream: str) -> None:
        try:
            data = os.read(file.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if data:
            assert self._sink is not None  # Invariant: no reader is registered once detached
            self._sink.output(stream, data)
            return
        self._close_output(file)
        if not self._outputs and self._sink is not None:
            self._sink.output_ended()

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        returncode = self._popen.wait()
        self._ended()
        if self._sink is not None:
            self._sink.exited(returncode)

    def _write_input(self) -> None:
        assert self._stdin is not None
        try:
            written = os.write(self._stdin.fileno(), self._input[:_CHUNK])
        except BlockingIOError:
            written = 0
        except BrokenPipeError:
            self._close_stdin()
            if self._sink is not None:
                self._sink.stdin_closed()
            self._tell_full(False)
            return
        del self._input[:written]
        if self._input:
            self._loop.add_writer(self._stdin, self._write_input)
        else:
            self._loop.remove_writer(self._stdin)
            if self._input_eof:
                self._close_stdin()
        self._tell_full(bool(self._input))

    def _tell_full(self, full: bool) -> None:
        if full != self._input_full and self._sink is not None:
            self._input_full = full
            self._sink.stdin_full(full)

    def _close_stdin(self) -> None:
        self._input.clear()
        if self._stdin is not None:
            self._loop.remove_writer(self._stdin)
            self._stdin.close()
            self._stdin = None

    def _close_output(self, file: IO[bytes]) -> None:
        del self._outputs[file]
        self._loop.remove_reader(file)
        file.close()
