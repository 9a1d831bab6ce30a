"""Live gathering line by line: rows complete, in order, and none too late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioshell.cli._rows import Row, Rows


def test_a_row_is_complete_when_all_have_written_it() -> None:
    rows = Rows(["a", "b"])
    assert rows.add("a", b"1") == []
    assert rows.add("a", b"2") == []
    assert rows.add("b", b"1") == [[(b"1", ["a", "b"])]]
    assert rows.add("b", b"x") == [[(b"2", ["a"]), (b"x", ["b"])]]


def test_a_node_that_ends_is_not_waited_for() -> None:
    rows = Rows(["a", "b", "c"])
    rows.add("a", b"1")
    rows.add("a", b"2")
    assert rows.end("b") == []
    assert rows.end("c") == [[(b"1", ["a"])], [(b"2", ["a"])]]
    assert rows.end("c") == []
    assert rows.add("a", b"3") == [[(b"3", ["a"])]]


def test_a_node_that_ends_has_its_lines_shown_all_the_same() -> None:
    rows = Rows(["a", "b"])
    rows.add("a", b"1")
    assert rows.end("a") == []
    assert rows.end("b") == [[(b"1", ["a"])]]


LINES = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.sampled_from([b"x", b"y"]), max_size=5), min_size=1
)


@given(LINES, st.data())
def test_every_line_comes_out_once_in_its_row_and_as_soon_as_it_can(
    lines: dict[str, list[bytes]], data: st.DataObject
) -> None:
    rows = Rows(lines)
    shown: list[Row] = []
    left = {node: [*own, None] for node, own in lines.items()}
    written = dict.fromkeys(lines, 0)
    while left:
        node = data.draw(st.sampled_from(sorted(left)))
        line = left[node].pop(0)
        if line is None:
            shown += rows.end(node)
            del left[node]
        else:
            shown += rows.add(node, line)
            written[node] += 1
        slowest = min((written[node] for node in left), default=max(written.values()))
        assert len(shown) == min(slowest, max(written.values()))
    for number, row in enumerate(shown):
        found = {node: line for line, nodes in row for node in nodes}
        assert found == {node: own[number] for node, own in lines.items() if number < len(own)}
