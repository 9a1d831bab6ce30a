"""Script: what is accepted as data, and what is refused in one sentence."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trioshell.testing import Break, CloseOutput, CloseStdin, ListProcesses, ReadStdin, Script


@pytest.mark.parametrize(
    ("steps", "program"),
    [
        ((), ()),
        (b"x", (b"x",)),
        (2, (2,)),
        (math.inf, (math.inf,)),
        (("stderr", b"x"), (("stderr", b"x"),)),
        ([b"a", 1.5, ("stdout", b"b")], (b"a", 1.5, ("stdout", b"b"))),
        (ReadStdin(), (ReadStdin(),)),
        ((CloseStdin(), Break("x")), (CloseStdin(), Break("x"))),
    ],
)
def test_steps_alone_or_in_a_sequence(steps: Any, program: tuple[Any, ...]) -> None:
    assert Script(steps).program == program
    assert Script(on_term=steps).last_words == program


def test_ignoring_the_signal_is_not_an_empty_program() -> None:
    assert Script().last_words == ()
    assert Script(on_term=None).last_words is None


@pytest.mark.parametrize(
    ("keywords", "error", "sentence"),
    [
        ({"steps": "hello"}, TypeError, "steps: a step is .* not 'hello'"),
        ({"steps": [b"a", "b"]}, TypeError, "steps: a step is .* not 'b'"),
        ({"steps": [True]}, TypeError, "steps: a step is .* not True"),
        ({"steps": [("stdin", b"x")]}, TypeError, "steps: a step is .* not"),
        ({"steps": [None]}, TypeError, "steps: a step is .* not None"),
        ({"steps": -1.0}, ValueError, "steps: a number of seconds, 0 or more .* not -1.0"),
        ({"steps": math.nan}, ValueError, "steps: .* not nan"),
        ({"on_term": "x"}, TypeError, "on_term: a step is .* not 'x'"),
        ({"steps": [CloseOutput(), b"x"]}, ValueError, "would write after CloseOutput"),
        ({"steps": [CloseOutput(), ListProcesses()]}, ValueError, "would write after"),
        ({"steps": [CloseOutput(), ReadStdin(echo=True)]}, ValueError, "would write after"),
        ({"steps": [CloseStdin(), ReadStdin()]}, ValueError, "would read after CloseStdin"),
        ({"rc": 256}, ValueError, "rc: 0 to 255, not 256"),
        ({"rc": -1}, ValueError, "rc: 0 to 255, not -1"),
        ({"signum": 0}, ValueError, "signum: 1 to 64, or None, not 0"),
        ({"signum": 9, "rc": 1}, ValueError, "give only one"),
        ({"unreachable": "a", "not_started": "b"}, ValueError, "give only one"),
        ({"connect": -1}, ValueError, "connect: a number of seconds, 0 or more"),
        ({"connect": "1"}, TypeError, "connect: a number of seconds, 0 or more"),
        ({"holds_output": math.nan}, ValueError, "holds_output: a number of seconds"),
    ],
)
def test_what_cannot_be_is_refused(
    keywords: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        Script(**keywords)


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"size": 0}, "size: at least 1 byte, not 0"),
        ({"total": -1}, "total: 0 bytes or more, or None, not -1"),
        ({"pause": math.inf}, "pause: a number of seconds, 0 or more, not inf"),
    ],
)
def test_a_read_that_cannot_be_is_refused(keywords: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ReadStdin(**keywords)


def test_what_may_follow_a_closed_stream() -> None:
    assert len(Script((CloseOutput(), 1.0, ReadStdin(), Break())).program) == 4
    assert len(Script((CloseStdin(), b"x")).program) == 2
