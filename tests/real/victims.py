"""Starts programs that run commands, ends them at any moment, and looks what is left of that.

Run as a script: it imports the library once and forks a victim for each run, so that hundreds
of runs last no longer than some ten that have to import everything themselves. It reads runs as
JSON from its stdin, and prints in JSON what has gone wrong.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

# Where nothing but the watchdog can do it: its grace, and what a busy machine may add to that.
WATCHDOG_SECONDS = 2.0 + 8.0

# A victim that is still there so long after the last of its signals hangs.
_HANGS_SECONDS = 20.0
_AT_ONCE = 4

# All the time something is being started, ends by itself, runs into its timeout, or is within
# the grace, next to what would go on for long.
_LONG = "sleep 61 & exec sleep 60"
_SHORT = "echo %h; exec >/dev/null; exec sleep 0.02"
_STUBBORN = "trap '' TERM; sleep 62 & sleep 63 & wait"
_SOFT = "sleep 64 & sleep 65"


@dataclass
class Run:
    """A victim, and what is to happen to it.

    Attributes:
        victim: what kind of program it is: a key of `VICTIMS`.
        signals: pairs of the seconds after the one before, and a signal.
        works: True if the first comes so long after the first sign of life from a command, and
            not after the start of the program.
        at_once: True if nothing may be left when the program has ended; False if what is left
            may still be ended by the watchdog.
        complaint: what is wrong; nothing if it went well.
    """

    victim: str
    signals: list[tuple[float, int]]
    works: bool
    at_once: bool
    complaint: str = ""


# -- the victims ------------------------------------------------------------------------------


async def _work() -> None:
    import trioshell

    class Handler:
        def ev_read(self, worker: object, node: object, sname: str, msg: bytes) -> None:
            if node == "b1":
                os.write(1, msg)

    async with trioshell.Task(fanout=9, transport="exec", kill_grace=0.1) as task:
        task.shell(_LONG, nodes="a[1-2]")
        task.shell(_SHORT, nodes="b[1-9999]", fanout=3, handler=Handler(), stdin=False)
        task.shell(_STUBBORN, nodes="c[1-9999]", fanout=2, timeout=0.03, stderr=True)
        task.shell(_SOFT, nodes="d[1-9999]", fanout=2, timeout=0.01)


def _embedder() -> int:
    import trio

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        trio.run(_work)
    except* KeyboardInterrupt:
        pass
    return 0


def _obedient_embedder() -> int:
    """To it, SIGTERM is the same as an interrupt."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    return _embedder()


def _raising_embedder() -> int:
    """To it, SIGTERM is an exception, which comes wherever Trio is at that moment."""

    def leave(signum: int, frame: object) -> None:
        raise SystemExit(3)

    signal.signal(signal.SIGTERM, leave)
    return _embedder()


def _command_line() -> int:
    from trioshell.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    line = f"case %n in *[13579]) {_SHORT};; *[26]) {_LONG};; *4) {_STUBBORN};; *) true;; esac"
    return main(["-R", "exec", "-n", "-w", "n[1-9999]", "-f", "9", "-u", "1", line])


def _command_line_anew() -> int:
    """The same as a program of its own, which has to import everything first."""
    line = f"echo; case %n in 0) exec >/dev/null; {_STUBBORN};; *) {_LONG};; esac"
    words = [sys.executable, "-m", "trioshell", "-R", "exec", "-n", "-w", "n[1-4]", line]
    os.execv(sys.executable, words)


VICTIMS: dict[str, Callable[[], int]] = {
    "embedder": _embedder,
    "obedient embedder": _obedient_embedder,
    "raising embedder": _raising_embedder,
    "command line": _command_line,
    "command line anew": _command_line_anew,
}

# An exception out of nowhere may stop Trio itself for ever. Then somebody loses his patience, and
# still nothing may be left.
_MAY_HANG = {"raising embedder": 3.0}


# -- one run ----------------------------------------------------------------------------------


