"""Output is gathered byte for byte, and once for all nodes that wrote the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioshell._gathering import Outputs, Shelf

chunks = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=8))
)


@given(chunks)
def test_what_was_added_is_what_is_there(added: list[tuple[str, bytes]]) -> None:
    outputs = Outputs()
    told: dict[str, bytes] = {"stdout": b"", "stderr": b""}
    for sname, chunk in added:
        told[sname] += outputs.stream(sname).add(chunk, keep=True)
    for sname, lines in told.items():
        raw = b"".join(chunk for name, chunk in added if name == sname)
        assert outputs.raw(sname) == raw
        # Whole lines have been returned, and only the last may be half here.
        assert raw.startswith(lines)
        assert b"\n" not in raw[len(lines) :]
    whole = dict(outputs.whole_lines())
    assert all(whole[sname] == told[sname] for sname in whole)
    outputs = outputs.close(Shelf())
    for sname in told:
        raw = b"".join(chunk for name, chunk in added if name == sname)
        assert outputs.raw(sname) == raw


def test_equal_outputs_are_one_object() -> None:
    shelf = Shelf()
    nodes = []
    for parts in ([b"a\nb"], [b"a", b"\nb"], [b"a\n"]):
        outputs = Outputs()
        for part in parts:
            outputs.stream("stdout").add(part, keep=True)
        nodes.append(outputs.close(shelf))
    assert nodes[0] is nodes[1]
    assert nodes[2].message("stdout") != nodes[0].message("stdout")


def test_equal_long_outputs_are_one_object_too_and_others_are_not() -> None:
    shelf = Shelf()
    size = 2_000_000
    plain = b"x" * size
    other = bytearray(plain)
    other[size // 4] = ord("y")  # where nothing is sampled

    def share(raw: bytes) -> Outputs:
        outputs = Outputs()
        outputs.stream("stdout").add(raw, keep=True)
        return outputs.close(shelf)

    first = share(plain)
    assert share(bytes(bytearray(plain))) is first
    second = share(bytes(other))
    assert second is not first
    assert second.raw("stdout") == other
    assert share(bytes(other)) is second


def test_a_single_line_without_its_end_is_kept_once() -> None:
    outputs = Outputs()
    stream = outputs.stream("stdout")
    for _ in range(3):
        assert stream.add(b"z" * 10_000, keep=True) == b""
    rest = stream.finish()
    assert rest == b"z" * 30_000
    assert outputs.raw("stdout") is rest


@given(st.lists(st.sampled_from([b"a\n", b"b", b"cd", b"\n", None])))
def test_a_flush_loses_nothing_of_what_comes_after_it(parts: list[bytes | None]) -> None:
    outputs = Outputs()
    stream = outputs.stream("stdout")
    raw = told = b""
    since = b""
    for part in parts:
        if part is None:
            stream.flush()
            since = b""
        else:
            raw += part
            since += part
            told += stream.add(part, keep=True)
    assert told + stream.finish() == raw
    assert outputs.raw("stdout") == since


def test_what_is_not_kept_is_cut_into_lines_all_the_same() -> None:
    outputs = Outputs()
    stream = outputs.stream("stdout")
    assert stream.add(b"one\ntw", keep=False) == b"one\n"
    assert stream.add(b"o\n", keep=False) == b"two\n"
    assert stream.finish() == b""
    assert outputs.raw("stdout") == b""


def test_a_flush_forgets_but_completes_the_line_that_is_half_here() -> None:
    outputs = Outputs()
    stream = outputs.stream("stdout")
    stream.add(b"one\ntw", keep=True)
    outputs.flush(lambda sname: sname == "stdout")
    assert outputs.raw("stdout") == b""
    assert stream.add(b"o\nthree", keep=True) == b"two\n"
    assert outputs.raw("stdout") == b"o\nthree"
    assert stream.finish() == b"three"


def test_a_flush_after_the_end_forgets_that_stream_alone() -> None:
    outputs = Outputs()
    outputs.stream("stdout").add(b"out", keep=True)
    outputs.stream("stderr").add(b"err", keep=True)
    outputs = outputs.close(Shelf())
    outputs.flush(lambda sname: sname == "stdout")
    assert not outputs.message("stdout")
    assert outputs.message("stderr") == b"err"
