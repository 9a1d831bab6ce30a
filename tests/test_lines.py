"""Cutting: the same lines come out whatever the chunks are, and in linear time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from trioshell._lines import LineCutter, split_lines

# Mostly the bytes at which something could be cut wrongly.
output = st.lists(st.sampled_from([b"a", b"bc", b"\r", b"\n", b"\r\n", b"\0", b"\xff"])).map(
    b"".join
) | st.binary(max_size=40)


def slow_split(block: bytes) -> list[bytes]:
    """What split_lines promises, byte by byte."""
    lines = []
    line = bytearray()
    for byte in block:
        if byte != 0x0A:
            line.append(byte)
        else:
            lines.append(bytes(line[:-1] if line.endswith(b"\r") else line))
            line.clear()
    return [*lines, bytes(line)] if line else lines


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


@given(output)
def test_splitting_is_what_it_promises(block: bytes) -> None:
    assert split_lines(block) == slow_split(block)


def test_splitting_by_example() -> None:
    assert split_lines(b"") == []
    assert split_lines(b"\n") == [b""]
    assert split_lines(b"\r\n") == [b""]
    assert split_lines(b"a\rb\nc\rd\n") == [b"a\rb", b"c\rd"]
    assert split_lines(b"a\r\r\n") == [b"a\r"]
    assert split_lines(b"a\nb\r") == [b"a", b"b\r"]
    assert split_lines(b"a\x0bb\x0cc\x1cd\x85e\xe2\x80\xa8f\n") == [
        b"a\x0bb\x0cc\x1cd\x85e\xe2\x80\xa8f"
    ]


@given(output, st.lists(st.integers(min_value=0)))
@example(b"a\r\nb", [2])
def test_the_chunks_make_no_difference(data: bytes, cuts: list[int]) -> None:
    cutter = LineCutter()
    blocks = [cutter.feed(chunk) for chunk in chunked(data, cuts)]
    rest = cutter.finish()
    assert b"".join(blocks) + rest == data
    lines = [line for block in (*blocks, rest) for line in split_lines(block)]
    assert lines == split_lines(data)


@given(output, st.lists(st.integers(min_value=0)))
def test_a_block_is_whole_lines_and_comes_at_once(data: bytes, cuts: list[int]) -> None:
    cutter = LineCutter()
    fed = given_back = 0
    for chunk in chunked(data, cuts):
        block = cutter.feed(chunk)
        fed += len(chunk)
        given_back += len(block)
        assert block == b"" or block.endswith(b"\n")
        assert given_back == data.rfind(b"\n", 0, fed) + 1
    assert b"\n" not in cutter.finish()


def test_finishing_empties_the_cutter() -> None:
    cutter = LineCutter()
    assert cutter.finish() == b""
    assert cutter.feed(b"a\nb") == b"a\n"
    assert cutter.finish() == b"b"
    assert cutter.finish() == b""
    assert cutter.feed(b"c\n") == b"c\n"


def test_whole_lines_are_handed_on_without_a_copy() -> None:
    chunk = b"a\nb\n"
    assert LineCutter().feed(chunk) is chunk


class Chunk(bytes):
    """A chunk that counts the bytes in which somebody looks for something."""

    searched = 0

    def rfind(self, *args: object) -> int:
        Chunk.searched += len(self)
        return super().rfind(*args)  # type: ignore[arg-type]  # whatever was asked


def test_an_endless_line_is_searched_once_and_copied_once() -> None:
    Chunk.searched = 0
    size, count = 4096, 2560  # 10 MB
    cutter = LineCutter()
    chunk = Chunk(b"x" * size)
    for _ in range(count):
        assert cutter.feed(chunk) == b""
    assert Chunk.searched == size * count
    line = cutter.feed(b"y\n")
    assert line == b"x" * (size * count) + b"y\n"
    assert cutter.finish() == b""
