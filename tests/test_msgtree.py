"""The tree of messages: a plain dictionary that shares, and ClusterShell's where they agree."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable
from typing import Any

import pytest
from ClusterShell.MsgTree import MODE_DEFER, MODE_TRACE
from ClusterShell.MsgTree import MsgTree as PeerTree
from hypothesis import given
from hypothesis import strategies as st

from trioshell._message import Message
from trioshell._msgtree import MsgTree, _Line

# Few keys and few lines, so that much is equal; and keys of every kind.
KEYS = st.sampled_from(["n1", 2, ("n", 3), None])
LINES = st.sampled_from([b"", b"a", b"a\r", b"\xff"])
ADDED = st.lists(st.tuples(KEYS, LINES), max_size=20)
CHOSEN = st.frozensets(KEYS, max_size=3)

# What is done to a tree: a line is added, some keys are removed (None: all), or it is cleared.
Steps = list[tuple[Any, bytes] | frozenset[Any] | str | None]
STEPS = st.lists(
    st.one_of(*[st.tuples(KEYS, LINES)] * 6, *[CHOSEN] * 2, st.sampled_from(["clear", None])),
    max_size=30,
)

Model = dict[Hashable, list[bytes]]


def built(added: list[tuple[Any, bytes]], trace: bool = False) -> MsgTree:
    tree = MsgTree(trace)
    for key, line in added:
        tree.add(key, line)
    return tree


def modelled(added: list[tuple[Any, bytes]]) -> Model:
    model: Model = {}
    for key, line in added:
        model.setdefault(key, []).append(line)
    return model


def grouped(model: Model) -> list[tuple[list[bytes], list[Any]]]:
    groups: dict[tuple[bytes, ...], list[Any]] = {}
    for key, lines in model.items():
        groups.setdefault(tuple(lines), []).append(key)
    return [(list(lines), keys) for lines, keys in groups.items()]


def traced(model: Model) -> list[tuple[list[bytes], list[Any], int, int]]:
    """What walk_trace promises, from a model: beginnings, keys, depth, number of followers."""
    nodes: list[tuple[list[bytes], list[Any], int, int]] = []

    def visit(before: list[bytes]) -> None:
        keys = [key for key, lines in model.items() if lines[: len(before)] == before]
        after = {model[key][len(before)]: None for key in keys if len(model[key]) > len(before)}
        if before:
            nodes.append((before, keys, len(before), len(after)))
        for line in after:
            visit([*before, line])

    visit([])
    return nodes


def check(tree: MsgTree, model: Model) -> None:
    assert len(tree) == len(model)
    assert list(tree) == list(tree.keys()) == list(model)
    assert [(key, list(message)) for key, message in tree.items()] == list(model.items())
    for key, lines in model.items():
        assert key in tree
        assert tree[key].lines() == tree.get(key).lines() == lines
    assert "absent" not in tree


def beginnings(model: Model) -> set[tuple[bytes, ...]]:
    return {tuple(lines[: n + 1]) for lines in model.values() for n in range(len(lines))}


def checked_nodes(tree: MsgTree) -> int:
    """Every node is needed by some key, none has two ways to it; the number of them."""
    wanted = set(tree._ends.values())
    stack, count = [tree._root], 0
    while stack:
        node = stack.pop()
        others = node.others or {}
        below = [*([node.first] if node.first else []), *others.values()]
        assert node.first or not others
        assert len({child.line for child in below}) == len(below) == node.children
        assert all(child.parent is node for child in below)
        assert below or node in wanted or node is tree._root
        stack += below
        count += 1
    return count - 1


@given(ADDED)
def test_it_is_a_dictionary_of_lines(added: list[tuple[Any, bytes]]) -> None:
    check(built(added), modelled(added))
    check(built(added, trace=True), modelled(added))


@given(ADDED)
def test_equal_output_is_one_group_in_the_order_of_first_keys(
    added: list[tuple[Any, bytes]],
) -> None:
    tree = built(added)
    groups = grouped(modelled(added))
    assert [(list(message), keys) for message, keys in tree.walk()] == groups
    assert [list(message) for message in tree.messages()] == [lines for lines, _ in groups]


@given(ADDED)
def test_equal_beginnings_are_kept_once(added: list[tuple[Any, bytes]]) -> None:
    assert checked_nodes(built(added)) == len(beginnings(modelled(added)))


@given(ADDED)
def test_trace_tells_the_keys_at_every_line(added: list[tuple[Any, bytes]]) -> None:
    tree = built(added, trace=True)
    nodes = traced(modelled(added))
    assert list(tree.walk_trace()) == [
        (lines[-1], keys, depth, children) for lines, keys, depth, children in nodes
    ]
    assert [(list(message), keys) for message, keys in tree.walk()] == [
        (lines, keys) for lines, keys, _, _ in nodes
    ]
    assert [list(message) for message in tree.messages()] == [lines for lines, *_ in nodes]


@given(ADDED, CHOSEN)
def test_only_keys_that_match_count(added: list[tuple[Any, bytes]], chosen: frozenset[Any]) -> None:
    match = chosen.__contains__
    model = modelled(added)
    part = {key: lines for key, lines in model.items() if key in chosen}
    tree, traces = built(added), built(added, trace=True)
    assert [(key, list(m)) for key, m in tree.items(match)] == list(part.items())
    assert [(list(m), keys) for m, keys in tree.walk(match)] == grouped(part)
    assert [list(m) for m in tree.messages(match)] == [lines for lines, _ in grouped(part)]
    expected = [(lines, keys, depth) for lines, keys, depth, _ in traced(part)]
    assert [(list(m), keys) for m, keys in traces.walk(match)] == [
        (lines, keys) for lines, keys, _ in expected
    ]
    # The followers that are counted are all of the line's, not only those of these keys.
    followers = {tuple(lines): children for lines, _, _, children in traced(model)}
    assert list(traces.walk_trace(match)) == [
        (lines[-1], keys, depth, followers[tuple(lines)]) for lines, keys, depth in expected
    ]


@given(ADDED)
def test_a_mapper_stands_in_for_the_keys(added: list[tuple[Any, bytes]]) -> None:
    tree = built(added, trace=True)
    plain = built(added)
    assert [key for key, _ in tree.items(mapper=repr)] == [repr(key) for key in tree]
    for some in (tree, plain):
        assert [keys for _, keys in some.walk(mapper=repr)] == [
            [repr(key) for key in keys] for _, keys in some.walk()
        ]
    assert [keys for _, keys, _, _ in tree.walk_trace(mapper=repr)] == [
        [repr(key) for key in keys] for _, keys, _, _ in tree.walk_trace()
    ]


@given(STEPS)
def test_removal_forgets_the_keys_and_frees_their_lines(steps: Steps) -> None:
    tree = MsgTree()
    model: Model = {}
    for step in steps:
        match step:
            case (key, line):
                tree.add(key, line)
                model.setdefault(key, []).append(line)
            case "clear":
                tree.clear()
                model.clear()
            case None:
                tree.remove()
                model.clear()
            case chosen:
                assert isinstance(chosen, frozenset)
                tree.remove(chosen.__contains__)
                model = {key: lines for key, lines in model.items() if key not in chosen}
        check(tree, model)
        assert checked_nodes(tree) == len(beginnings(model))


def test_removal_by_example() -> None:
    added: list[tuple[Any, bytes]] = [("n1", b"a"), ("n2", b"a"), ("n2", b"b"), ("n3", b"c")]
    for gone, left in (("n1", 3), ("n2", 2), ("n3", 2)):
        tree = built([*added, ("n4", b"d"), ("n4", b"e")])
        tree.remove({gone, "n4"}.__contains__)
        model = modelled([(key, line) for key, line in added if key != gone])
        check(tree, model)
        assert checked_nodes(tree) == len(beginnings(model)) == left
        for key, line in added:
            tree.add(key, line)  # what was left is found again, and what was removed is not there
            model.setdefault(key, []).append(line)
        check(tree, model)
        assert checked_nodes(tree) == len(beginnings(model))


def test_keys_of_several_groups_come_in_the_order_of_first_addition() -> None:
    added: list[tuple[Any, bytes]] = [("n3", b"a"), ("n1", b"a"), ("n2", b"a")]
    tree = built([*added, ("n3", b"b"), ("n1", b"c"), ("n2", b"b")], trace=True)
    assert list(tree.walk_trace()) == [
        (b"a", ["n3", "n1", "n2"], 1, 2),
        (b"b", ["n3", "n2"], 2, 0),
        (b"c", ["n1"], 2, 0),
    ]


def test_what_was_given_out_stays_as_it_is() -> None:
    for forget in (MsgTree.clear, MsgTree.remove, lambda tree: tree.remove(lambda key: True)):
        tree = built([("n1", b"a"), ("n1", b"b"), ("n2", b"a")])
        message, walk = tree["n1"], tree.walk()
        first = next(walk)
        tree.add("n1", b"c")
        tree.add("n2", b"b")
        forget(tree)
        tree.add("n1", b"other")
        assert list(message) == list(first[0]) == [b"a", b"b"]
        assert [(list(m), keys) for m, keys in walk] == [([b"a"], ["n2"])]


def test_what_is_added_while_going_through_a_tree_is_not_met() -> None:
    for trace in (False, True):
        tree = built([("n1", b"a"), ("n2", b"b")], trace)
        for walk in (tree.items, tree.walk, *([tree.walk_trace] if trace else [])):
            before = len(list(walk()))
            met = 0
            for _ in walk():
                tree.add(f"n{len(tree) + 1}", b"c%d" % len(tree))
                met += 1
            assert met == before


def test_a_list_of_keys_is_the_callers_own() -> None:
    for trace in (False, True):
        tree = built([("n1", b"a"), ("n1", b"b")], trace)
        for _, keys in tree.walk():
            keys.append("mine")
        assert all(keys == ["n1"] for _, keys in tree.walk())


def test_absent_keys() -> None:
    tree = built([("n1", b"a")])
    assert tree.get("n2") is None
    assert tree.get("n2", b"none") == b"none"
    with pytest.raises(KeyError, match="n2"):
        tree["n2"]
    assert isinstance(tree["n1"], Message)


@pytest.mark.parametrize("wrong", ["text", None, 5, bytearray(b"b")])
def test_a_line_is_bytes(wrong: Any) -> None:
    tree = built([("n1", b"a")])
    tree.add("n2", b"a")
    tree.add("n2", b"c")
    before = [(list(message), keys) for message, keys in tree.walk()]
    for key in ("n1", "n2", "n3"):
        with pytest.raises(TypeError):
            tree.add(key, wrong)
    with pytest.raises(TypeError):
        tree.add(["n1"], b"b")  # type: ignore[arg-type]  # that a list has no hash is the point
    assert [(list(message), keys) for message, keys in tree.walk()] == before


def test_only_a_tree_with_trace_can_be_traced() -> None:
    with pytest.raises(ValueError, match="trace=True"):
        MsgTree().walk_trace()


@pytest.mark.parametrize("trace", [False, True])
def test_a_very_deep_tree_is_walked_removed_and_freed(trace: bool) -> None:
    depth = 100_000
    tree = MsgTree(trace)
    add = tree.add
    for n in range(depth):
        add("deep", b"%d" % n)
        if n < 3:
            add("shallow", b"%d" % n)
    assert len(tree["deep"].lines()) == depth
    assert sum(1 for _ in tree.walk()) == (depth if trace else 2)
    if trace:
        *_, last = tree.walk_trace()
        assert last == (b"%d" % (depth - 1), ["deep"], depth, 0)
    tree.remove(lambda key: key == "deep")
    assert checked_nodes(tree) == 3
    for n in range(depth):
        add("deep", b"%d" % n)
    del tree, add
    gc.collect()


def test_removal_climbs_no_line_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # One chain of lines with keys all along: from each of them to the top is quadratic.
    count = 3_000
    tree = MsgTree()
    for n in range(count):
        tree.add("all", b"%d" % n)
    for key in range(0, count, 100):
        for n in range(key + 1):
            tree.add(key, b"%d" % n)
    dropped = []
    drop = _Line.drop

    def counted(parent: _Line, child: _Line) -> bool:
        dropped.append(child)
        return drop(parent, child)

    monkeypatch.setattr(_Line, "drop", counted)
    tree.remove(lambda key: True)
    assert checked_nodes(tree) == 0
    assert len(dropped) <= count + count // 100


@given(ADDED, CHOSEN, st.booleans())
def test_clustershells_tree_says_the_same(
    added: list[tuple[Any, bytes]], chosen: frozenset[Any], trace: bool
) -> None:
    added = [(key, line) for key, line in added if key is not None]  # which theirs cannot have
    tree = built(added, trace)
    peer = PeerTree(MODE_TRACE if trace else MODE_DEFER)
    for key, line in added:
        peer.add(key, line)
    matches: tuple[Callable[[Any], bool] | None, ...] = (None, chosen.__contains__)
    for match in matches:
        assert len(tree) == len(peer)
        assert list(tree.keys()) == list(peer.keys())
        assert told(tree.items(match, repr)) == told(peer.items(match, repr))
        assert sorted(map(bytes, tree.messages(match))) == sorted(map(bytes, peer.messages(match)))
        assert unordered(tree.walk(match, repr)) == unordered(peer.walk(match, repr))
        if trace:
            assert unordered(tree.walk_trace(match, repr)) == unordered(
                peer.walk_trace(match, repr)
            )
    for key in tree:
        assert tree[key] == bytes(peer[key])
        assert list(tree[key]) == list(peer[key])
        assert len(tree[key]) == len(peer[key])


def told(pairs: Any) -> list[tuple[Any, bytes]]:
    return [(key, bytes(message)) for key, message in pairs]


def unordered(walk: Any) -> list[tuple[Any, ...]]:
    """The same whatever the order of the groups, and of the keys in them."""
    return sorted((bytes(item[0]), sorted(item[1]), *item[2:]) for item in walk)
