"""The watchdog by itself: what is in its table ends with us, and nothing else does."""

from __future__ import annotations

import errno
import gc
import os
import re
import select
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.probes import is_alive, kill, state_of
from trioshell.transports import _watchdog
from trioshell.transports._spawn import Spawn
from trioshell.transports._watchdog import Watchdog, Watched
from trioshell.transports._watchdog_script import GRACE_SECONDS

ENVIRONMENT = [b"PATH=/usr/bin:/bin"]

# What a machine that is busy with other things may add to the grace.
MARGIN_SECONDS = 10.0


class Command:
    """A command that has been started and is in the table, and its output."""

    def __init__(self, watchdog: Watchdog, *argv: str) -> None:
        self.output, theirs = os.pipe()
        self.watched = watchdog.take(None, theirs, theirs)
        words = [os.fsencode(word) for word in argv]
        spawn = Spawn(words, ENVIRONMENT, None, theirs, theirs)
        spawn.perform()
        assert spawn.error is None
        self.pid = spawn.pid

    def enter(self) -> Command:
        """Note its number, as the C library does."""
        assert self.watched.pid is not None
        self.watched.pid.value = self.pid
        return self

    def says(self) -> bytes:
        return os.read(self.output, 100)

    def bury(self) -> int:
        """Wait for its end, and return its status."""
        os.close(self.output)
        _, status = os.waitpid(self.pid, 0)
        self.watched.clear()
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    made = Watchdog()
    made.start()
    yield made
    pid = pid_of(made)
    made.close()
    if pid is not None and is_alive(pid):  # a test has failed in the middle
        kill(pid)
        os.waitpid(pid, 0)


def pid_of(watchdog: Watchdog) -> int | None:
    if watchdog._table is None:
        return None
    info = Path(f"/proc/self/fdinfo/{watchdog._pidfd}").read_text()
    return int(re.findall(r"^Pid:\s+(-?\d+)$", info, re.MULTILINE)[0])


def crash(watchdog: Watchdog) -> None:
    """Have it believe that we are no more, and wait until it has done its work."""
    assert watchdog._table is not None
    os.close(watchdog._ours)
    watchdog._ours = os.open(os.devnull, os.O_RDONLY)
    readable, _, _ = select.select([watchdog._pidfd], [], [], GRACE_SECONDS + MARGIN_SECONDS)
    assert readable, "it has not come to its end"
    os.waitid(os.P_PIDFD, watchdog._pidfd, os.WEXITED)


def test_what_is_entered_ends_when_we_do(watchdog: Watchdog) -> None:
    commands = [Command(watchdog, "sleep", "61").enter() for _ in range(20)]
    crash(watchdog)
    assert {command.bury() for command in commands} == {-signal.SIGTERM}


def test_whole_sessions_end_whatever_they_make_of_sigterm(watchdog: Watchdog) -> None:
    program = (
        "trap '' TERM; timeout 61 sleep 60 & echo $!; "
        "python3 -c 'import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True); "
        "time.sleep(60)' & wait"
    )
    command = Command(watchdog, "sh", "-c", program).enter()
    said = b""
    while said.count(b"\n") < 2:
        said += command.says()
    began = time.monotonic()
    crash(watchdog)
    assert time.monotonic() - began >= GRACE_SECONDS
    assert command.bury() == -signal.SIGKILL
    assert not any(is_alive(int(pid)) for pid in said.split())


def test_one_that_is_stopped_gets_its_sigterm(watchdog: Watchdog) -> None:
    command = Command(watchdog, "sh", "-c", "trap 'exit 3' TERM; kill -STOP $$; sleep 60").enter()
    while state_of(command.pid) != "T":
        time.sleep(0.001)  # nobody tells us that it has stopped but /proc
    crash(watchdog)
    assert command.bury() == 3


def test_one_whose_number_is_not_known_is_found_by_its_pipes(watchdog: Watchdog) -> None:
    # It gives two of its three away first, as a shell with redirections does.
    known = Command(watchdog, "sleep", "61").enter()
    command = Command(watchdog, "sh", "-c", "exec >/dev/null; sleep 60 & wait")
    other = Command(watchdog, "sh", "-c", "sleep 61 | cat")
    crash(watchdog)
    assert [one.bury() for one in (known, command, other)] == [-signal.SIGTERM] * 3


def test_what_is_struck_out_is_left_alone(watchdog: Watchdog) -> None:
    first = Command(watchdog, "sleep", "61").enter()
    spared = Command(watchdog, "sleep", "62").enter()
    last = Command(watchdog, "sleep", "63").enter()
    spared.watched.clear()
    spared.watched.clear()
    crash(watchdog)
    assert first.bury() == last.bury() == -signal.SIGTERM
    assert is_alive(spared.pid)
    os.kill(spared.pid, signal.SIGINT)
    assert spared.bury() == -signal.SIGINT


