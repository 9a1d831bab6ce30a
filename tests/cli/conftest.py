"""Both programs, trioshell and clush, started alike, in a world of their own settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
    """

    place: Path

    def start(self, program: str, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """A program with pipes to its outputs, and an empty input, unless told otherwise."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PYTHONUNBUFFERED")
        } | {
            "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)),
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
        return subprocess.Popen(**(defaults | options))

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
def programs(tmp_path: Path) -> Programs:
    return make_programs(tmp_path)
