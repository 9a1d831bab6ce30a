"""Each declared difference from ClusterShell shows on both sides, and is in docs/differences.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from _pytest.mark import ParameterSet

from tests.cli.conftest import Done, Programs
from tests.differential import differences
from tests.differential.alike import ALIKE
from tests.differential.conftest import ROOT, SeenOf
from tests.differential.differences import (
    CHOICES,
    COMMAND_LINE,
    FAULTS,
    LOSSES,
    PAGE,
    InLibrary,
    InProgram,
)

IN_LIBRARY = (*LOSSES, *CHOICES)


def with_slow(tables: Sequence[InLibrary]) -> list[ParameterSet]:
    return [
        pytest.param(one, id=one.name, marks=[pytest.mark.soak] if one.slow else [])
        for one in tables
    ]


@pytest.mark.parametrize("one", with_slow(IN_LIBRARY))
def test_in_the_library(seen_of: SeenOf, one: InLibrary) -> None:
    peer, ours = seen_of(one.given)
    peer, ours = (
        replace(peer, cpu=peer.cpu / max(ours.cpu, 1e-6)),
        replace(ours, cpu=ours.cpu / max(peer.cpu, 1e-6)),
    )
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
