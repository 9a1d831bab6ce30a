"""Targets: what ClusterShell reads, without the names that could do harm."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ClusterShell.NodeSet import NodeSet, set_std_group_resolver
from ClusterShell.NodeUtils import GroupResolver, GroupSource, UpcallGroupSource
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import trioshell
from trioshell._targets import check_name, resolve_targets

GROUPS = {
    "compute": "node[1-4]",
    "login": "login1",
    "all": "@compute,@login",
    "empty": "",
    "loop": "@loop",
    "lost": "@nowhere",
    "web(prod)": "web1",
    "hostile": "node1,-oProxyCommand=id",
    "user": "root@node1",
}


@pytest.fixture(autouse=True, scope="module")
def groups() -> Iterator[None]:
    """Groups of our own, instead of those of this machine's configuration."""
    source = GroupSource("default", groups=GROUPS, allgroups="node[1-6],login1")
    resolver = GroupResolver(source)
    resolver.add_source(GroupSource("rack", groups={"r1": "node[1-2]"}))
    set_std_group_resolver(resolver)
    yield
    set_std_group_resolver(None)


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ("a", "a"),
        ("b,a", "a b"),
        (" a , b ", "a b"),
        ("a,a,a", "a"),
        ("node[1-3],node2", "node1 node2 node3"),
        ("node[08-10]", "node08 node09 node10"),
        ("node1,node01,node001,node[02,3]", "node1 node01 node001 node02 node3"),
        ("r[1-2]n[01-02]", "r1n01 r1n02 r2n01 r2n02"),
        ("node[1-9]!node3,node12", "node1 node2 node4 node5 node6 node7 node8 node9 node12"),
        ("node[1-5] & node[4-9]", "node4 node5"),
        ("node[1-2]^node[2-3]", "node1 node3"),
        ("node1!node1", ""),
        ("@compute", "node1 node2 node3 node4"),
        ("@compute!@rack:r1", "node3 node4"),
        ("@all", "login1 node1 node2 node3 node4"),
        ("@*", "login1 node1 node2 node3 node4 node5 node6"),
        ("@empty", ""),
        ("@web(prod)", "web1"),
        ("node*", "node1 node2 node3 node4 node5 node6"),
        ("node?,x", "node1 node2 node3 node4 node5 node6 x"),
        ("nothing*", ""),
        ("::1,fe80::1%eth0", "::1 fe80::1%eth0"),
        ("www.example.com,10.0.0.7", "10.0.0.7 www.example.com"),
        ("nœud1", "nœud1"),
        ("a%s,b%%c,d%", "a%s b%%c d%"),
        ("x;y,$(id),a'b", "$(id) a'b x;y"),
        (["a", "node[1-3]!node2", "@login"], "a login1 node1 node3"),
        (("a", "b", "a"), "a b"),
        ({"a": 1, "b": 2}, "a b"),
        (iter(["b", "a,c"]), "a b c"),
        ([], ""),
        (NodeSet("node[1-3]"), "node1 node2 node3"),
        (NodeSet(), ""),
    ],
)
def test_what_is_accepted(nodes: Any, names: str) -> None:
    found = resolve_targets(nodes)
    assert type(found) is NodeSet
    assert sorted(found) == sorted(names.split())
    assert len(found) == len(names.split())


