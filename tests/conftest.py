"""After every test: no process, no open descriptor and no thread that was not there before.

`nothing_left_behind` runs around each test by itself; a test need not ask for it. It compares
what /proc shows of this process before the first fixture of the test (session and module
fixtures excepted: they come earlier, and what they hold is theirs) with what it shows after the
last one. What is still going then gets a short grace, for the kernel needs a moment to bury a
process or a thread. What is left after it fails the test by name, and is killed if it is a
process, so that it disturbs nobody else.

A process is ours if one of its ancestors is this process, or if it carries our mark in its
environment: that is how one is found whose parent died and which now belongs to init. Only a
program that clears its environment hides from the second rule (an sshd does, for the commands
that it runs): its fixture passes the mark on by itself (`SetEnv`).
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from trio._core._thread_cache import THREAD_CACHE  # only the cache knows which are idle

GRACE_SECONDS = 2.0

# The name holds our pid and some chance, so that a pytest inside a test has its own beside ours.
MARK = f"TRIOSHELL_TEST_{os.getpid()}_{secrets.token_hex(4)}"

# Deterministic, and without a clock of its own: a loaded machine is no failure. A test that
# looks for new examples (`-m soak`) loads a profile of its own.
settings.register_profile("steady", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("steady")


def pytest_configure() -> None:
    os.environ[MARK] = "1"


def pytest_unconfigure() -> None:
    os.environ.pop(MARK, None)


@dataclass(frozen=True)
class Held:
    """What this process holds at one moment: all pids there are, its descriptors, its threads."""

    pids: frozenset[str]
    fds: dict[str, str]
    threads: frozenset[str]


def held() -> Held:
    """Take stock. Costs two or three directory listings and one readlink a descriptor."""
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return Held(
        pids=frozenset(name for name in os.listdir("/proc") if name.isdecimal()),
        fds=fds,
        threads=frozenset(os.listdir("/proc/self/task")) - _idle_trio_threads(),
    )


def left_behind(before: Held, now: Held) -> list[str]:
    """Say in one line each what `now` holds of ours and `before` did not."""
    found = [_describe_process(pid) for pid in our_processes(now.pids - before.pids)]
    found += [
        f"descriptor {fd}, {target}"
        for fd, target in now.fds.items()
        if before.fds.get(fd) != target
    ]
    found += [_describe_thread(tid) for tid in now.threads - before.threads]
    return sorted(found)


def our_processes(pids: frozenset[str]) -> list[str]:
    """Those of `pids` that descend from this process or carry its mark."""
    return [pid for pid in pids if _descends_from_us(pid) or _carries_our_mark(pid)]


def _idle_trio_threads() -> frozenset[str]:
    # Trio keeps a worker thread that has nothing to do for ten seconds, for the next
    # `to_thread` of anybody. It is Trio's, holds nothing, and does not keep a program from
    # ending, so it is the one thing that a test may leave. One that still has a job is not
    # in this table, whatever its name.
    idle = THREAD_CACHE._idle_workers.copy()
    return frozenset(str(worker._thread.native_id) for worker in idle)


def _stat(pid: str) -> tuple[str, str]:
    """The state and the parent of a process; ("", "0") if there is none of that pid."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # gone, before or after the open
        return "", "0"
    state, parent = stat.rpartition(")")[2].split()[:2]  # a name may hold anything, ")" too
    return state, parent


def _descends_from_us(pid: str) -> bool:
    us = str(os.getpid())
    while pid not in ("0", "1"):
        pid = _stat(pid)[1]
        if pid == us:
            return True
    return False


def _carries_our_mark(pid: str) -> bool:
    process = Path("/proc", pid)
    for _ in range(10):
        try:
            environ = (process / "environ").read_bytes()
            if environ:
                return f"{MARK}=".encode() in environ
            (process / "exe").readlink()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            break  # gone, a zombie, the kernel's; or somebody else's, which we did not start
        time.sleep(0.001)  # a program that is just being executed has no environment yet
    return False


def _describe_process(pid: str) -> str:
    state, parent = _stat(pid)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        command = ""
    return f"process {pid} (state {state}, parent {parent}) {command or 'without a command'}"


def _describe_thread(tid: str) -> str:
    names = {str(thread.native_id): thread.name for thread in threading.enumerate()}
    return f"thread {tid}, {names.get(tid, 'which Python did not start')}"


def _kill(pids: list[str]) -> None:
    for pid in map(int, pids):
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):  # gone; or not a child, so init's
            continue


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a process, a descriptor or a thread of its own behind."""
    before = held()
    yield
    now = held()
    found = left_behind(before, now)
    deadline = time.monotonic() + GRACE_SECONDS
    pause = 0.0005
    while found and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
        now = held()
        found = left_behind(before, now)
    if found:
        _kill(our_processes(now.pids - before.pids))
        pytest.fail("left behind:\n  " + "\n  ".join(found), pytrace=False)
