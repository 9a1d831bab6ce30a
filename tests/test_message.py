"""A message: lines and bytes, as ClusterShell's users know them, and never a crash."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioshell._lines import split_lines
from trioshell._message import Message

output = st.lists(st.sampled_from([b"a", b"bc", b"\r", b"\n", b"\r\n", b"\xff"])).map(b"".join)
lines = st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"")))


class Counting:
    """A source of lines that counts how often it is asked."""

    def __init__(self, lines: list[bytes]) -> None:
        self.kept = lines
        self.asked = 0

    def lines(self) -> list[bytes]:
        self.asked += 1
        return self.kept


@given(output)
def test_output_is_cut_as_split_lines_cuts_it(raw: bytes) -> None:
    cut = split_lines(raw)
    for ask in (list, Message.lines, Message.splitlines):  # each as the first that is asked
        assert ask(Message.from_output(raw)) == cut
    message = Message.from_output(raw)
    assert bool(message) is bool(cut)
    assert bytes(message) == message.message() == b"\n".join(cut)
    assert bool(message) is bool(cut)
    assert list(message) == cut


@given(lines)
def test_all_three_ways_to_make_one_agree(lines: list[bytes]) -> None:
    made = [
        Message(lines),
        Message.from_output(b"".join(line + b"\r\n" for line in lines)),
        Message.from_source(Counting(lines)),
    ]
    for message in made:
        assert list(message) == message.lines() == message.splitlines() == lines
        assert list(reversed(message)) == lines[::-1]
        assert message[:2] == lines[:2]
        assert all(message[at] == line for at, line in enumerate(lines))
        assert all(line in message for line in lines)
        assert len(message) == len(b"\n".join(lines))
        assert bool(message) is bool(lines)
        assert hash(message) == hash(b"\n".join(lines))
        assert message == made[0]
        assert message == b"\n".join(lines) == bytes(message)


def test_one_empty_line_is_something() -> None:
    assert not Message()
    assert not Message.from_output(b"")
    assert not Message.from_source(Counting([]))
    for message in (
        Message([b""]),
        Message.from_output(b"\n"),
        Message.from_output(b"\r\n"),
        Message.from_source(Counting([b""])),
    ):
        assert message
        assert bytes(message) == b""
        assert len(message) == 0
        assert message == b"" == Message()
        assert message.lines() == [b""]
        assert message


def test_it_is_compared_by_its_bytes_only() -> None:
    message = Message([b"a", b"b"])
    assert message == message
    assert message == b"a\nb"
    assert message == bytearray(b"a\nb")
    assert message == Message.from_output(b"a\nb\n")
    assert message != b"a\nb\n"
    assert message != Message([b"a"])
    assert message != "a\nb"
    assert message != [b"a", b"b"]
    assert {message: 1}[b"a\nb"] == 1  # type: ignore[index]  # equal keys, whatever their type
    assert len({message, b"a\nb", Message.from_output(b"a\r\nb\r\n")}) == 1


def test_in_is_about_whole_lines() -> None:
    message = Message([b"one", b"two"])
    assert b"one" in message
    assert b"on" not in message
    assert "one" not in message
    with pytest.raises(IndexError):
        message[2]


def test_a_list_of_lines_is_the_callers_own() -> None:
    for message in (
        Message([b"a"]),
        Message.from_output(b"a"),
        Message.from_source(Counting([b"a"])),
    ):
        message.lines().append(b"b")
        assert message.lines() == [b"a"]


@given(st.binary())
def test_showing_never_fails_and_loses_nothing(raw: bytes) -> None:
    message = Message.from_output(raw)
    for text in (str(message), f"{message}", message.decode(), repr(message)):
        text.encode("utf-8")
    assert str(message) == bytes(message).decode("utf-8", "backslashreplace")


def test_decoding_by_example() -> None:
    assert str(Message([b"caf\xc3\xa9", b"\xff!"])) == "café\n\\xff!"
    assert Message([b"\xe9"]).decode("latin-1") == "é"
    with pytest.raises(UnicodeDecodeError):
        Message([b"\xff"]).decode(errors="strict")


def test_the_repr_is_short_and_says_what_it_is() -> None:
    assert repr(Message()) == "Message([])"
    assert repr(Message.from_output(b"a\nb\xff\n")) == r"Message([b'a', b'b\xff'])"
    assert len(repr(Message([b"x" * 10_000] * 10_000))) < 1_000


def test_nothing_is_done_before_it_is_needed_or_twice() -> None:
    source = Counting([b"a", b"b"])
    message = Message.from_source(source)
    assert source.asked == 0
    assert bytes(message) is bytes(message)
    assert message.lines() == [b"a", b"b"]
    assert source.asked == 1
    message = Message.from_output(b"a\r\nb\n")
    assert bytes(message) is bytes(message)


def test_output_without_a_newline_is_not_copied() -> None:
    raw = b"as it came"
    assert bytes(Message.from_output(raw)) is raw


@pytest.mark.parametrize(
    "message",
    [
        Message([b"a", b""]),
        Message.from_output(b"a\n\n"),
        Message.from_source(Counting([b"a", b""])),
    ],
)
def test_it_can_be_copied_and_pickled(message: Message) -> None:
    for other in (copy.copy(message), copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
        assert other == message
        assert other.lines() == [b"a", b""]


def test_it_takes_no_attributes() -> None:
    with pytest.raises(AttributeError):
        Message().colour = "red"  # type: ignore[attr-defined]  # that is the point