def test_a_process_that_only_looks_like_one_is_left_alone(watchdog: Watchdog) -> None:
    # It shares the pipe, but its session is ours.
    command = Command(watchdog, "sleep", "61")
    end = os.open(f"/proc/{command.pid}/fd/1", os.O_WRONLY)
    with subprocess.Popen(["sleep", "60"], stdout=end) as ours:
        os.close(end)
        crash(watchdog)
        assert command.bury() == -signal.SIGTERM
        assert is_alive(ours.pid)
        ours.kill()


def test_without_ps_it_reads_proc_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for tool in ("od", "ls", "cat", "sleep"):
        (tmp_path / tool).symlink_to(f"/bin/{tool}")
    watchdog = Watchdog()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        watchdog.start()
    program = "import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True); time.sleep(60)"
    command = Command(watchdog, "sh", "-c", f"python3 -c '{program}' & wait").enter()
    grandchild = int(command.says())
    crash(watchdog)
    assert command.bury() == -signal.SIGTERM
    assert not is_alive(grandchild)
    watchdog.close()


def test_signals_that_end_a_program_do_not_end_it(watchdog: Watchdog) -> None:
    command = Command(watchdog, "sleep", "61").enter()
    pid = pid_of(watchdog)
    assert pid is not None
    # It listens as soon as it is where it wants to be; before that nobody knows of it.
    while os.readlink(f"/proc/{pid}/cwd") != "/":
        time.sleep(0.001)
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP):
        os.killpg(pid, signum)
    assert os.getsid(pid) == pid
    assert state_of(pid) == "S"
    crash(watchdog)
    assert command.bury() == -signal.SIGTERM


def test_it_holds_nothing_of_ours(watchdog: Watchdog) -> None:
    pid = pid_of(watchdog)
    while os.readlink(f"/proc/{pid}/cwd") != "/":
        time.sleep(0.001)
    held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert held == {
        "/dev/null",
        "/memfd:trioshell commands (deleted)",
        os.readlink(f"/proc/self/fd/{watchdog._ours}"),
    }


def test_its_end_is_whole_even_if_it_has_been_stopped(watchdog: Watchdog) -> None:
    pid = pid_of(watchdog)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    watchdog.close()
    watchdog.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_somebody_else_has_waited_for_it(watchdog: Watchdog) -> None:
    pid = pid_of(watchdog)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    watchdog.close()


def test_closed_with_a_command_left_it_ends_that() -> None:
    watchdog = Watchdog()
    watchdog.start()
    command = Command(watchdog, "sleep", "61").enter()
    pid = pid_of(watchdog)
    assert pid is not None
    watchdog.close()
    os.close(command.output)
    assert os.waitpid(command.pid, 0)[1] == signal.SIGTERM
    command.watched.clear()  # late, and without effect
    os.waitpid(pid, 0)
    del command
    gc.collect()


def test_a_fork_lets_go_of_it(watchdog: Watchdog) -> None:
    command = Command(watchdog, "sleep", "61").enter()
    hold, release = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, from 3.12
        child = os.fork()
    if child == 0:
        try:
            os.close(release)
            watchdog.start()
            watchdog.close()
            command.watched.clear()
            os.read(hold, 1)
        finally:
            os._exit(0)
    os.close(hold)
    crash(watchdog)  # although the fork lives
    assert command.bury() == -signal.SIGTERM
    os.close(release)
    os.waitpid(child, 0)


def refuse(*_: object) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("name", ["pipe", "memfd_create", "ftruncate", "pidfd_open"])
def test_without_a_descriptor_nothing_is_left_and_it_can_be_tried_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watchdog = Watchdog()
    with monkeypatch.context() as patch:
        patch.setattr(os, name, refuse)
        for _ in range(3):
            with pytest.raises(OSError, match="Too many open files"):
                watchdog.start()
    watched = watchdog.take(None, 1, 1)
    assert watched.pid is None
    watched.clear()
    watchdog.start()
    watchdog.take(None, 1, 1).clear()
    assert pid_of(watchdog) is not None
    watchdog.close()


def test_where_it_cannot_be_started_it_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watchdog, "_SHELL", b"/no/such/shell")
    watchdog = Watchdog()
    with pytest.warns(UserWarning, match="watchdog cannot be started: No such file"):
        watchdog.start()
    watchdog.start()
    assert watchdog.take(None, 1, 1).pid is None
    watchdog.close()


def test_a_full_table_is_no_room(watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watchdog, "_SLOTS", 2)
    taken = [watchdog.take(None, 1, 2) for _ in range(2)]
    with pytest.raises(OSError, match="Resource temporarily unavailable"):
        watchdog.take(None, 1, 2)
    taken.pop().clear()
    taken.append(watchdog.take(None, 1, 2))
    for watched in taken:
        watched.clear()


def test_slots_are_used_again(watchdog: Watchdog) -> None:
    held: list[Watched] = []
    for turn in range(1000):
        held.append(watchdog.take(0, 1, 2))
        if turn % 3:
            held.pop(0).clear()
    assert watchdog._fresh <= 500
    for watched in held:
        watched.clear()
    assert watchdog._table is not None
    assert not any(watchdog._table[:])
