"""Both libraries, each in a process that runs Tasks on demand, and both command lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Programs, make_programs
from tests.differential.alike import ALIKE
from tests.differential.cases import Case, Seen
from tests.differential.differences import CHOICES, LOSSES

ROOT = Path(__file__).parent.parent.parent
LIBRARIES = ("ClusterShell", "trioshell")


class Libraries:
    """Gives the same cases to both libraries, which work on them side by side."""

    def __init__(self, runners: dict[Path, subprocess.Popen[str]]) -> None:
        self.runners = runners

    def run(self, cases: Sequence[Case]) -> list[tuple[Seen, Seen]]:
        """What was seen of each case: of ClusterShell's Task, and of ours.

        The word PLACE is a directory that each library has of its own, see `furnish`.
        """
        given = json.dumps([asdict(case) for case in cases])
        for place, runner in self.runners.items():
            assert runner.stdin is not None
            runner.stdin.write(given.replace("PLACE", str(place)) + "\n")
            runner.stdin.flush()
        seen = []
        for place, runner in self.runners.items():
            assert runner.stdout is not None
            said = runner.stdout.readline().replace(str(place), "PLACE")
            seen.append([to_seen(one) for one in json.loads(said)])
        peer, ours = seen
        return list(zip(peer, ours, strict=True))


def to_seen(said: dict[str, Any]) -> Seen:
    assert "failed" not in said, f"the process of a case ended with {said['failed']}"
    return Seen(**said)


def furnish(place: Path) -> Path:
    """A file, a tree, a directory to copy into, and an ssh that prints what it is given."""
    (place / "file").write_text("content\n")
    (place / "tree" / "deep").mkdir(parents=True)
    (place / "tree" / "deep" / "leaf").write_text("leaf\n")
    (place / "into").mkdir()
    (place / "ssh").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (place / "ssh").chmod(0o755)
    return place


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libraries]:
    script = str(Path(__file__).parent / "runner.py")
    with ExitStack() as stack:
        runners = {}
        for library in LIBRARIES:
            runner = subprocess.Popen(
                [sys.executable, script, library],
                env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            runners[furnish(tmp_path_factory.mktemp(library))] = stack.enter_context(runner)
            stack.callback(runner.kill)
        yield Libraries(runners)


# What both libraries did in a case that is written by hand.
SeenOf = Callable[[Case], tuple[Seen, Seen]]


@pytest.fixture(scope="session")
def seen_of(libraries: Libraries) -> SeenOf:
    """All of these but the slow ones are given to the libraries at once, when the first is asked
    for; those that wait for something go first.
    """
    together = [*ALIKE.values(), *(one.given for one in (*LOSSES, *CHOICES) if not one.slow)]
    together.sort(key=lambda case: all(work.timeout is None for work in case.works))
    seen: dict[Case, tuple[Seen, Seen]] = {}

    def look_up(case: Case) -> tuple[Seen, Seen]:
        if case not in seen:
            cases = together if case in together else [case]
            seen.update(zip(cases, libraries.run(cases), strict=True))
        return seen[case]

    return look_up


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """clush and trioshell, with a few files in their working directory."""
    programs = make_programs(tmp_path_factory.mktemp("programs"))
    (programs.place / "file").write_text("content\n")
    for name in ("into", "out", "err"):
        (programs.place / name).mkdir()
    return programs