@pytest.mark.parametrize(
    ("nodes", "part"),
    [
        ("", "'' has no name"),
        (" ", "None to run"),
        (" \n", "None to run"),
        ("node[1-", "missing bracket"),
        ("node1-3]", "closing bracket"),
        ("node[9-010]", "padding"),
        ("node[3-1]", "bad range"),
        ("node[]", "empty range"),
        ("node[a-b]", "bad range"),
        ("a!", "missing nodeset operand"),
        ("a,,b", "comma"),
        (",a", "comma"),
        ("a, ,b", "comma"),
        ("a[1-2],,b", "missing nodeset operand"),
        ("a" + "9" * 120, "invalid rangeset index"),
        ("a" + "9" * 5000, "digits"),
        ("@[---1]", "cannot be read"),
        ("@nowhere", "no group '@nowhere'"),
        ("@rack:nowhere", "no group '@rack:nowhere'"),
        ("@nosource:a", "no source of groups 'nosource'"),
        ("@lost", "no group '@nowhere'"),
        ("@", "no group '@'"),
        ("@loop", "recursion"),
        ("a,@nowhere", "no group '@nowhere'"),
        (["a", "@nowhere"], "no group '@nowhere'"),
        (["a", "node[1-"], "missing bracket"),
        # Hostile names, however they come.
        ("-w", "'-w' begins with '-'"),
        ("a,-oProxyCommand=id", "'-oProxyCommand=id' begins with '-'"),
        ("-[1-3]", "'-1' begins with '-'"),
        ("[-1-3]", "'-1' begins with '-'"),
        ("@hostile", "'-oProxyCommand=id' begins with '-'"),
        (["a", "-w"], "'-w' begins with '-'"),
        (NodeSet("a,-w"), "'-w' begins with '-'"),
        ("a b", "'a b' contains white space"),
        ("node [1-3]", "'node 1' contains white space"),
        (["a b"], "'a b' contains white space"),
        (["a", "b, c"], "'b, c' contains white space"),
        ([" a"], "' a' contains white space"),
        ([" "], "' ' contains white space"),
        (["a\n"], "U+000A"),
        (NodeSet("a b"), "'a b' contains white space"),
        ("a\tb", "white space (U+0009)"),
        ("node[1-3]\n", "white space (U+000A)"),
        ("a\u00a0b", "white space (U+00A0)"),
        ("a\u2028b", "white space (U+2028)"),
        ("a\0b", "control character (U+0000)"),
        ("a\x1b[2Jb", "control character (U+001B)"),
        ("a\x7fb", "control character (U+007F)"),
        ("a\x85b", "U+0085"),
        ("a\u200bb", "control character (U+200B)"),
        ("a\u202eb", "control character (U+202E)"),
        ("a\ud800b", "control character (U+D800)"),
        (NodeSet("a\x1bb"), "control character (U+001B)"),
        (["", "a"], "'' is empty"),
        ("root@a", "'root@a' is not a name alone"),
        (["root@a"], "'root@a' is not a name alone"),
        ("root@a[1-2]", "'root@a1' is not a name alone"),
        ("@user", "'root@node1' is not a name alone"),
        ("node\u0661", "digit other than 0 to 9 (U+0661)"),
        (["node\u0661"], "digit other than 0 to 9 (U+0661)"),
        ("node[\u0661-3]", "digit other than 0 to 9 (U+0661)"),
    ],
)
def test_what_is_refused(nodes: Any, part: str) -> None:
    with pytest.raises(ValueError, match=r"^targets: ") as caught:
        resolve_targets(nodes, argument="targets")
    assert part in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "nodes", [None, 5, b"a", bytearray(b"a"), memoryview(b"a"), object(), [1], ["a", b"b"], [None]]
)
def test_what_is_of_the_wrong_type(nodes: Any) -> None:
    with pytest.raises(TypeError, match=r"^nodes: .*(is not a string|is neither a string)"):
        resolve_targets(nodes)
    assert resolve_targets("a")  # and it is not that nothing works


def test_the_argument_is_called_nodes_by_default() -> None:
    with pytest.raises(ValueError, match=r"^nodes: "):
        resolve_targets("-w")


def test_the_result_is_the_callers_own() -> None:
    nodes = NodeSet("r[1-2]n[1-2]")
    found = resolve_targets(nodes)
    found.update("x")
    assert "x" not in nodes
    nodes.remove("r1n1")
    assert "r1n1" in found
    resolve_targets("@compute").remove("node1")
    assert "node1" in resolve_targets("@compute")


def test_groups_of_the_result_are_the_users() -> None:
    for nodes in ("node[1-2]", ["node1", "node2"], "@rack:r1", NodeSet("@rack:r1")):
        assert resolve_targets(nodes).regroup("rack") == "@rack:r1"


# Names that ClusterShell could take apart and put together as others.
names = st.lists(
    st.sampled_from(["a", "n", "-", ".", ":", "%", "%s", "0", "1", "01", "10", "é", "_", "x"]),
    min_size=1,
    max_size=6,
).map("".join)


@given(st.lists(names.filter(lambda name: not name.startswith("-"))))
@example(["a1b01", "a01b1", "a1b1", "a01b01", "a001b1"])
@example(["0", "00", "1", "01"])
def test_a_plain_name_stays_the_same_name(names: list[str]) -> None:
    assert sorted(resolve_targets(names)) == sorted(set(names))
    if names:
        assert resolve_targets(",".join(names)) == resolve_targets(names)


@given(names, names, st.characters(categories=["C", "Z"]))
def test_no_control_character_and_no_white_space_comes_through(
    before: str, after: str, bad: str
) -> None:
    name = before + bad + after
    for nodes in (name, [name], f"{name},x[1-2]", [f"{name}[1-2]"]):
        with pytest.raises(ValueError, match=r"^nodes: "):
            resolve_targets(nodes)
    with pytest.raises(ValueError, match=r"^nodes: "):
        check_name(name)


