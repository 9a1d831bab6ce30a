"""Our standard input, handed to a worker as it comes, no faster than the commands take it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from trioshell import Worker

_CHUNK_BYTES = 65536


async def feed(worker: Worker, first: bytes = b"", fd: int | None = 0) -> None:
    """Hand `first`, and then all that can be read from `fd`, to every command of `worker`.

    Without a descriptor there is only `first`.

    Returns at the end of the input, which is the end of the commands' input too. Cancelled,
    what has been read has been queued.
    """
    if first:
        await worker.send_all(first)
    while fd is not None and (data := await _read(fd)):
        await worker.send_all(data)
    worker.set_write_eof()


async def _read(fd: int) -> bytes:
    """The next bytes; empty at the end, or if `fd` cannot be read."""
    try:
        # Waited for instead of made non-blocking: that would change it for everybody who
        # shares it with us, the user's shell included.
        await trio.lowlevel.wait_readable(fd)
    except OSError:
        await trio.lowlevel.checkpoint()  # a plain file, which is never waited for
    try:
        return os.read(fd, _CHUNK_BYTES)
    except BlockingIOError:  # somebody else who shares it was faster
        return await _read(fd)
    except OSError:
        return b""


async def read_typed(fd: int = 0) -> bytes:
    """Wait for a line typed at the terminal `fd`, and take it; empty at its end."""
    return await _read(fd)


def is_foreground_terminal(fd: int) -> bool:
    """True if `fd` is a terminal, and we are what its user is typing to."""
    try:
        return os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
