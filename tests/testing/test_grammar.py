"""check_grammar: accepts every order that is promised, and names the event that breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from trioshell._events import Close, Event, Hup, Pickup, Read, Start, Written
from trioshell.testing import Recorder, check_grammar

W: Any = "worker"
V: Any = "another worker"


def read(node: str, worker: Any = W) -> Event:
    return Read(worker, node, "stdout", b"x")


GOOD: list[list[Event]] = [
    [],
    [Start(W), Close(W, False)],
    [Start(W), Pickup(W, "a"), Hup(W, "a", 0), Close(W, False)],
    [
        *(Start(W), Pickup(W, "a"), Pickup(W, "b"), read("b"), read("a"), Hup(W, "a", None)),
        *(Written(W, "b", "stdin", 3), Hup(W, "b", 1), Pickup(W, "c"), Hup(W, "c", 1)),
        Close(W, True),
    ],
    [Start(W), Start(V), Pickup(V, "a"), Close(W, False), Hup(V, "a", 0), Close(V, False)],
]

BAD: list[tuple[list[Event], str]] = [
    ([Pickup(W, "a")], "event 0, Pickup.*: comes before the start of its worker"),
    ([Start(W), Start(W)], "event 1, Start.*: comes a second time"),
    ([Start(W), Close(W, False), Close(W, False)], "event 2, Close.*: comes after the close"),
    ([Start(W), Close(W, False), read("a")], "event 2, Read.*: comes after the close"),
    ([Start(W), read("a")], "event 1, Read.*: the node is not running"),
    ([Start(W), Written(W, "a", "stdin", 1)], "event 1, Written.*: the node is not running"),
    ([Start(W), Hup(W, "a", 0)], "event 1, Hup.*: the node is not running"),
    ([Start(W), Pickup(W, "a"), Pickup(W, "a")], "event 2, .* has been picked up before"),
    ([Start(W), Pickup(W, "a"), Hup(W, "a", 0), Pickup(W, "a")], "picked up before"),
    ([Start(W), Pickup(W, "a"), Hup(W, "a", 0), Hup(W, "a", 0)], "event 3, Hup.*: the node is"),
    ([Start(W), Pickup(W, "a"), Hup(W, "a", 0), read("a")], "event 3, Read.*: the node is"),
    ([Start(W), Pickup(W, "a"), Close(W, False)], "event 2, Close.*: comes before the hup of"),
    ([Start(W), Start(V), Pickup(W, "a"), read("a", V)], "event 3, Read.*: the node is not"),
    ([Start(W), Pickup(W, "a")], "no close of 'worker', still running: {'a'}"),
]


@pytest.mark.parametrize("events", GOOD)
def test_what_is_promised_is_accepted(events: list[Event]) -> None:
    check_grammar(events)


@pytest.mark.parametrize(("events", "sentence"), BAD)
def test_what_breaks_it_is_named(events: list[Event], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_grammar(events)


def test_any_beginning_of_a_good_order_is_good_so_far() -> None:
    for events in GOOD:
        for length in range(len(events)):
            check_grammar(events[:length], complete=False)


def test_a_recorder_keeps_what_it_is_told_and_then_reacts() -> None:
    reacted: list[Event] = []
    recorder = Recorder(reacted.append)
    recorder.ev_start(W)
    recorder.ev_pickup(W, "a")
    recorder.ev_read(W, "a", "stderr", b"x")
    recorder.ev_written(W, "a", "stdin", 5)
    recorder.ev_start(V)
    recorder.ev_hup(W, "a", 0)
    recorder.ev_close(W, True)
    assert recorder.events == reacted
    assert recorder.of(W) == [
        Start(W),
        Pickup(W, "a"),
        Read(W, "a", "stderr", b"x"),
        Written(W, "a", "stdin", 5),
        Hup(W, "a", 0),
        Close(W, True),
    ]
