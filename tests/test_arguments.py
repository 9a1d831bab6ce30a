"""Wrong arguments: one sentence that names the argument, what it was and what is accepted."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from trioshell._arguments import (
    check_command,
    check_data,
    check_fanout,
    check_finite_seconds,
    check_flag,
    check_path,
    check_seconds,
)


@pytest.mark.parametrize(
    ("given", "taken"), [(None, None), (0, 0.0), (1, 1.0), (2.5, 2.5), (math.inf, None)]
)
def test_seconds_are_taken(given: float | None, taken: float | None) -> None:
    assert check_seconds("timeout", given) == taken


@pytest.mark.parametrize("wrong", [-1, -0.001, math.nan, -math.inf])
def test_seconds_below_nothing_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"timeout must be 0 seconds or more, not "):
        check_seconds("timeout", wrong)


@pytest.mark.parametrize("wrong", ["1", b"1", True, [1], 1j])
def test_what_is_no_number_is_no_seconds(wrong: object) -> None:
    with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not "):
        check_seconds("timeout", wrong)


@pytest.mark.parametrize("wrong", [None, math.inf])
def test_finite_seconds_must_have_an_end(wrong: float | None) -> None:
    with pytest.raises(ValueError, match="kill_grace must be a finite number"):
        check_finite_seconds("kill_grace", wrong)
    assert check_finite_seconds("kill_grace", 0) == 0.0


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_fanout_below_one_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"fanout must be 1 or more, not {wrong}"):
        check_fanout("fanout", wrong)


@pytest.mark.parametrize("wrong", [1.0, "1", True, None, math.inf])
def test_a_fanout_is_a_whole_number(wrong: object) -> None:
    with pytest.raises(TypeError, match="fanout must be a whole number, not "):
        check_fanout("fanout", wrong)
    assert check_fanout("fanout", 1) == 1


@pytest.mark.parametrize("wrong", [0, 1, None, "yes"])
def test_a_flag_is_true_or_false(wrong: object) -> None:
    with pytest.raises(TypeError, match="stdin must be True or False, not "):
        check_flag("stdin", wrong)


@pytest.mark.parametrize(
    ("given", "taken"),
    [("a b", "a b"), (["a", "b c"], ("a", "b c")), (("a", ""), ("a", "")), ("a\nb", "a\nb")],
)
def test_commands_are_taken(given: object, taken: object) -> None:
    assert check_command(given) == taken


@pytest.mark.parametrize("wrong", ["", "  ", "\n", [], (), [""], [" ", "a"]])
def test_an_empty_command_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="command must not be empty"):
        check_command(wrong)


@pytest.mark.parametrize("wrong", ["a\0b", ["a", "\0"]])
def test_a_nul_character_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="command must not contain a NUL character"):
        check_command(wrong)


@pytest.mark.parametrize("wrong", [b"true", None, 7, [b"true"], [1], {"a"}, bytearray(b"x")])
def test_a_command_is_made_of_strings(wrong: object) -> None:
    with pytest.raises(TypeError, match="command must be"):
        check_command(wrong)


def test_paths() -> None:
    assert check_path("dest", PurePosixPath("/tmp/x")) == "/tmp/x"
    for wrong in ("", "a\0b"):
        with pytest.raises(ValueError, match="dest must be a path"):
            check_path("dest", wrong)
    with pytest.raises(TypeError, match="dest must be a path"):
        check_path("dest", b"/tmp")


def test_data_is_taken_as_it_is_now() -> None:
    data = bytearray(b"abc")
    taken = check_data("data", data)
    data[0] = 0
    assert taken == b"abc"
    with pytest.raises(TypeError, match="data must be bytes, not 'abc'"):
        check_data("data", "abc")


@pytest.mark.parametrize("check", [check_seconds, check_fanout, check_flag, check_data])
def test_each_message_is_one_sentence_that_shows_the_input(
    check: Callable[[str, object], object],
) -> None:
    class Odd:
        def __repr__(self) -> str:
            return "<odd>"

    with pytest.raises(TypeError) as caught:
        check("argument", Odd())
    message = str(caught.value)
    assert "argument" in message
    assert "<odd>" in message
    assert "\n" not in message
