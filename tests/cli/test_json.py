"""One line of JSON a node: all that is known, and no byte lost."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioshell import Aborted, Exited, NodeResult, NotStarted, Signaled, TimedOut, Unreachable
from trioshell.cli._json import result_line


def read(result: NodeResult) -> dict[str, Any]:
    line = result_line(result)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    made: dict[str, Any] = json.loads(line)
    return made


def test_a_node_that_exited() -> None:
    result = NodeResult("n1", Exited(0), b"a\n", b"e", started_at=1.0, ended_at=3.5)
    assert read(result) == {
        "node": "n1",
        "outcome": "exited",
        "ok": True,
        "rc": 0,
        "seconds": 2.5,
        "stdout": "a\n",
        "stderr": "e",
    }


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (NodeResult("n", Signaled(9)), {"outcome": "signaled", "rc": 137, "signal": 9}),
        (NodeResult("n", TimedOut(3.0)), {"outcome": "timed_out", "rc": None}),
        (NodeResult("n", Aborted()), {"outcome": "aborted", "rc": None}),
        (
            NodeResult("n", Unreachable("refused")),
            {"outcome": "unreachable", "rc": 255, "reason": "refused"},
        ),
        (
            NodeResult("n", NotStarted("waited")),
            {"outcome": "not_started", "rc": None, "reason": "waited"},
        ),
    ],
)
def test_the_other_outcomes(result: NodeResult, told: dict[str, Any]) -> None:
    assert read(result) == {"node": "n", "ok": False, "stdout": "", "stderr": ""} | told


def test_output_that_was_cut_short() -> None:
    made = read(NodeResult("n1", Exited(0), b"a", missing_bytes=7))
    assert (made["truncated"], made["missing_bytes"]) == (True, 7)
    assert "truncated" not in read(NodeResult("n1", Exited(0), b"a"))


@given(st.binary())
def test_no_byte_is_lost(data: bytes) -> None:
    made = read(NodeResult("n", Exited(0), stdout=data, stderr=data))
    for name in ("stdout", "stderr"):
        exact = made.get(f"{name}_base64")
        assert (made[name].encode() if exact is None else base64.b64decode(exact)) == data