PIECES = ["a", "n1", "01", "[1-3]", "[0-4/2]", "[1,2]", "--", "@compute", "@rack:"]
pieces = st.sampled_from([*PIECES, *"[],!&^*?@%-/:é($ \t\0\u0661"])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(pieces, max_size=8).map("".join))
@example("[1--01--2]")
@example("a[1-2]*")
def test_any_string_is_read_or_refused(text: str) -> None:
    refusals: list[str] = []
    for nodes in (text, [text]):
        try:
            found = resolve_targets(nodes)
        except ValueError as exc:
            refusals.append(str(exc))
        else:
            for name in found:
                check_name(name)
    assert all(refusal.startswith("nodes: ") for refusal in refusals)


def upcalls(path: Path, **commands: str) -> GroupResolver:
    return GroupResolver(UpcallGroupSource("up", cfgdir=str(path), cache_time=0, **commands))


@pytest.fixture
def lent() -> Iterator[Any]:
    """To put a resolver in the place of this module's, for one test."""
    from ClusterShell.NodeSet import std_group_resolver

    before = std_group_resolver()
    yield set_std_group_resolver
    set_std_group_resolver(before)


def test_a_groups_name_is_no_command(tmp_path: Path, lent: Any) -> None:
    lent(upcalls(tmp_path, map_upcall="echo $GROUP"))
    assert str(resolve_targets("@ab-1.c")) == "ab-1.c"
    NodeSet("@x;>ran1")
    assert (tmp_path / "ran1").exists()  # which is why
    for name in ("x;>ran2", "x$(>ran2)", "x`>ran2`", "x|tee<ran1>ran2", "x'>ran2", "-x", "x/y"):
        with pytest.raises(ValueError, match="no group"):
            resolve_targets(f"@{name}")
    assert not (tmp_path / "ran2").exists()


def test_a_group_that_its_source_does_not_list_may_still_be_there(
    tmp_path: Path, lent: Any
) -> None:
    lent(upcalls(tmp_path, map_upcall="test $GROUP != a || echo n1", list_upcall="echo b c[1-2]"))
    assert list(resolve_targets("@a")) == ["n1"]
    assert list(resolve_targets("@b,@c2")) == []  # listed, and empty
    with pytest.raises(ValueError, match="no group '@d'"):
        resolve_targets("@d")


def test_a_source_that_fails_is_named(tmp_path: Path, lent: Any) -> None:
    lent(upcalls(tmp_path, map_upcall="exit 3"))
    with pytest.raises(ValueError, match=r"^nodes: '@a' cannot be read .*exit 3"):
        resolve_targets("@a")
    lent(upcalls(tmp_path / "absent", map_upcall="echo n1"))
    with pytest.raises(ValueError, match=r"^nodes: '@a' cannot be read .*absent"):
        resolve_targets("@a")
    lent(GroupResolver())
    with pytest.raises(ValueError, match=r"^nodes: '@\*' cannot be read"):
        resolve_targets("@*")


def test_a_group_look_up_does_not_eat_our_stdin(tmp_path: Path, lent: Any) -> None:
    lent(upcalls(tmp_path, map_upcall="read line; echo n$line"))
    reader, writer = os.pipe()
    kept = os.dup(0)
    try:
        os.dup2(reader, 0)
        os.write(writer, b"1\n")
        assert list(resolve_targets("@a")) == ["n"]
        assert os.read(0, 10) == b"1\n"
    finally:
        os.dup2(kept, 0)
        for fd in (reader, writer, kept):
            os.close(fd)


@pytest.mark.parametrize("shape", [list, ",".join])
@pytest.mark.parametrize("name", ["{0}", "node{0}", "n{0}x", "h{0}.{0}", "10.{1}.{2}.{0}"])
def test_the_cost_is_linear(name: str, shape: Any) -> None:
    def cost(count: int) -> float:
        nodes = shape([name.format(n, n * 7 % 1000, n * 11 % 1000) for n in range(count)])
        start = time.process_time()
        # What is found is not looked at: ClusterShell folds it first, in quadratic time.
        resolve_targets(nodes)
        return time.process_time() - start

    # Quadratic would be a hundred times as much; ten times, with a wide margin, is linear.
    assert cost(20_000) < 40 * min(cost(2_000) for _ in range(3)) + 0.1


def test_a_folded_string_of_many_targets_is_fast() -> None:
    start = time.process_time()
    assert len(resolve_targets("node[1-100000]")) == 100_000
    assert time.process_time() - start < 2


def test_importing_it_does_not_import_clustershell() -> None:
    path = Path(trioshell.__file__).with_name("_targets.py")
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); "
        "sys.exit(any(name.startswith('ClusterShell') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == 0
