"""Bounded output: what is kept is what a plain model says, whatever the chunking."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby

from hypothesis import example, given, settings
from hypothesis import strategies as st

from trioshell._caps import Caps
from trioshell._gathering import Outputs, Shelf
from trioshell._lines import split_lines

SNAMES = ("stdout", "stderr")

# What a node writes, byte by byte: mostly the bytes at which something could be cut wrongly.
Written = list[tuple[str, bytes]]
written = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stdout", "stderr"]),
        st.sampled_from([b"a", b"b", b"\r", b"\r", b"\n", b"\xff"]),
    ),
    max_size=60,
)
caps = st.none() | st.integers(min_value=1, max_value=12)
cuts = st.sets(st.integers(0, 60)) | st.just(set(range(60)))  # anywhere, or after every byte


def lines_of(data: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    line = []
    for pair in data:
        line.append(pair)
        if pair[1] == b"\n":
            yield line
            line = []
    if line:
        yield line


def cut_line(line: list[tuple[int, bytes]], limit: int) -> list[tuple[int, bytes]]:
    """What is let through of one line, each byte with the moment at which that is known."""
    ends = line[-1][1] == b"\n"
    body = line[:-1] if ends else line
    end = line[-1:] if ends else []
    if ends and body and body[-1][1] == b"\r":
        if len(body) == limit + 1:  # it is of the end: not known before the newline comes
            return [*body[:-1], (line[-1][0], b"\r"), *end]
        body, end = body[:-1], [body[-1], *end]
    if len(body) <= limit:
        return [*body, *end]
    rest = [moment for moment, byte in [*body[limit:], *end]]
    if body[limit][1] == b"\r":
        rest = rest[1:]  # a carriage return alone does not say yet that the line is longer
    return [*body[:limit], *([(rest[0], b"\n")] if rest else [])]


def model(
    writing: Written, output_bytes: int | None, line_bytes: int | None
) -> tuple[dict[str, bytes], int]:
    """What is kept of each stream, and how many bytes are missing."""
    kept: list[tuple[int, str, bytes]] = []
    lost = 0
    for sname in SNAMES:
        data = [(moment, byte) for moment, (name, byte) in enumerate(writing) if name == sname]
        for line in lines_of(data):
            let_through = line if line_bytes is None else cut_line(line, line_bytes)
            kept += [(moment, sname, byte) for moment, byte in let_through]
            # A line that has been cut counts as if it had had a newline.
            ended = let_through[-1:] and let_through[-1][1] == b"\n"
            lost += len(line) - len(let_through) + bool(ended and line[-1][1] != b"\n")
    kept.sort(key=lambda triple: triple[0])
    room = len(kept) if output_bytes is None else output_bytes
    lost += len(kept[room:])
    return {
        sname: b"".join(byte for _, name, byte in kept[:room] if name == sname) for sname in SNAMES
    }, lost


def make_outputs(output_bytes: float | None, line_bytes: float | None) -> Outputs:
    return Caps(output_bytes, line_bytes).outputs()


def chunked(writing: Written, cuts: set[int]) -> Written:
    """Bytes in a row of one stream as chunks, cut at these places too."""
    pieces = []
    part = 0
    for number, (sname, byte) in enumerate(writing):
        part += number in cuts
        pieces.append((sname, part, byte))
    return [
        (sname, b"".join(byte for _, _, byte in run))
        for (sname, _), run in groupby(pieces, key=lambda piece: piece[:2])
    ]


@settings(max_examples=300)
@given(written, cuts, caps, caps)
@example([("stdout", b) for b in (b"a", b"\r", b"\n")], {1, 2}, None, 1)
@example([("stdout", b) for b in (b"a", b"\r", b"b")], {2}, None, 1)
@example([("stdout", b"\r")] * 2, set(), None, 1)
def test_what_is_kept_is_what_the_model_says(
    writing: Written, cuts: set[int], output_bytes: int | None, line_bytes: int | None
) -> None:
    outputs = make_outputs(output_bytes, line_bytes)
    told: dict[str, list[bytes]] = {sname: [] for sname in SNAMES}
    for sname, chunk in chunked(writing, cuts):
        told[sname] += split_lines(outputs.stream(sname).add(chunk, keep=True))
        # Who comes late is told of what the others have been told.
        for name, lines in outputs.whole_lines():
            assert split_lines(lines) == told[name]
    for sname, stream in outputs.live().items():
        told[sname] += split_lines(stream.finish())
    kept, missing = model(writing, output_bytes, line_bytes)
    assert {sname: outputs.raw(sname) for sname in SNAMES} == kept
    assert outputs.missing_bytes == missing
    assert told == {sname: split_lines(data) for sname, data in kept.items()}
    if output_bytes is not None:
        assert sum(map(len, kept.values())) <= output_bytes
    if line_bytes is not None:
        assert all(len(line) <= line_bytes for lines in told.values() for line in lines)
    ended = outputs.close(Shelf())
    assert {sname: list(ended.message(sname)) for sname in SNAMES} == told


@given(written, cuts, st.integers(1, 12))
def test_without_a_cap_on_lines_the_kept_and_the_missing_are_all_that_was_written(
    writing: Written, cuts: set[int], output_bytes: int
) -> None:
    outputs = make_outputs(output_bytes, None)
    for sname, chunk in chunked(writing, cuts):
        outputs.stream(sname).add(chunk, keep=True)
    kept = sum(len(outputs.raw(sname)) for sname in SNAMES)
    assert kept == min(output_bytes, len(writing))
    assert kept + outputs.missing_bytes == len(writing)


def test_a_line_that_is_too_long_is_told_at_once_and_once() -> None:
    stream = make_outputs(None, 4).stream("stdout")
    assert stream.add(b"1234", keep=True) == b""  # it may be over
    assert stream.add(b"5", keep=True) == b"1234\n"
    assert stream.add(b"6" * 1000, keep=True) == b""
    assert stream.add(b"\nnext", keep=True) == b""
    assert stream.add(b"\n", keep=True) == b"next\n"
    assert stream.raw() == b"1234\nnext\n"


def test_the_end_of_a_line_does_not_count() -> None:
    for end in (b"\n", b"\r\n"):
        outputs = make_outputs(None, 4)
        for byte in b"1234" + end:
            outputs.stream("stdout").add(bytes([byte]), keep=True)
        assert outputs.raw("stdout") == b"1234" + end
        assert outputs.missing_bytes == 0


def test_a_carriage_return_that_is_no_line_end_counts() -> None:
    outputs = make_outputs(None, 2)
    assert outputs.stream("stdout").add(b"ab\rc\n", keep=True) == b"ab\n"
    assert outputs.missing_bytes == 2


def test_the_line_at_the_end_of_the_allowance_is_told_as_soon_as_that_is_known() -> None:
    outputs = make_outputs(6, None)
    stream = outputs.stream("stdout")
    assert stream.add(b"ab\ncde", keep=True) == b"ab\n"
    assert outputs.missing_bytes == 0  # exactly as much as may be kept
    assert stream.add(b"f", keep=True) == b"cde"
    assert stream.add(b"g\nh\n", keep=True) == b""
    assert stream.finish() == b""
    assert outputs.missing_bytes == 5


def test_what_is_not_gathered_is_bounded_too() -> None:
    outputs = make_outputs(5, 2)
    assert outputs.stream("stdout").add(b"abc\nd\nefg\n", keep=False) == b"ab\nd\n"
    assert outputs.raw("stdout") == b""
    assert outputs.missing_bytes == 1 + 4


def test_a_flush_does_not_give_the_allowance_back() -> None:
    outputs = make_outputs(4, None)
    outputs.stream("stdout").add(b"abc\n", keep=True)
    outputs.flush(lambda sname: True)
    assert outputs.stream("stdout").add(b"d\n", keep=True) == b""
    assert outputs.missing_bytes == 2


def test_who_says_nothing_has_the_bounds_of_the_other() -> None:
    assert Caps(None, 3).or_else(Caps(1, 2)) == Caps(1, 3)
    lifted = Caps(math.inf, None).or_else(Caps(1, 2))
    assert lifted == Caps(math.inf, 2)
    assert lifted
    assert not Caps(math.inf, math.inf)
    assert not Caps()
