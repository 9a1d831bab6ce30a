"""Each declared difference from ClusterShell shows on both sides, and is in docs/differences.md."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.cli.conftest import Done, Programs
from tests.differential import differences
from tests.differential.cases import Seen
from tests.differential.conftest import ROOT, Libraries
from tests.differential.differences import (
    CHOICES,
    COMMAND_LINE,
    FAULTS,
    LOSSES,
    PAGE,
    InLibrary,
    InProgram,
)
from tests.differential.test_same import ALIKE

IN_LIBRARY = (*LOSSES, *CHOICES)


@pytest.fixture(scope="module")
def seen(libraries: Libraries) -> dict[str, tuple[Seen, Seen]]:
    both = [
        (replace(peer, cpu=peer.cpu / ours.cpu), replace(ours, cpu=ours.cpu / peer.cpu))
        for peer, ours in libraries.run([one.given for one in IN_LIBRARY])
    ]
    return dict(zip(differences.names(IN_LIBRARY), both, strict=True))


@pytest.mark.parametrize("one", IN_LIBRARY, ids=differences.names(IN_LIBRARY))
def test_in_the_library(seen: dict[str, tuple[Seen, Seen]], one: InLibrary) -> None:
    peer, ours = seen[one.name]
    assert one.peer_shows(peer), f"the peer does it no more: {peer}"
    assert one.ours_shows(ours), f"nor do we: {ours}"
    assert not one.peer_shows(ours)
    assert not one.ours_shows(peer)


@pytest.fixture(scope="module")
def done(programs: Programs) -> dict[str, tuple[Done, Done]]:
    done = programs.run_many(*(("-R", "exec", *one.given) for one in COMMAND_LINE))
    peer = [Done(one.status, one.out, as_clush(one.err)) for one in done["clush"]]
    both = zip(peer, done["trioshell"], strict=True)
    return dict(zip(differences.names(COMMAND_LINE), both, strict=True))


def as_clush(err: bytes) -> bytes:
    """clush calls itself by the name of its file."""
    return re.sub(rb"(?m)^Clush\.py:", b"clush:", err)


@pytest.mark.parametrize("one", COMMAND_LINE, ids=differences.names(COMMAND_LINE))
def test_on_the_command_line(done: dict[str, tuple[Done, Done]], one: InProgram) -> None:
    peer, ours = done[one.name]
    assert one.peer_shows(peer), f"the peer does it no more: {peer}"
    assert one.ours_shows(ours), f"nor do we: {ours}"
    assert not one.peer_shows(ours)
    assert not one.ours_shows(peer)


def test_the_page_is_made_from_the_tables() -> None:
    _, made, _ = differences.parts(PAGE.read_text())
    assert made == differences.render(), "run python tests/differential/differences.py"


def test_every_fault_is_looked_for() -> None:
    known = {*differences.names(IN_LIBRARY), *differences.names(COMMAND_LINE)}
    known |= {*ALIKE}
    for fault in FAULTS:
        assert fault.names or fault.tests, fault
        assert set(fault.names) <= known, fault
        for test in fault.tests:
            assert (ROOT / test).exists(), fault
