"""Copies, and output saved in files, on the local transport."""

from __future__ import annotations

import os

import pytest

from tests.cli.conftest import Done, Programs


def test_a_copy_says_nothing_unless_asked(programs: Programs) -> None:
    (programs.place / "source").write_bytes(b"data")
    for number in (1, 2):
        (programs.place / f"n{number}").mkdir()
    dest = f"{programs.place}/%h"
    assert programs.trioshell("-w", "n[1-2]", "--copy", "source", "--dest", dest) == Done(
        0, b"", b""
    )
    assert (programs.place / "n2" / "source").read_bytes() == b"data"
    said = programs.trioshell("--copy", "source", "-v", "--dest", dest, "-w", "n[1-2]")
    assert said.out == b"`source' -> n[1-2]:`%b'\n" % dest.encode()


def test_sources_are_copied_one_by_one(programs: Programs) -> None:
    for name in ("a", "b"):
        (programs.place / name).write_text(name)
    os.utime(programs.place / "a", (1, 1))
    dest = programs.place / "dest"
    dest.mkdir()
    done = programs.trioshell("-w", "n1", "-S", "-p", "-c", "a", "b", "--dest", str(dest))
    assert done == Done(0, b"", b"")
    assert sorted(os.listdir(dest)) == ["a", "b"]
    assert (dest / "a").stat().st_mtime == 1


def test_a_reverse_copy_adds_the_node_s_name(programs: Programs) -> None:
    (programs.place / "a").write_text("a")
    dest = programs.place / "dest"
    dest.mkdir()
    done = programs.trioshell("-w", "n[1-2]", "--rcopy", "a", "--dest", str(dest), "-v")
    assert sorted(os.listdir(dest)) == ["a.n1", "a.n2"]
    assert done.out == b"n[1-2]:`a' -> `%b'\n" % str(dest).encode()


def test_a_copy_that_fails_is_told_and_counted(programs: Programs) -> None:
    (programs.place / "a").write_text("a")
    dest = str(programs.place / "not" / "there")
    done = programs.trioshell("-w", "n1", "-S", "--copy", "a", "--dest", dest)
    assert done.status == 1
    assert done.err.endswith(b"trioshell: n1: exited with exit code 1\n")
    assert done.err.startswith(b"n1: ")


@pytest.mark.parametrize("words", [("--copy", "nope"), ("--rcopy", "a", "--dest", "nope")])
def test_what_is_not_there_is_refused_before_anything_starts(
    programs: Programs, words: tuple[str, ...]
) -> None:
    done = programs.trioshell("-w", "n1", *words)
    assert (done.status, done.out) == (1, b"")
    assert b"nope" in done.err
    assert done.err.count(b"\n") == 1


# -- saved output --------------------------------------------------------------------------

BOTH = "echo %h; printf 'a\\377' >&2"


@pytest.mark.parametrize("form", [(), ("-b",), ("-L",), ("-bL",), ("--json",)])
def test_output_is_saved_in_every_form(programs: Programs, form: tuple[str, ...]) -> None:
    saved = ("--outdir", "o/u/t", "--errdir", "err")
    done = programs.trioshell("-w", "n[1-3]", "-f", "1", *form, *saved, BOTH)
    assert done.status == 0
    assert b"n1" in done.out
    for node in ("n1", "n2", "n3"):
        assert (programs.place / "o/u/t" / node).read_text() == f"{node}\n"
        assert (programs.place / "err" / node).read_bytes() == b"a\xff\n"


def test_a_node_without_output_has_an_empty_file(programs: Programs) -> None:
    programs.trioshell("-w", "n1", "--outdir", "out", "true")
    assert (programs.place / "out" / "n1").read_bytes() == b""


def test_where_nothing_can_be_saved_nothing_is_run(programs: Programs) -> None:
    (programs.place / "file").touch()
    done = programs.trioshell("-w", "n1", "--outdir", "file", "touch ran")
    assert (done.status, done.out) == (1, b"")
    assert done.err == b"trioshell: file: File exists\n"
    done = programs.trioshell("-w", "../n1", "--outdir", "out", "touch ran")
    assert done.status == 1
    assert b"'../n1' cannot be the name of a file" in done.err
    assert not (programs.place / "ran").exists()


def test_one_directory_for_both_would_mix_them_up(programs: Programs) -> None:
    done = programs.trioshell("-w", "n1", "--outdir", "out", "--errdir", "./out", "true")
    assert done.status == 2
    assert b"--outdir and --errdir" in done.err
