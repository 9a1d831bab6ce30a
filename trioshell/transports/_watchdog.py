"""One small process that ends what runs here when we are gone without having ended it ourselves.

A signal on the parent's death reaches only the first process of a command, and nobody can
react to a SIGKILL of his own. So with the first command that runs here a shell is started, in a
session of its own, that waits for the end of a pipe of which we alone hold the other end. That
end comes with ours, however we end. Then it looks into a table, which it shares with us as
memory, and ends every session (of the operating system) that is entered there: SIGTERM, the
grace, SIGKILL.

To enter a command, and to strike it out, costs no system call and wakes nobody, since nobody
reads the table while we are there. A command is entered before there is a process, by the inodes
of its pipes; the C library adds its number the moment it knows it. If we are killed in between,
the number is missing, and the process is found by its pipes. A child between vfork and exec
holds our end of the pipe open as well, so that by the time the shell looks each has gone
through exec, or is dead.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import struct
import warnings
import weakref

from trioshell.transports._spawn import Spawn
from trioshell.transports._watchdog_script import SCRIPT

# A slot of the table is four numbers: the process, and the inodes of its pipes, of which there
# are three at most; 0 where there is none. A page of the table is there once it is needed.
_SLOT = struct.Struct("=4I")
_SLOT_BYTES = _SLOT.size
_SLOTS = 65536
_EMPTY = bytes(_SLOT_BYTES)
_NONE = (0, 0, 0)

# What the kernel says when there is no descriptor, process or memory to be had.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})

_SHELL = b"/bin/sh"


class Watched:
    """A command's slot in the table.

    Attributes:
        pid: where the C library is to put the number of the process; None if it is not (any
            more) watched.
    """

    __slots__ = ("_number", "_watchdog", "pid")

    def __init__(self, watchdog: Watchdog, number: int, pid: ctypes.c_int | None) -> None:
        self._watchdog = watchdog
        self._number = number
        self.pid = pid

    def clear(self) -> None:
        """Strike the command out; harmless when repeated.

        To be called before its process is reaped: afterwards the number may be another's.
        """
        if self.pid is not None:
            self.pid = None
            self._watchdog._give_back(self._number)


class Watchdog:
    """The process, as soon as it is needed, and the table. Belongs to one `trio.run`.

    The process is a child of ours, like the commands, but lives as long as some Task may run
    commands here; who waits for every child of the program waits for this one, too. A terminal's
    signals do not reach it, it ignores the others that end a program by default, and it holds
    no descriptor of the program and not its working directory.

    It watches over the process that has started it. In a fork that `os.fork` makes, the copy of
    our end of the pipe is closed at once, and nothing here has an effect any more. Of a fork
    that the C library makes without Python's knowledge the watchdog has to wait for the end, too.
    """

    def __init__(self) -> None:
        self._pidfd = -1
        self._ours = -1  # our end of the pipe
        self._table: mmap.mmap | None = None
        self._address = 0  # of the table; nothing may be started any more once that is closed
        # Invariant: each slot below `_fresh` is either taken or in `_free`.
        self._free: list[int] = []
        self._fresh = 0
        self._is_hopeless = False
        _watchdogs.add(self)

    def start(self) -> None:
        """Start it, if it has not been started.

        Raises:
            OSError: there is no descriptor, process or memory to be had for it. A command has
                to wait for that as it waits for its own.

        Warns:
            UserWarning: once, that it cannot be started at all: there is no shell, or a sandbox
                forbids it. Commands then run without it.
        """
        if self._table is not None or self._is_hopeless:
            return
        try:
            self._start()
        except OSError as exc:
            if exc.errno in EXHAUSTED:
                raise
            self._is_hopeless = True
            warnings.warn(
                "commands that run here would outlive a SIGKILL of this program, because their "
                f"watchdog cannot be started: {exc.strerror}",
                stacklevel=2,
            )

    def _start(self) -> None:
        with contextlib.ExitStack() as always, contextlib.ExitStack() as undo:
            theirs, ours = os.pipe()
            always.callback(os.close, theirs)
            undo.callback(os.close, ours)
            file = os.memfd_create("trioshell commands")
            always.callback(os.close, file)
            os.ftruncate(file, _SLOTS * _SLOT_BYTES)
            table = mmap.mmap(file, _SLOTS * _SLOT_BYTES)
            undo.callback(table.close)
            pidfd = _start_shell(theirs, file)
            undo.pop_all()
        self._pidfd, self._ours, self._table = pidfd, ours, table
        # An address and no view: a view that is forgotten somewhere would keep the table open.
        self._address = ctypes.addressof(ctypes.c_int.from_buffer(table))

    def take(self, stdin: int | None, stdout: int, stderr: int) -> Watched:
        """Enter a command that is about to be started with these ends of pipes.

        Raises:
            OSError: with EAGAIN; as many run as the table has slots.
        """
        if self._table is None:
            return Watched(self, 0, None)
        if not self._free and self._fresh == _SLOTS:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        pipes = [os.fstat(fd).st_ino for fd in {stdin, stdout, stderr} if fd is not None]
        if self._free:
            number = self._free.pop()
        else:
            number = self._fresh
            self._fresh += 1
        at = number * _SLOT_BYTES
        self._table[at : at + _SLOT_BYTES] = _SLOT.pack(0, *pipes, *_NONE[len(pipes) :])
        return Watched(self, number, ctypes.c_int.from_address(self._address + at))

    def _give_back(self, number: int) -> None:
        if self._table is not None:
            at = number * _SLOT_BYTES
            # In one go: without its number, but with its pipes, it would look like one that is
            # just being started.
            self._table[at : at + _SLOT_BYTES] = _EMPTY
            self._free.append(number)

    def close(self) -> None:
        """Let it go. Nothing of it is left, unless a command is: that is what it then ends.

        Blocks until it is gone, which a SIGKILL takes no time for. It stays a zombie of ours only
        where a command was left.
        """
        if self._table is None:
            return
        is_empty = len(self._free) == self._fresh
        if is_empty:
            # It may have been stopped, and would not come to its end by itself.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._ours)
        if is_empty:
            with contextlib.suppress(ChildProcessError):  # somebody else waits for every child
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._table.close()
        self._table = None

    def _disown(self) -> None:
        """We are a fork of the program that it watches over."""
        self._is_hopeless = True
        if self._table is not None:
            self._table = None
            os.close(self._ours)
            os.close(self._pidfd)


_watchdogs: weakref.WeakSet[Watchdog] = weakref.WeakSet()


def _disown_all() -> None:
    for watchdog in tuple(_watchdogs):
        watchdog._disown()


os.register_at_fork(after_in_child=_disown_all)


def _start_shell(pipe: int, table: int) -> int:
    """Start it with these as its streams; returns its pidfd."""
    argv = [_SHELL, b"-c", SCRIPT, b"trioshell-watchdog", b"%d" % os.getsid(0)]
    # It needs nothing of ours but the way to its tools, and shows nothing of ours to others.
    environment = [b"PATH=%s" % os.environb.get(b"PATH", os.fsencode(os.defpath)), b"LC_ALL=C"]
    stdin = _above_two(pipe)
    try:
        stdout = _above_two(table)
    except OSError:
        os.close(stdin)
        raise
    spawn = Spawn(argv, environment, stdin, stdout, stdout)
    spawn.perform()
    if spawn.error is not None:
        raise spawn.error
    try:
        return os.pidfd_open(spawn.pid)
    except OSError:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(spawn.pid, signal.SIGKILL)
            os.waitpid(spawn.pid, 0)
        raise


def _above_two(fd: int) -> int:
    """A copy under a number that no child's own streams will get."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
