"""Ended by a signal at any moment: nothing that was started is left.

Each run starts a program that runs commands, sends it signals at moments drawn at random, and
looks through /proc for everything that carries the run's mark: at once where the program was
given the time to end its commands itself, and within the watchdog's time where it was killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.real.victims import Run

ROOT = Path(__file__).parent.parent.parent

INT, TERM, HUP, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL

# How long to draw from: while a program that has imported everything starts its first commands,
# while it works, and while an interpreter starts besides.
BEGINS_SECONDS = 0.05
WORKS_SECONDS = 0.3
STARTS_SECONDS = 1.5


# Whose, which signals, and whether nothing may be left at the end of the program itself.
KINDS: list[tuple[str, list[int], bool]] = [
    ("embedder", [INT], True),
    ("embedder", [KILL], False),
    ("command line", [TERM], True),
    ("command line", [KILL], False),
    ("raising embedder", [TERM], False),
    ("obedient embedder", [TERM], True),
    ("command line", [INT], True),
    ("command line anew", [KILL], False),
    ("embedder", [INT, INT], True),
    ("embedder", [INT, KILL], False),
    ("command line", [HUP, TERM], True),
    ("command line", [INT, INT, INT], True),
    ("command line anew", [TERM], True),
    ("raising embedder", [TERM, TERM], False),
    ("command line", [TERM, KILL], False),
    ("command line anew", [INT], True),
]


def draw(chance: random.Random, count: int) -> list[Run]:
    """So many runs of all kinds."""
    runs = []
    for number in range(count):
        victim, signals, at_once = KINDS[number % len(KINDS)]
        works = victim != "command line anew" and chance.random() < 0.7
        seconds = WORKS_SECONDS if works else BEGINS_SECONDS
        if victim == "command line anew":
            seconds = STARTS_SECONDS
        # What follows comes while the first has its effect.
        moments = [seconds * chance.random()] + [0.1 * chance.random() for _ in signals[1:]]
        pairs = list(zip(moments, map(int, signals), strict=True))
        runs.append(Run(victim, pairs, works, at_once))
    return runs


def perform(runs: list[Run], seconds: float) -> str:
    """What has gone wrong, run by run; nothing if all is well."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "real" / "victims.py")],
        input=json.dumps([asdict(run) for run in runs]),
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return "\n".join(map(str, json.loads(done.stdout)))


def test_nothing_is_left_whenever_a_signal_comes() -> None:
    assert perform(draw(random.Random(1), len(KINDS)), 120) == ""


@pytest.mark.soak
def test_nothing_is_left_whenever_a_signal_comes_hundreds_of_times() -> None:
    seed = random.SystemRandom().randrange(2**32)
    wrong = perform(draw(random.Random(seed), 200), 600)
    assert wrong == "", f"with the seed {seed}"
