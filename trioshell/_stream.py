"""A worker without a command, on streams that exist already."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from trioshell._arguments import check_hashable
from trioshell._errors import WorkerError
from trioshell._worker import SNAME_STDIN, Worker
from trioshell.transports._streams import Reader, StreamsTransport, Writer

if TYPE_CHECKING:
    from trioshell._engine import Engine


class _File(Protocol):
    def fileno(self) -> int: ...


class StreamWorker(Worker):
    """Reads streams that exist already, and writes to some, as other workers do a command's.

    Give it streams with `set_reader` and `set_writer`, then give it to `Task.schedule`. It
    takes the streams over: they are closed when it is. Its one run, under its key, is over
    with ``Exited(0)`` when every reader is at its end and every writer has been closed
    (`set_write_eof`), and with `Unreachable` if one of them broke. It takes no place in the
    fanout, since no command runs.

    Args:
        handler: an `EventHandler`, or any object with some of its methods.
        key: under which key its results are found; by default the worker itself.
        timeout: seconds that it may take; None for no bound.
        autoclose: True not to keep the Task's block open.
        gather: False to keep no output.
        max_output_bytes, max_line_bytes: how much is kept and told; see `Task`. None as the
            Task has it, `math.inf` for no bound.
    """

    def __init__(
        self,
        handler: object = None,
        key: Hashable = None,
        *,
        timeout: float | None = None,
        autoclose: bool = False,
        gather: bool = True,
        max_output_bytes: float | None = None,
        max_line_bytes: float | None = None,
    ) -> None:
        self._readers: dict[str, Reader] = {}
        self._writers: dict[str, Writer] = {}
        self._fds: set[int] = set()
        check_hashable("key", key)
        super().__init__(
            handler,
            targets=None if key is None else [key],
            timeout=timeout,
            autoclose=autoclose,
            transport=StreamsTransport(self._readers, self._writers, lambda: self._feeder.nursery),
            gather=gather,
            max_output_bytes=max_output_bytes,
            max_line_bytes=max_line_bytes,
        )

    def set_reader(self, sname: str, source: Reader | _File | int) -> None:
        """Read from `source` until its end, under the name `sname`.

        Args:
            sname: what its lines are told under: any name, once.
            source: a Trio stream, or a file object or descriptor (a pipe, a socket, a
                terminal, a file), which is switched to non-blocking until it is closed. What
                a file object has buffered already is not seen.

        Raises:
            ValueError: the name is taken, or the descriptor is not open.
            TypeError: it can't be read from.
            WorkerError: the worker has been scheduled.
        """
        self._check_free(sname, self._readers)
        if not isinstance(source, trio.abc.ReceiveStream):
            source = self._open("source", source)
        self._readers[sname] = source

    def set_writer(self, sname: str, sink: Writer | _File | int) -> None:
        """Write to `sink` what `write` is given for `sname`.

        Args:
            sname: any name, once; `write` without a name means ``"stdin"``, or the only
                writer that there is.
            sink: as `set_reader` takes it, to be written to.

        Raises:
            ValueError: the name is taken, or the descriptor is not open.
            TypeError: it can't be written to.
            WorkerError: the worker has been scheduled.
        """
        self._check_free(sname, self._writers)
        if not isinstance(sink, trio.abc.SendStream):
            sink = self._open("sink", sink)
        self._writers[sname] = sink

    def _open(self, name: str, stream: _File | int) -> trio.lowlevel.FdStream:
        fd = _take_over(name, stream)
        if fd in self._fds:
            fd = os.dup(fd)  # read and written by one number: each side closes its own
        self._fds.add(fd)
        return trio.lowlevel.FdStream(fd)

    def _check_free(self, sname: object, streams: dict[str, Any]) -> None:
        if not isinstance(sname, str) or not sname:
            raise TypeError(f"sname must be a name, not {sname!r}")
        if sname in streams:
            raise ValueError(f"sname must be new, and {sname!r} is taken")
        if self.task is not None:
            raise WorkerError("a StreamWorker cannot be given a stream once it is scheduled")

    def _check_sname(self, sname: str | None) -> str:
        if sname is None:
            only = len(self._writers) == 1 and SNAME_STDIN not in self._writers
            sname = next(iter(self._writers)) if only else SNAME_STDIN
        if sname not in self._writers:
            known = ", ".join(map(repr, self._writers)) or "none"
            raise ValueError(f"sname must be a writer of the worker ({known}), not {sname!r}")
        return sname

    def set_write_eof(self, sname: str | None = None) -> None:
        """Close a writer when it has taken what was written to it; without a name, all."""
        if self._feeder.input.eof:
            return
        if sname is None:
            self._feeder.put_eof()
        else:
            self._feeder.put(self._check_sname(sname), b"")

    async def _release(self) -> None:
        # Its session has closed them, if there was one.
        for stream in (*self._readers.values(), *self._writers.values()):
            with contextlib.suppress(trio.BrokenResourceError, OSError):
                await trio.aclose_forcefully(stream)

    def _limiters(self, engine: Engine) -> list[trio.CapacityLimiter]:
        return []


def _take_over(name: str, stream: _File | int) -> int:
    """The descriptor of a stream, which is ours from now on."""
    if isinstance(stream, int) and not isinstance(stream, bool):
        try:
            os.fstat(stream)
        except OSError as exc:
            raise ValueError(f"{name} must be an open descriptor, not {stream!r}") from exc
        return stream
    try:
        with contextlib.suppress(AttributeError):
            stream.flush()  # type: ignore[union-attr]  # what a writer still holds comes first
        fd = os.dup(stream.fileno())  # type: ignore[union-attr]  # else it is an AttributeError
    except (AttributeError, OSError, ValueError) as exc:
        raise TypeError(
            f"{name} must be a Trio stream, a file object or a descriptor, not {stream!r}"
        ) from exc
    stream.close()  # type: ignore[union-attr]  # a file object: it has a fileno
    return fd
