"""The small decisions: colours, exit status, progress, and what is imported when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.cli.conftest import ROOT
from trioshell import Aborted, Exited, NodeResult, NotStarted, Signaled, TimedOut, Unreachable
from trioshell._results import Outcome
from trioshell.cli._ends import NO_RC, bad_ends, by_rc, max_code
from trioshell.cli._handlers import Wiring
from trioshell.cli._naming import Naming
from trioshell.cli._options import QUIET, Options
from trioshell.cli._program import make_look
from trioshell.cli._progress import bytes_text, progress_text
from trioshell.cli._screen import Screen


class Ended:
    """A worker, as far as its results are concerned."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = outcomes

    def results(self) -> Mapping[str, NodeResult]:
        return {f"n{rank}": NodeResult(f"n{rank}", how) for rank, how in enumerate(self._outcomes)}


# -- exit status ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "code", "fail_fast"),
    [
        ((), 0, 0),
        ((Exited(0), Exited(3), Exited(2)), 3, 3),
        ((Exited(1), Signaled(9)), 137, 137),
        ((Exited(3), Unreachable("gone")), 255, 255),
        ((Exited(3), TimedOut(1.0)), 255, 255),
        ((Exited(3), NotStarted("no such program")), 255, 3),
        ((Exited(3), Aborted()), 255, 3),
        # Of 256 a shell would see 0, which is success.
        ((Exited(256),), 255, 255),
    ],
)
def test_the_largest_code(outcomes: tuple[Outcome, ...], code: int, fail_fast: int) -> None:
    assert max_code([Ended(*outcomes)], fail_fast=False) == code
    assert max_code([Ended(), Ended(*outcomes)], fail_fast=True) == fail_fast


def test_nodes_in_parts_that_ended_alike() -> None:
    worker = Ended(Exited(2), Exited(0), TimedOut(1.0), Exited(2), NotStarted("x"), Aborted())
    assert list(by_rc(worker).items()) == [(0, ["n1"]), (2, ["n0", "n3"]), (NO_RC, ["n2", "n5"])]


def test_what_is_told_of_bad_ends() -> None:
    worker = Ended(
        Exited(0), Exited(137), Signaled(9), Unreachable("a"), Exited(255), Unreachable("a")
    )
    assert [(outcome.rc, nodes) for outcome, nodes in bad_ends(worker)] == [
        (137, ["n1", "n2"]),
        (255, ["n3", "n5"]),
        (255, ["n4"]),
    ]


# -- how text looks ------------------------------------------------------------------------


@pytest.fixture
def terminals(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The descriptors that are taken for terminals."""
    for name in ("NO_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    descriptors = {1, 2}
    monkeypatch.setattr(os, "isatty", lambda fd: fd in descriptors)
    return descriptors


def test_colours_are_for_terminals(terminals: set[int]) -> None:
    assert make_look(Options()).color
    assert not make_look(Options(color="never")).color
    terminals.remove(2)
    assert not make_look(Options()).color
    assert make_look(Options(gather_all=True)).color  # nothing of it goes to standard error
    terminals.clear()
    assert not make_look(Options()).color
    assert make_look(Options(color="always")).color


def test_the_environment_may_forbid_colours(
    terminals: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert not make_look(Options()).color
    assert make_look(Options(color="always")).color
    monkeypatch.setenv("NO_COLOR", "")
    assert make_look(Options()).color


def test_the_environment_may_force_colours_if_nothing_is_configured(
    terminals: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminals.clear()
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert make_look(Options(color="")).color
    assert not make_look(Options(color="auto")).color
    monkeypatch.setenv("CLICOLOR_FORCE", "0")
    assert not make_look(Options(color="")).color


def test_numbers_are_shown_unless_quiet() -> None:
    assert make_look(Options()).count
    assert not make_look(Options(node_count=False)).count
    assert make_look(Options(node_count=False)).message_count
    assert not make_look(Options(verbosity=QUIET)).message_count


# -- progress ------------------------------------------------------------------------------


def test_progress_counts_nodes_and_what_has_been_written() -> None:
    assert progress_text(3, 8, 0, 5.0) == "trioshell: 3/8"
    assert progress_text(3, 8, 10_240, 2.0) == "trioshell: 3/8 write: 5 KiB/s"
    assert progress_text(0, 1, 1, 0.0).endswith("B/s")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3 MiB"), (5 << 50, "5120 TiB")],
)
def test_bytes_have_a_unit(count: float, text: str) -> None:
    assert bytes_text(count) == text


# -- imports -------------------------------------------------------------------------------

IMPORTED = """
import sys
from trioshell.cli import main
status = main(sys.argv[1:])
asked_about = {"ClusterShell", "asyncssh", "json", "rich", "trio_asyncio"}
print(status, *sorted(asked_about & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--help",), "0"),
        (("--nope",), "2"),
        (("-R", "exec", "-w", "n1", "true"), "0 ClusterShell"),
        (("-R", "exec", "-w", "n1", "--json", "exit 1"), "0 ClusterShell json"),
    ],
)
def test_only_what_is_needed_is_imported(words: tuple[str, ...], told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words],
        capture_output=True,
        check=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.splitlines()[-1] == told


# -- being ended ---------------------------------------------------------------------------


def test_a_command_that_got_the_same_interrupt_was_cut_off_too() -> None:
    look = make_look(Options())
    wiring = Wiring(Options(), Screen(pytest.fail), look, Naming(Options()))
    interrupted = [Aborted(), NotStarted("waited"), Signaled(signal.SIGINT)]
    others = [Exited(130), Signaled(signal.SIGTERM), TimedOut(1.0), Unreachable("gone")]
    assert not any(map(wiring.was_cut_off, interrupted))
    wiring.ended_by = signal.SIGINT
    assert all(map(wiring.was_cut_off, interrupted))
    assert not any(map(wiring.was_cut_off, others))
