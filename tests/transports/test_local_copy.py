"""A copy on this machine: whole, or not there under its final name."""

from __future__ import annotations

import os
from pathlib import Path

from trioshell._results import Exited
from trioshell.transports import Copy, ExecTransport, Job
from trioshell.transports._local_copy import local_copy


async def copy(source: Path, dest: Path, **options: bool) -> tuple[int, bytes]:
    words = [
        word.replace("%h", "node1") for word in local_copy(Copy(str(source), str(dest), **options))
    ]
    async with ExecTransport() as transport:
        session = await transport.open(Job(tuple(words)), "node1", 0)
        said = b""
        while chunks := await session.receive():
            said += b"".join(data for _, data in chunks)
        await session.aclose()
    assert isinstance(session.exit, Exited)
    return session.exit.rc, said


async def test_a_file_to_a_new_name_and_over_an_old_one(tmp_path: Path) -> None:
    source, dest = tmp_path / "-odd name", tmp_path / "new"
    for content in ("one", "two"):
        source.write_text(content)
        assert await copy(source, dest) == (0, b"")
        assert dest.read_text() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["-odd name", "new"]


async def test_a_directory_takes_a_file_in_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()
    assert await copy(tmp_path / "file", tmp_path / "dir") == (0, b"")
    assert (tmp_path / "dir" / "file").read_text() == "x"


async def test_a_tree_and_once_more_into_what_is_there(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "one").write_text("1")
    target = tmp_path / "target"
    target.mkdir()
    assert await copy(tree, target) == (0, b"")
    (tree / "sub" / "two").write_text("2")
    assert await copy(tree, target) == (0, b"")
    assert sorted(os.listdir(target / "tree" / "sub")) == ["one", "two"]
    assert os.listdir(target) == ["tree"]


async def test_times_and_modes_are_kept_if_asked(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_text("x")
    source.chmod(0o640)
    os.utime(source, (1_000_000, 1_000_000))
    assert await copy(source, tmp_path / "kept", preserve=True) == (0, b"")
    assert (tmp_path / "kept").stat().st_mtime == 1_000_000
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o640


async def test_the_other_way_round_it_is_named_after_the_node(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()
    assert await copy(tmp_path / "file", tmp_path / "dir", reverse=True) == (0, b"")
    assert (tmp_path / "dir" / "file.node1").read_text() == "x"
    rc, said = await copy(tmp_path / "file", tmp_path / "nowhere", reverse=True)
    assert (rc, said) == (1, f"{tmp_path}/nowhere: not a directory\n".encode())


async def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    rc, said = await copy(tmp_path / "missing", tmp_path / "dest")
    assert rc == 1
    assert b"missing" in said
    assert os.listdir(tmp_path) == []
