"""The same commands, nodes, timeouts, input and copies through both libraries: the same results."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential.alike import ALIKE, HANGS, LOCAL, NOT_WRITTEN, TIMEOUT
from tests.differential.cases import Case, Seen, Work
from tests.differential.comparing import unlike
from tests.differential.conftest import Libraries, SeenOf


@pytest.mark.parametrize("name", ALIKE)
def test_alike(seen_of: SeenOf, name: str) -> None:
    peer, ours = seen_of(ALIKE[name])
    if name in NOT_WRITTEN:
        peer, ours = without(peer, "written"), without(ours, "written")
    if name in LOCAL:
        peer, ours = without_current(peer), without_current(ours)
    assert peer.error == "", "it is no case in which both are right"
    assert unlike(peer, ours) == []
    assert (peer.survivors, ours.survivors) == ([], [])


def without(seen: Seen, name: str) -> Seen:
    histories = [
        {node: [event for event in history if event[0] != name] for node, history in one.items()}
        for one in seen.histories
    ]
    return replace(seen, histories=histories)


def without_current(seen: Seen) -> Seen:
    histories = [
        {node: [event[:-1] for event in history] for node, history in one.items()}
        for one in seen.histories
    ]
    return replace(seen, histories=histories)


# -- drawn -----------------------------------------------------------------------------------

NODES = ("n1", "n[1-3]", "n[09-11]", "a1,b[2-3]", "r[1-2]-n[1-2]", "n[1-4]!n2")
WORDS = ("a", "b", "aa", " x ", "", "\xe9\xff", "-n", "a\\b", "%", "'", "\r", "\x00", "\t*")


@st.composite
def scripts(draw: st.DrawFn, hangs: bool) -> str:
    """What one node does: lines and pieces of them on both streams, pauses, and an end."""
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        # A carriage return stands only where both keep it, or take it away: before a newline.
        text = draw(st.sampled_from(WORDS)) + draw(st.sampled_from(("\n", "", "\n\n", "\r\n")))
        text = text.replace("\r\r", "\r") if text.endswith("\n") else text.replace("\r", "")
        where = draw(st.sampled_from(("", "", " >&2")))
        octal = "".join(f"\\{byte:03o}" for byte in text.encode("latin-1"))
        parts.append(f"printf '{octal}'{where}")
        if draw(st.integers(0, 3)) == 0:
            parts.append("sleep 0.1")
    if draw(st.integers(0, 4)) == 0:
        parts.append("cat")
    if hangs and draw(st.booleans()):
        # What a line lacks at a timeout is lost by the peer, which is declared elsewhere.
        return "; ".join([*parts, "echo", "echo >&2", HANGS])
    end = draw(st.sampled_from((":", "exit 1", "exit 255", "kill -9 $$", "kill -15 $$", "false")))
    return "; ".join([*parts, end])


@st.composite
def tasks(draw: st.DrawFn, hangs: bool) -> Case:
    """One or two workers, whose nodes do different things."""
    return Case(
        tuple(draw(works(hangs)) for _ in range(draw(st.integers(1, 2)))),
        fanout=draw(st.sampled_from((1, 2, 64))),
    )


@st.composite
def works(draw: st.DrawFn, hangs: bool) -> Work:
    cases = [
        f"{number}) {draw(scripts(hangs=hangs))};;" for number in range(draw(st.integers(1, 3)))
    ]
    stdin = st.none() | st.tuples(st.sampled_from(("", "in\n", "in", "x" * 70_000)))
    return Work(
        f"case %n in {' '.join(cases)} *) echo a;; esac",
        draw(st.sampled_from(NODES)),
        timeout=TIMEOUT if hangs else draw(st.none() | st.just(60.0)),
        stderr=draw(st.booleans()),
        stdin=draw(stdin),
    )


def check_alike(libraries: Libraries, cases: list[Case]) -> None:
    for one, (peer, ours) in zip(cases, libraries.run(cases), strict=True):
        # How much a pipe has taken of what nobody reads is chance.
        assert unlike(without(peer, "written"), without(ours, "written")) == [], one
        assert (peer.error, ours.error) == ("", "")


def drawn(examples: int) -> settings:
    return settings(
        max_examples=examples,
        # One pair of processes serves all examples, and keeps nothing of an example.
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


SCRIPTS = st.lists(tasks(hangs=False), min_size=4, max_size=8)


@given(cases=SCRIPTS)
@drawn(4)
def test_drawn_scripts_are_alike(libraries: Libraries, cases: list[Case]) -> None:
    check_alike(libraries, cases)


@pytest.mark.soak
@given(cases=SCRIPTS)
@settings(drawn(25), derandomize=False)
def test_many_drawn_scripts_are_alike(libraries: Libraries, cases: list[Case]) -> None:
    check_alike(libraries, cases)


@pytest.mark.soak
@given(cases=st.lists(tasks(hangs=True), min_size=16, max_size=16))
@drawn(2)
def test_drawn_scripts_of_which_some_hang_are_alike(
    libraries: Libraries, cases: list[Case]
) -> None:
    check_alike(libraries, cases)
