"""Which nodes a command line chooses."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioshell.cli._nodes import choose_nodes
from trioshell.cli._options import Options
from trioshell.cli._parser import UsageError


def chosen(**options: object) -> str:
    return str(choose_nodes(Options(**options), warn=pytest.fail))  # type: ignore[arg-type]


def test_sets_are_added_and_taken_away() -> None:
    assert chosen(nodes=("n[1-5]", "m1"), exclude=("n2", "n[4-9]")) == "m1,n[1,3]"


def test_host_files_are_words_and_comments(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("n1 n[3-4]\t\n# not this: n7\n\n  n6 # nor that n8\n")
    assert chosen(nodes=("m1",), hostfiles=(str(hosts),)) == "m1,n[1,3-4,6]"


def test_a_hostile_name_in_a_host_file_is_refused_by_the_file_s_name(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("n1\n-oProxyCommand=id\n")
    with pytest.raises(ValueError, match=r"--hostfile .*hosts"):
        chosen(hostfiles=(str(hosts),))


def test_some_are_picked_at_random() -> None:
    for _ in range(10):
        nodes = choose_nodes(Options(nodes=("n[1-9]",), pick=2), warn=pytest.fail)
        assert len(nodes) == 2
        assert str(nodes) in {f"n[{a},{b}]" for a in range(10) for b in range(10)} | {
            f"n[{a}-{a + 1}]" for a in range(10)
        }
    assert chosen(nodes=("n[1-9]",), pick=0) == chosen(nodes=("n[1-9]",), pick=9) == "n[1-9]"


def test_no_node_is_an_error() -> None:
    with pytest.raises(UsageError, match="No node to run on"):
        chosen(nodes=("n1",), exclude=("n1",))
    with pytest.raises(UsageError, match="No node to run on"):
        chosen()


def test_what_a_shell_may_have_expanded_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "n1").touch()
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    choose_nodes(Options(nodes=("n1", "n[1-2]")), told.append)
    assert told == ["'-w n1' is also the name of a file here: was a pattern expanded by the shell?"]


def test_a_groups_file_must_be_there() -> None:
    with pytest.raises(UsageError, match="--groupsconf /nope: the file cannot be read"):
        chosen(nodes=("n1",), groups_conf="/nope")