@dataclass
class _Going:
    run: Run
    mark: str
    pid: int
    said: IO[bytes]
    waiting: list[tuple[float, int]]
    next_at: float
    started: bool = False
    ended: bool = False
    give_up_at: float = field(default=float("inf"))

    @classmethod
    def start(cls, run: Run) -> _Going:
        mark = f"TRIOSHELL_VICTIM_{secrets.token_hex(8)}"
        said = tempfile.TemporaryFile()  # noqa: SIM115  # closed when it has been read
        # A signal that comes before the fork is a victim waits until it is.
        usual = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            _be(run.victim, mark, said.fileno(), usual)
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
        return cls(run, mark, pid, said, list(run.signals), time.monotonic() + _HANGS_SECONDS)

    def step(self) -> bool:
        """Do what is due; True when it is over."""
        now = time.monotonic()
        if not self.ended:
            return self._step_alive(now)
        left = self.left()
        if left and now < self.give_up_at:
            return False
        if left:
            self.run.complaint += f"left behind: {left}; "
            for line in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.partition(":")[0]), signal.SIGKILL)
        return True

    def _step_alive(self, now: float) -> bool:
        if not self.started:
            self.started = not self.run.works or os.fstat(self.said.fileno()).st_size > 0
            if self.started:
                self.next_at = now + self.waiting[0][0]
        if os.waitpid(self.pid, os.WNOHANG)[0]:
            self.ended = True
            # The watchdog itself may be a moment later than its master, even if nothing is left.
            self.give_up_at = now if self.run.at_once else now + WATCHDOG_SECONDS
            self._read()
        elif self.waiting and now >= self.next_at:
            os.kill(self.pid, self.waiting.pop(0)[1])
            self.next_at = now + (self.waiting[0][0] if self.waiting else self._patience())
        elif now >= self.next_at and self.run.victim in _MAY_HANG:
            os.kill(self.pid, signal.SIGKILL)
        elif now >= self.next_at:
            # First it says where it is.
            os.kill(self.pid, signal.SIGKILL if self.run.complaint else signal.SIGUSR1)
            self.run.complaint += "it hangs; "
            self.next_at = now + 1.0
        return False

    def _patience(self) -> float:
        return _MAY_HANG.get(self.run.victim, _HANGS_SECONDS)

    def _read(self) -> None:
        self.said.seek(0)
        said = self.said.read().decode(errors="replace")
        self.said.close()
        # An interpreter that is interrupted in its start says so at length, and may.
        is_wrong = "Error" in said and self.run.at_once and self.run.victim != "command line anew"
        if is_wrong or self.run.complaint:
            self.run.complaint += f"it said {said[:2000]!r} … {said[-2000:]!r}; "

    def left(self) -> list[str]:
        """What carries the mark, and the victim's watchdog, which does not."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
                marked = f"{self.mark}=".encode() in Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue  # gone meanwhile, or somebody else's
            if marked or command.endswith(b"\0trioshell-watchdog\0%d\0" % self.pid):
                found.append(f"{entry}: {command[:200]!r}")
        return found


def _be(victim: str, mark: str, output: int, mask: set[int | signal.Signals]) -> None:
    """Become the victim, in a session of its own; never returns."""
    status = 70
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ[mark] = "1"
        faulthandler.register(signal.SIGUSR1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = VICTIMS[victim]()
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
    except BaseException:  # noqa: BLE001  # as the interpreter does at its end
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def perform(runs: list[Run]) -> None:
    """Perform them, a few at once, and note in each what has gone wrong."""
    waiting = runs[::-1]
    going: list[_Going] = []
    while waiting or going:
        while waiting and len(going) < _AT_ONCE:
            going.append(_Going.start(waiting.pop()))
        going = [one for one in going if not one.step()]
        time.sleep(0.002)


def main() -> None:
    import trio

    import trioshell.cli._main
    import trioshell.cli._program  # so that no victim has to

    trio.run(partial(trioshell.run, "true", "n[1-2]", transport="exec"))  # the same
    # A ^C that comes while an object of ours is being finalized is lost, as in any Python program.
    # So the victims get none: they would find ours, and a new program has none.
    gc.collect()
    gc.freeze()
    given: list[dict[str, Any]] = json.load(sys.stdin)
    runs = [Run(**run) for run in given]
    perform(runs)
    print(json.dumps([asdict(run) for run in runs if run.complaint]))


if __name__ == "__main__":
    main()
