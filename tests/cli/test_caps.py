"""Bounded output on the command line: what is left out is told in every form, once."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Done, Programs


def test_what_is_left_out_is_told_at_the_end(programs: Programs) -> None:
    done = programs.trioshell("-w", "n1", "--max-output-bytes", "3", "echo abcdef")
    assert done == Done(0, b"n1: abc\n", b"trioshell: n1: output truncated, 4 bytes missing\n")
    done = programs.trioshell("-w", "n1", "--max-line-bytes", "6", "echo abcdef")
    assert done == Done(0, b"n1: abcdef\n", b"")


@pytest.mark.parametrize("form", [("-b",), ("-L",), ("-bL",), ("-B",)])
def test_nodes_are_folded_in_every_form(programs: Programs, form: tuple[str, ...]) -> None:
    done = programs.trioshell(
        *("-w", "n[1-4]", *form, "--max-line-bytes", "2", "--outdir", "out"),
        "[ %h = n2 ] || printf 'abc\\nde\\n'; exit 1",
    )
    assert done.status == 0
    assert done.err == (
        b"trioshell: n[1-4] (4): exited with exit code 1\n"
        b"trioshell: n[1,3-4] (3): output truncated, 3 bytes missing in all\n"
    )
    assert b"ab\n" in done.out
    assert b"c" not in done.out
    assert (programs.place / "out" / "n1").read_bytes() == b"ab\nde\n"


def test_json_has_it_with_each_node(programs: Programs) -> None:
    done = programs.trioshell(
        "-w", "n[1-2]", "--json", "--max-output-bytes=1K", "[ %h = n1 ] || head -c 2000 /dev/zero"
    )
    assert done.err == b""
    made = {entry["node"]: entry for entry in map(json.loads, done.out.splitlines())}
    assert made["n2"]["missing_bytes"] == 2000 - 1024
    assert len(made["n2"]["stdout"]) == 1024
    assert "truncated" not in made["n1"]
