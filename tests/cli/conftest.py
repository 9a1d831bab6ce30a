"""Both programs, trioshell and clush, started alike, in a world of their own settings."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent

PROGRAMS = {"trioshell": "trioshell", "clush": "ClusterShell.CLI.Clush"}

GROUPS = """\
[Main]
default: rack
confdir:
autodir:

[rack]
map: case "$GROUP" in (io) echo "m[1-3]";; (compute) echo "n[1-8]";; (*) exit 1;; esac
all: echo "m[1-3],n[1-8]"
list: echo io; echo compute
"""

CLUSH = """\
[Main]
confdir: $CFGDIR/modes
"""

MODES = """\
[mode:very]
command_prefix: echo very

[mode:strict]
maxrc: yes
fanout: 1
"""


@dataclass(frozen=True)
class Done:
    """What a program has said and how it ended."""

    status: int
    out: bytes
    err: bytes


@dataclass(frozen=True)
class Programs:
    """Starts either program, away from the settings of whoever runs the tests.

    Attributes:
        place: the working directory, and the home, of the programs.
        started: all of them, to be cleared away.
    """

    place: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, program: str, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """A program with pipes to its outputs, and an empty input, unless told otherwise."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PYTHONUNBUFFERED")
        } | {
            "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)),
            "TERM": "dumb",
            "HOME": str(self.place),
            "XDG_CONFIG_HOME": str(self.place / "config"),
            "CLUSTERSHELL_CFGDIR": str(self.place / "settings"),
        }
        defaults: dict[str, Any] = {
            "args": [sys.executable, "-m", PROGRAMS[program], *words],
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": self.place,
            "env": environment,
        }
        process: subprocess.Popen[bytes] = subprocess.Popen(**(defaults | options))
        self.started.append(process)
        return process

    def clear_away(self) -> None:
        """Leave nothing of what a test that has failed in the middle has started."""
        for process in self.started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def run_many(self, *command_lines: Sequence[str]) -> dict[str, list[Done]]:
        """Each of the command lines on both programs, which run side by side."""
        given = json.dumps(command_lines).encode()
        script = str(Path(__file__).parent / "many.py")
        started = {
            program: self.start(
                program, args=[sys.executable, script, program], stdin=subprocess.PIPE
            )
            for program in PROGRAMS
        }
        with ThreadPoolExecutor() as threads:
            done = dict(
                zip(
                    started,
                    threads.map(lambda process: finish(process, given), started.values()),
                    strict=True,
                )
            )
        for one in done.values():
            assert (one.status, one.err) == (0, b"")
        return {
            program: [
                Done(status, out.encode("latin-1"), err.encode("latin-1"))
                for status, out, err in json.loads(one.out)
            ]
            for program, one in done.items()
        }

    def run(self, program: str, *words: str, given: bytes | None = None) -> Done:
        """A program run to its end, with `given` as its input."""
        stdin = subprocess.DEVNULL if given is None else subprocess.PIPE
        return finish(self.start(program, *words, stdin=stdin), given)

    def trioshell(self, *words: str, given: bytes | None = None) -> Done:
        """trioshell on the exec transport."""
        return self.run("trioshell", "-R", "exec", *words, given=given)


def finish(process: subprocess.Popen[bytes], given: bytes | None = None) -> Done:
    """Wait for a program, and take all that it says."""
    with process:
        try:
            out, err = process.communicate(given, timeout=60)
        except BaseException:  # whatever it was, the program must not outlive the test
            process.kill()
            raise
    return Done(process.returncode, out, err)


def make_programs(place: Path) -> Programs:
    """The programs, in a directory of their own with settings and groups."""
    settings = place / "settings"
    (settings / "modes").mkdir(parents=True)
    (settings / "groups.conf").write_text(GROUPS)
    (settings / "clush.conf").write_text(CLUSH)
    (settings / "modes" / "test.conf").write_text(MODES)
    return Programs(place)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = make_programs(tmp_path)
    yield made
    made.clear_away()


# Makes the terminal on its input the one that controls it, then becomes the program.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios;"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', 'trioshell', *sys.argv[1:]])"
)


class Terminal:
    """A terminal, the program that runs on it, and who sits in front of it."""

    def __init__(self, programs: Programs, *words: str) -> None:
        self._user, program = pty.openpty()
        settings = termios.tcgetattr(program)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(program, termios.TCSANOW, settings)
        fcntl.ioctl(program, termios.TIOCSWINSZ, b"\x18\x00\x50\x00\x00\x00\x00\x00")
        line = [sys.executable, "-c", TAKE_TERMINAL, *words]
        self.process = programs.start(
            "trioshell",
            args=line,
            stdin=program,
            stdout=program,
            stderr=program,
            start_new_session=True,
        )
        os.close(program)
        self.shown = b""

    def type(self, keys: bytes) -> None:
        os.write(self._user, keys)

    def wait_for(self, text: bytes) -> bytes:
        """Wait until `text` has been shown since the last call; returns what came before it."""
        while text not in self.shown:
            assert select.select([self._user], [], [], 30)[0], self.shown
            self.shown += os.read(self._user, 65536)
        before, _, self.shown = self.shown.partition(text)
        return before

    def end(self) -> tuple[int, bytes]:
        """Wait for the program's end; its status, and what it has shown since `wait_for`."""
        while select.select([self._user], [], [], 30)[0]:
            try:
                self.shown += os.read(self._user, 65536)
            except OSError:  # the program was the last to have it open
                break
        return self.process.wait(timeout=30), self.shown.replace(b"\r\n", b"\n")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._user)


# Starts trioshell with these words, on a terminal of its own.
StartTerminal = Callable[..., Terminal]


@pytest.fixture
def start_terminal(programs: Programs) -> Iterator[StartTerminal]:
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(programs, *words))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()
