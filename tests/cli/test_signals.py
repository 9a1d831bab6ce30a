"""What ^C means, by what came before it."""

from __future__ import annotations

import signal

import pytest

from trioshell.cli._signals import Answer, Interrupts, heard

INT, TERM = signal.SIGINT, signal.SIGTERM


def test_the_first_is_a_question_and_a_second_within_a_second_an_order() -> None:
    interrupts = Interrupts(careful=True)
    assert interrupts.answer(INT, 10.0) is Answer.REPORT
    assert interrupts.answer(INT, 11.5) is Answer.REPORT
    assert interrupts.answer(INT, 12.5) is Answer.END
    assert interrupts.ended_by == INT
    assert interrupts.answer(INT, 20.0) is Answer.HURRY
    assert interrupts.answer(TERM, 21.0) is Answer.HURRY
    assert interrupts.ended_by == INT


def test_a_question_ends_nothing() -> None:
    interrupts = Interrupts(careful=True)
    interrupts.answer(INT, 10.0)
    assert interrupts.ended_by is None


def test_once_is_enough_where_nobody_could_answer() -> None:
    assert Interrupts(careful=False).answer(INT, 0.0) is Answer.END


@pytest.mark.parametrize("careful", [True, False])
def test_other_signals_are_never_questions(careful: bool) -> None:
    interrupts = Interrupts(careful)
    assert interrupts.answer(TERM, 0.0) is Answer.END
    assert interrupts.ended_by == TERM


def test_what_we_are_to_ignore_is_not_heard() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert heard() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.SIGHUP in heard()
