"""Copies on this machine: files and trees, there and back, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from tests.real.probes import Mark, Recorder, check_order, wait_line
from trioshell import Aborted, CopyWorker, Exited, Task, TimedOut


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "a file").write_bytes(b"\x00\xff a\n")
    (source / "deep" / "er" / "b").write_bytes(b"b" * 100_000)
    return source


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    dest = tmp_path / "dest"
    dest.mkdir()
    return dest


async def test_a_file_to_every_node(source: Path, dest: Path) -> None:
    recorder = Recorder()
    async with Task(transport="exec") as task:
        worker = task.copy(source / "a file", f"{dest}/to %h", "n[1-3]", handler=recorder)
        assert isinstance(worker, CopyWorker)
    assert {result.outcome for result in worker.results().values()} == {Exited(0)}
    assert tree(dest) == {f"to n{i}": b"\x00\xff a\n" for i in (1, 2, 3)}
    check_order(recorder)
    assert (worker.source, worker.dest, worker.reverse) == (
        str(source / "a file"),
        f"{dest}/to %h",
        False,
    )


async def test_into_a_directory_under_its_own_name(source: Path, dest: Path) -> None:
    (dest / "n1").mkdir()
    (dest / "n2").mkdir()
    async with Task(transport="exec") as task:
        task.copy(source / "a file", f"{dest}/%h", "n[1-2]")
        task.copy(source, f"{dest}/%h", "n[1-2]")
    expected = {"a file": b"\x00\xff a\n", "source/a file": b"\x00\xff a\n"}
    expected["source/deep/er/b"] = b"b" * 100_000
    for node in ("n1", "n2"):
        assert tree(dest / node) == expected


async def test_a_tree_to_a_name_that_is_not_there_yet(source: Path, dest: Path) -> None:
    async with Task(transport="exec") as task:
        task.copy(source, f"{dest}/tree-%n", "n[1-2]")
    assert tree(dest / "tree-0") == tree(dest / "tree-1") == tree(source)


async def test_a_file_that_is_there_is_replaced_whole(source: Path, dest: Path) -> None:
    (dest / "x").write_bytes(b"older and longer than what comes")
    async with Task(transport="exec") as task:
        task.copy(source / "a file", dest / "x", "n1")
    assert tree(dest) == {"x": b"\x00\xff a\n"}


async def test_modes_and_times_are_kept_when_asked_for(source: Path, dest: Path) -> None:
    os.chmod(source / "a file", 0o640)
    os.utime(source / "a file", (1_000_000_000, 1_000_000_000))
    async with Task(transport="exec") as task:
        task.copy(source / "a file", f"{dest}/kept", "n1", preserve=True)
        task.copy(source / "a file", f"{dest}/new", "n1")
    kept, new = (dest / "kept").stat(), (dest / "new").stat()
    assert (kept.st_mode & 0o777, kept.st_mtime) == (0o640, 1_000_000_000)
    assert new.st_mtime > 1_000_000_000


async def test_from_every_node_into_a_directory(source: Path, dest: Path) -> None:
    nodes = source / "nodes"
    for name in ("n1", "n2"):
        (nodes / name / "etc").mkdir(parents=True)
        (nodes / name / "etc" / "conf").write_text(name)
    async with Task(transport="exec") as task:
        task.rcopy(f"{nodes}/%h/etc/conf", dest, "n[1-2]")
        task.rcopy(f"{nodes}/%h/etc", dest, "n[1-2]")
    assert tree(dest) == {
        "conf.n1": b"n1",
        "conf.n2": b"n2",
        "etc.n1/conf": b"n1",
        "etc.n2/conf": b"n2",
    }


@pytest.mark.parametrize("node", ["../evil", "a/../../evil", "a/b", "/etc"])
def test_no_name_of_a_node_leads_to_another_directory(source: Path, dest: Path, node: str) -> None:
    (dest / "source.a").mkdir()
    with pytest.raises(ValueError, match=f"nodes: '{node}' cannot be part of the name of a file"):
        CopyWorker(["n1", node], source=source, dest=dest, reverse=True, transport="exec")


async def test_dots_in_a_node_s_name_lead_nowhere(source: Path, dest: Path) -> None:
    async with Task(transport="exec") as task:
        task.rcopy(source / "a file", dest, [".", ".."])
    assert sorted(tree(dest)) == ["a file..", "a file..."]


async def test_one_node_s_failure_is_that_node_s_outcome(source: Path, dest: Path) -> None:
    (source / "of n2").write_text("here")
    async with Task(transport="exec", stderr=True) as task:
        worker = task.rcopy(f"{source}/of %h", dest, "n[1-3]")
    outcomes = {node: result.outcome for node, result in worker.results().items()}
    assert outcomes == {"n1": Exited(1), "n2": Exited(0), "n3": Exited(1)}
    assert b"of n1" in worker.node_error("n1").__bytes__()
    assert tree(dest) == {"of n2.n2": b"here"}


async def test_names_are_data(source: Path, dest: Path) -> None:
    odd = "-rf $(touch pwn) `id` ; 'x' \"y\" *\n~"
    (source / odd).write_text("odd")
    async with Task(transport="exec") as task:
        worker = task.copy(str(source / odd), f"{dest}/{odd}", "n1")
    assert worker.results()["n1"].outcome == Exited(0)
    assert tree(dest) == {odd: b"odd"}


async def test_relative_paths(source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source)
    (source / "-p").write_text("dash")
    async with Task(transport="exec") as task:
        worker = task.copy("-p", "../dest/-x", "n1")
        back = task.rcopy("-p", "../dest", "n1")
    assert worker.results()["n1"].outcome == back.results()["n1"].outcome == Exited(0)
    assert tree(dest) == {"-x": b"dash", "-p.n1": b"dash"}


# What it has written until then is there when it says so, and more never comes.
SLOW_CP = """#!/bin/sh
for last; do :; done
echo partly >"$last"
echo ready
exec sleep 61
"""


@pytest.mark.parametrize("way", ["abort", "timeout", "cancel"])
async def test_what_is_ended_in_the_middle_leaves_nothing_under_its_name(
    way: str,
    source: Path,
    dest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mark: Mark,
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "cp").write_text(SLOW_CP)
    (tools / "cp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    (dest / "x").write_text("as it was")
    with trio.CancelScope() as scope:
        async with Task(transport="exec", kill_grace=2) as task:
            timeout = 0.5 if way == "timeout" else None
            worker = task.copy(source / "a file", dest / "x", "n1", timeout=timeout)
            new = task.copy(source / "a file", dest / "new", "n1", timeout=timeout)
            await wait_line(worker)
            await wait_line(new)
            if way == "abort":
                task.abort()
            elif way == "cancel":
                scope.cancel()
    expected = TimedOut(0.5) if way == "timeout" else Aborted()
    assert worker.results()["n1"].outcome == expected
    assert mark.living() == []
    assert tree(dest) == {"x": b"as it was"}


async def test_a_built_copy_worker(source: Path, dest: Path) -> None:
    worker = CopyWorker(
        "n[1-2]", None, 30, source=source / "a file", dest=f"{dest}/%h", transport="exec"
    )
    async with Task() as task:
        assert task.schedule(worker) is worker
    assert tree(dest) == {"n1": b"\x00\xff a\n", "n2": b"\x00\xff a\n"}


async def test_a_destination_that_cannot_be_written(source: Path, dest: Path) -> None:
    async with Task(transport="exec") as task:
        worker = task.copy(source / "a file", dest / "not" / "there" / "x", "n1")
        full = task.copy(source / "deep" / "er" / "b", "/dev/full/x", "n1")
    assert worker.results()["n1"].outcome == Exited(1)
    assert full.results()["n1"].rc == 1
    assert b"there" in bytes(worker.read("n1"))
