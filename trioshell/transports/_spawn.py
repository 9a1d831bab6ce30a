"""Start a program as the leader of a session of its own, without holding the interpreter up.

`subprocess` and `os.posix_spawn` keep the interpreter's lock from vfork until the child has
gone through exec, so that nothing else of the program runs in the meantime. The C library's
own `posix_spawn`, called through ctypes, lets go of it: a few threads that do nothing else
start processes on all cores while Trio's thread works on.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_THREADS = 3

# More than the threads start in a few milliseconds.
_BEHIND = 8

# From the C library's <spawn.h>; the same on all architectures of Linux.
_SETSIGDEF = 0x04
_SETSIGMASK = 0x08
_SETSID = 0x80

# posix_spawnattr_t is 336 bytes, posix_spawn_file_actions_t 80 and sigset_t 128 with glibc on
# 64 bits, and less elsewhere. They are opaque; we only lend the memory.
_OPAQUE_BYTES = 1024

# Python ignores these two; a child that inherited that would get EPIPE where it expects to
# be ended by the signal (`yes | head -1` would complain about a broken pipe).
_DEFAULTED = (signal.SIGPIPE, signal.SIGXFSZ)

# Through the first handle a call lets go of the interpreter's lock, which is what this file is
# for. What returns at once is called through the second and keeps it: to give the lock away and
# get it back costs many times as much as such a call.
_libc = ctypes.CDLL(None)
_quick = ctypes.PyDLL(None)
_Opaque = ctypes.c_char * _OPAQUE_BYTES


def _checked(code: int) -> None:
    if code != 0:
        raise OSError(code, os.strerror(code))


def _make_attributes() -> ctypes.Array[ctypes.c_char]:
    attributes, nothing, defaulted = _Opaque(), _Opaque(), _Opaque()
    _quick.sigemptyset(nothing)
    _quick.sigemptyset(defaulted)
    for signum in _DEFAULTED:
        _quick.sigaddset(defaulted, int(signum))
    _checked(_quick.posix_spawnattr_init(attributes))
    _checked(_quick.posix_spawnattr_setsigmask(attributes, nothing))
    _checked(_quick.posix_spawnattr_setsigdefault(attributes, defaulted))
    flags = ctypes.c_short(_SETSID | _SETSIGDEF | _SETSIGMASK)
    _checked(_quick.posix_spawnattr_setflags(attributes, flags))
    return attributes


# Read only from here on, and so shared by all threads.
_attributes = _make_attributes()
# What others left inheritable must not leak into a command, where it would keep a pipe open
# for as long as the command runs. Older libraries can't; there, all of ours are close-on-exec.
_closefrom = getattr(_quick, "posix_spawn_file_actions_addclosefrom_np", None)


def _strings(items: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(items) + 1))(*items, None)


# The environment that was needed last, with what was made of it: it is the same for thousands.
_latest: tuple[Sequence[bytes], ctypes.Array[ctypes.c_char_p]] = ((), _strings(()))


def _environment(items: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    global _latest  # noqa: PLW0603  # two threads that come at once make it twice, and no more
    latest = _latest
    if latest[0] is not items:
        latest = _latest = (items, _strings(items))
    return latest[1]


@dataclass(slots=True, eq=False)
class Spawn:
    """One program to start, and what became of it.

    Attributes:
        argv: the program, looked up in PATH, and its arguments; never empty.
        environment: every ``NAME=value`` that it gets; not to be changed any more.
        stdin: the descriptor that becomes its stdin; None for ``/dev/null``.
        stdout: the descriptor that becomes its stdout.
        stderr: the descriptor that becomes its stderr. All three are above 2, and are
            closed here when this is done, whether it went well or not.
        pid: of the child: also its session and its process group. 0 until it runs.
        error: why it could not be started; None if it could.
        noted: where the C library is to put the pid as well, the moment it knows it; or None.
    """

    argv: Sequence[bytes]
    environment: Sequence[bytes]
    stdin: int | None
    stdout: int
    stderr: int
    pid: int = 0
    error: OSError | None = field(default=None)
    noted: ctypes.c_int | None = None

    def perform(self) -> None:
        """Start it. Blocks until the child has gone through exec, or could not."""
        try:
            self.pid = self._start()
        except OSError as exc:
            self.error = exc
        finally:
            for fd in {self.stdin, self.stdout, self.stderr} - {None}:
                _quick.close(fd)

    def _start(self) -> int:
        actions = _Opaque()
        pid = ctypes.c_int(0) if self.noted is None else self.noted
        _checked(_quick.posix_spawn_file_actions_init(actions))
        try:
            if self.stdin is None:
                read, nothing = os.O_RDONLY, b"/dev/null"
                _checked(_quick.posix_spawn_file_actions_addopen(actions, 0, nothing, read, 0))
            else:
                _checked(_quick.posix_spawn_file_actions_adddup2(actions, self.stdin, 0))
            _checked(_quick.posix_spawn_file_actions_adddup2(actions, self.stdout, 1))
            _checked(_quick.posix_spawn_file_actions_adddup2(actions, self.stderr, 2))
            if _closefrom is not None:
                _checked(_closefrom(actions, 3))
            argv, environment = _strings(self.argv), _environment(self.environment)
            program = self.argv[0]
            _checked(
                _libc.posix_spawnp(
                    ctypes.byref(pid), program, actions, _attributes, argv, environment
                )
            )
        finally:
            _quick.posix_spawn_file_actions_destroy(actions)
        return pid.value


class Spawner:
    """A handful of threads that start programs.

    They are started when there is work, and joined by `close`. Trio's own threads are not
    used: their default limit of 40 is shared with the whole program, and a hand-over to
    them costs more than the spawn.

    Args:
        ring: called from one of the threads whenever something is there for `collect`.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring_bell = ring
        self._rung = False
        self._requests: queue.SimpleQueue[Spawn | None] = queue.SimpleQueue()
        self._done: deque[Spawn] = deque()
        self._threads: list[threading.Thread] = []
        self._pending = 0

    def submit(self, spawn: Spawn) -> None:
        """Have `spawn` performed soon; never blocks. `collect` returns it when it is done."""
        self._pending += 1
        if self._pending > len(self._threads) < _THREADS:
            self._add_thread()
        if self._threads:
            self._requests.put(spawn)
        else:
            self._perform(spawn)

    @property
    def is_behind(self) -> bool:
        """True while so many programs wait to be started that none need be added soon."""
        return self._pending > _BEHIND

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name="trioshell spawn", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the limit of processes is reached: do with those that we have
            return
        self._threads.append(thread)

    def _serve(self) -> None:
        while (spawn := self._requests.get()) is not None:
            self._perform(spawn)
        # For the next one. Were there just one for each, a thread that `_add_thread` had no time
        # to enter (a signal handler of the program raised in between) would take another's.
        self._requests.put(None)

    def _perform(self, spawn: Spawn) -> None:
        spawn.perform()
        self._done.append(spawn)
        # Once for all that are done before somebody has come for the first of them.
        if not self._rung:
            self._rung = True
            self._ring_bell()

    def collect(self) -> list[Spawn]:
        """All that have been performed since the last call; never blocks."""
        self._rung = False  # before we look: who is done after that rings again
        done = []
        while self._done:
            done.append(self._done.popleft())
        self._pending -= len(done)
        return done

    def close(self) -> None:
        """Join the threads. Nothing may be pending."""
        self._requests.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
