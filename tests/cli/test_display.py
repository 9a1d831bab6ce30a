"""The text of results: clush's form, and nothing in it that a terminal would obey."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioshell import Aborted, Exited, NotStarted, Signaled, TimedOut, Unreachable
from trioshell._results import Outcome
from trioshell.cli._display import (
    Group,
    Look,
    block,
    copied_message,
    diff,
    end_message,
    err_label,
    harmless,
    labelled,
    message,
    order,
    out_label,
)

PLAIN = Look()
COLOR = Look(color=True)
BARE = Look(label=False, color=True)

TWO = Group("n[1-2]", 2, b"a\n\nb\n")
ONE = Group("n3", 1, b"c\n")


# -- harmless ------------------------------------------------------------------------------


@given(st.binary())
def test_nothing_a_terminal_obeys_is_left(data: bytes) -> None:
    shown = harmless(data).decode("utf-8")
    assert [
        character
        for character in shown
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") and character not in "\t\n"
    ] == []


@given(st.binary(), st.sampled_from(["latin-1", "ascii", "cp1252", "iso8859-15"]))
def test_nothing_is_left_on_an_8_bit_terminal_either(data: bytes, encoding: str) -> None:
    # Such a terminal obeys the byte 0x9b, whatever we meant by it; cp1252 has letters there.
    shown = harmless(data, encoding)
    controls = set(range(0x20)) - {9, 10} | {0x7F}
    if encoding != "cp1252":
        controls |= set(range(0x80, 0xA0))
    assert not controls & set(shown)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_what_can_be_printed_stays(text: str) -> None:
    assert harmless(text.encode()) == text.encode()


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a\tb\n", b"a\tb\n"),
        (b"\x1b[31mred", b"^[[31mred"),
        (b"a\rb", b"a^Mb"),
        (b"\x00\x7f", b"^@^?"),
        (b"\x9b2J", rb"\x9b2J"),
        ("\x9b2J".encode(), rb"\x9b2J"),
        (b"\xff\xc3", rb"\xff\xc3"),
        ("a\u202eb\u2066".encode(), rb"a\u202eb\u2066"),
        ("\u00e9\u20ac".encode(), "\u00e9\u20ac".encode()),
    ],
)
def test_what_is_shown_instead(data: bytes, shown: bytes) -> None:
    assert harmless(data) == shown


def test_a_terminal_that_lacks_a_letter_gets_its_number() -> None:
    assert harmless("\u00e9\u20ac".encode(), "latin-1") == b"\xe9\\u20ac"


def test_bytes_go_to_a_file_as_they_are() -> None:
    raw = b"\x1b[31m\xff\r\n"
    assert PLAIN.out(raw) == PLAIN.err(raw) == raw
    assert Look(out_terminal="utf-8").out(raw) == b"^[[31m\\xff^M\n"


# -- lines and blocks ----------------------------------------------------------------------


def test_labels() -> None:
    assert out_label("n1", PLAIN) == err_label("n1", PLAIN) == b"n1: "
    assert out_label("n1", COLOR) == b"\x1b[94mn1: \x1b[0m"
    assert err_label("n1", COLOR) == b"\x1b[91mn1: \x1b[0m"
    assert out_label("n1", BARE) == err_label("n1", BARE) == b""


def test_every_line_of_a_group_is_labelled() -> None:
    assert labelled(TWO, PLAIN) == b"n[1-2]: a\nn[1-2]: \nn[1-2]: b\n"
    assert labelled(TWO, BARE) == TWO.body
    assert labelled(Group("n1", 1, b""), PLAIN) == b""
    assert labelled(Group("n1", 1, b"\n"), PLAIN) == b"n1: \n"


RULE = b"---------------"


def test_a_block_has_a_header() -> None:
    assert block(TWO, PLAIN) == b"%b\nn[1-2] (2)\n%b\na\n\nb\n" % (RULE, RULE)
    assert block(ONE, PLAIN) == b"%b\nn3\n%b\nc\n" % (RULE, RULE)
    assert block(TWO, Look(count=False)) == b"%b\nn[1-2]\n%b\na\n\nb\n" % (RULE, RULE)
    assert block(ONE, COLOR) == b"\x1b[94m%b\nn3\n%b\x1b[0m\nc\n" % (RULE, RULE)
    assert block(TWO, BARE) == TWO.body
    assert block(Group("n1", 1, b""), PLAIN) == b""


def test_only_output_is_made_harmless_not_our_own_colours() -> None:
    shown = block(Group("n1", 1, b"\x1b[m\n"), Look(color=True, out_terminal="utf-8"))
    assert shown == b"\x1b[94m%b\nn1\n%b\x1b[0m\n^[[m\n" % (RULE, RULE)


def test_the_largest_group_comes_first_then_the_first_name() -> None:
    b = Group("b", 1, b"x\n")
    assert order([("n3", ONE), ("b", b), ("n1", TWO)]) == [TWO, b, ONE]


# -- differences ---------------------------------------------------------------------------


def test_a_diff_is_against_the_first_group() -> None:
    groups = [Group("n[1-2]", 2, b"a\nb\n"), Group("n3", 1, b"a\n\xff\n"), Group("n4", 1, b"")]
    assert b"".join(diff(groups, PLAIN)) == (
        b"--- n[1-2] (2)\n+++ n3\n@@ -1,2 +1,2 @@\n a\n-b\n+\xff\n"
        b"--- n[1-2] (2)\n+++ n4\n@@ -1,2 +0,0 @@\n-a\n-b\n"
    )


def test_equal_groups_do_not_differ() -> None:
    assert list(diff([TWO, Group("n9", 1, TWO.body)], PLAIN)) == []
    assert list(diff([], PLAIN)) == []


def test_colours_of_a_diff() -> None:
    look = Look(color=True, out_terminal="utf-8")
    groups = [Group("n1", 1, b"a\n"), Group("n2", 1, b"\x1b\n")]
    assert b"".join(diff(groups, look)) == (
        b"\x1b[1m--- n1\x1b[0m\n\x1b[1m+++ n2\x1b[0m\n\x1b[96m@@ -1 +1 @@\x1b[0m\n"
        b"\x1b[91m-a\x1b[0m\n\x1b[92m+^[\x1b[0m\n"
    )


# -- messages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Exited(3), "exited with exit code 3"),
        (Signaled(9), "exited with exit code 137"),
        (TimedOut(5.0), "command timeout"),
        (Unreachable("no route"), "unreachable: no route"),
        (Aborted(), "aborted"),
        (NotStarted("no sh"), "not started: no sh"),
    ],
)
def test_how_a_run_ended(outcome: Outcome, text: str) -> None:
    assert end_message(outcome, "n1", 1, PLAIN) == f"trioshell: n1: {text}\n".encode()
    assert end_message(outcome, "n[1-2]", 2, PLAIN) == f"trioshell: n[1-2] (2): {text}\n".encode()
    few = Look(message_count=False)
    assert end_message(outcome, "n[1-2]", 2, few) == f"trioshell: n[1-2]: {text}\n".encode()


def test_a_message_is_one_harmless_line() -> None:
    reason = "banner\n\x1b[31m\udcff"
    assert message(reason, PLAIN) == b"trioshell: banner \x1b[31m\xff\n"
    assert message(reason, Look(err_terminal="utf-8")) == b"trioshell: banner ^[[31m\\xff\n"


def test_names_are_shown_as_the_terminal_has_letters() -> None:
    # As UTF-8 this letter has a byte in it that an 8-bit terminal obeys.
    look = Look(out_terminal="latin-1", err_terminal="latin-1")
    assert out_label("\u011b", look) == err_label("\u011b", look) == b"\\u011b: "
    assert block(Group("\u011b", 1, b"x\n"), look).split(b"\n")[1] == b"\\u011b"


def test_a_text_that_is_no_text_is_shown_all_the_same() -> None:
    assert message("\ud800\udcff", PLAIN) == b"trioshell: \\ud800\\udcff\n"


def test_what_has_been_copied() -> None:
    there = copied_message("a", "/b", "n[1-2]", reverse=False, look=PLAIN)
    assert there == b"`a' -> n[1-2]:`/b'\n"
    assert copied_message("a", "/b", "n1", reverse=True, look=PLAIN) == b"n1:`a' -> `/b'\n"
