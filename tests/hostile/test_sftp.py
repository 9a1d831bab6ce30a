"""Copies from servers that lie: nothing outside of the destination, no end without a reason."""

from __future__ import annotations

import functools
import itertools
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from tests.hostile.sftp import (
    DATA,
    DIRECTORY,
    FILE,
    HANDLE,
    NAME,
    OPEN,
    OPENDIR,
    READ,
    READDIR,
    STAT,
    STATUS,
    HostileSftp,
    fetch,
    packet,
    status,
    string,
)
from trioshell.transports import _openssh_files as files

HOSTILE_NAMES = [
    b"..",
    b".",
    b"",
    b"/",
    b"../out",
    b"/tmp/trioshell-out",
    b"a/b",
    b"a/../../out",
    b"nul\0",
    b"x" * 256,
    b"x" * 5000,
]


def below(place: Path) -> dict[str, bytes]:
    """Every file below a directory, with what is in it."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


async def test_names_stay_in_the_destination_and_each_is_complained_of(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    odd = [b"new\nline", b"\x1b]8;;evil\x07", b"\xff\xfe", b"-rf", b"~", b"\xe2\x80\xae"]
    server = HostileSftp(lambda: iter([[*HOSTILE_NAMES, *odd, b"fine"]]))
    fetched = await fetch(server, dest)
    there = {os.fsdecode(name) for name in [*odd, b"fine"]}
    assert {path.name for path in (dest / "root.node").iterdir()} == there
    assert {path.name for path in tmp_path.iterdir()} == {"dest"}
    # "." and ".." are in every listing, and meant by nobody.
    assert len(fetched.said) == len(HOSTILE_NAMES) - 2
    assert all(len(line) < 400 for line in fetched.said)


async def test_a_link_that_is_there_already_is_not_followed(tmp_path: Path) -> None:
    outside, dest = tmp_path / "outside", tmp_path / "dest"
    outside.mkdir()
    (dest / "root.node").mkdir(parents=True)
    (dest / "root.node" / "sub").symlink_to(outside)
    (dest / "root.node" / "file").symlink_to(outside / "target")
    server = HostileSftp(
        lambda: iter([[b"sub", b"file"]]),
        modes=lambda path: DIRECTORY if path in (b"root", b"root/sub") else FILE,
    )
    fetched = await fetch(server, dest)
    assert list(outside.iterdir()) == []
    assert "File exists" in fetched.said[0]
    assert below(dest) == {"root.node/file": b"content"}


async def test_a_name_that_is_listed_as_a_file_and_as_a_directory(tmp_path: Path) -> None:
    kinds = itertools.cycle([DIRECTORY, FILE, DIRECTORY])
    server = HostileSftp(
        lambda: iter([[b"twice", b"twice", b"twice"]] if server.asked < 8 else []),
        modes=lambda path: DIRECTORY if path == b"root" else next(kinds),
    )
    fetched = await fetch(server, tmp_path)
    assert [line.endswith("Is a directory") for line in fetched.said] == [True]
    assert below(tmp_path) == {}


async def test_a_tree_with_links_to_itself_is_copied_once(tmp_path: Path) -> None:
    # Two such links in each directory would be 2 ** 256 of them.
    server = HostileSftp(
        lambda: iter([[b"file", b"here", b"again"]]),
        modes=lambda path: FILE if path.endswith(b"file") else DIRECTORY,
        real=lambda path: b"/home/root",
    )
    with trio.fail_after(20):
        fetched = await fetch(server, tmp_path)
    assert below(tmp_path) == {"root.node/file": b"content"}
    assert [line.partition(": ")[2] for line in fetched.said] == [
        "a link to a directory above it, or too deep"
    ] * 2


async def test_a_tree_that_only_gets_deeper_ends_somewhere(tmp_path: Path) -> None:
    server = HostileSftp(lambda: iter([[b"d"]]), modes=lambda path: DIRECTORY)
    fetched = await fetch(server, tmp_path)
    assert len(fetched.said) == 1
    assert server.asked < 2000


async def test_a_directory_without_an_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LISTED_BYTES", 1 << 20)
    numbers = itertools.count()
    most = 0

    def endless() -> Iterator[list[bytes]]:
        nonlocal most
        for number in numbers:
            most = number
            yield [b"%d.%d" % (number, at) for at in range(1000)]

    fetched = await fetch(HostileSftp(endless), tmp_path)
    assert fetched.said == ["node:root: more files in it than can be listed at once"]
    assert most * 1000 * 64 < 2 << 20


async def test_directories_in_directories_share_what_may_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LISTED_BYTES", 10_000)
    server = HostileSftp(
        lambda: iter([[b"d%d" % at for at in range(50)]]),
        modes=lambda path: DIRECTORY if path.count(b"/") < 5 else FILE,
        real=lambda path: b"/" + path,
    )
    with trio.move_on_after(30):
        # It goes on in all branches; what waits at once is what counts.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, server, tmp_path)
            while server.asked < 2000:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    deepest = max(len(path.relative_to(tmp_path).parts) for path in tmp_path.rglob("*"))
    assert deepest <= 4  # 50 names take 66 bytes each, and three times that is what fits


async def test_a_listing_of_nothing_without_an_end(tmp_path: Path) -> None:
    for part in ([], [b"."], [b"..", b"."]):
        server = HostileSftp(functools.partial(itertools.repeat, part))
        fetched = await fetch(server, tmp_path)
        assert fetched.lost == "its SFTP server lists nothing without an end"


async def test_a_million_names_that_are_none_are_counted(tmp_path: Path) -> None:
    server = HostileSftp(lambda: iter([[b"a/b"] * 2000] * 10))
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        fetched = await fetch(server, tmp_path)
        nursery.cancel_scope.cancel()
    assert len(fetched.said) == files._MOST_COMPLAINTS + 1
    assert fetched.said[-1] == "19000 more could not be copied"
    assert turns > 20_000  # others had theirs between any two


async def test_an_endless_tree_is_aborted_in_the_middle(tmp_path: Path) -> None:
    numbers = itertools.count()
    server = HostileSftp(lambda: iter([[b"%d" % next(numbers) for _ in range(100)]] * 10_000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetch, server, tmp_path)
        with trio.fail_after(60):
            while server.asked < 500:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert not [path for path in tmp_path.rglob("*") if ".trioshell-" in path.name]


# -- contents --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 7, 1 << 40, (1 << 64) - 1])
async def test_a_size_that_lies_changes_nothing(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * 300
    server = HostileSftp(modes=lambda path: FILE, content=content, size=size, piece=5000)
    fetched = await fetch(server, tmp_path)
    assert fetched.said == []
    assert below(tmp_path) == {"root.node": content}
    assert server.asked < 64 * 20


def data(body: bytes) -> Callable[[int], bytes]:
    return lambda number: packet(DATA, number, string(body))


SOMETHING_ELSE = "its SFTP server answers with something else"
CUT_OFF = "its SFTP server sends packets that are cut off"
NOT_ASKED = "its SFTP server answers what it was not asked"
NO_SFTP = "its SFTP server, or its login shell, says something that is no SFTP"


@pytest.mark.parametrize(
    ("kind", "reply", "lost"),
    [
        (READ, data(b""), SOMETHING_ELSE),
        (READ, data(b"x" * 32769), SOMETHING_ELSE),
        (READ, lambda number: packet(HANDLE, number, string(b"data?")), SOMETHING_ELSE),
        (READ, lambda number: packet(DATA, number, b"\xff\xff\xff\xff"), CUT_OFF),
        (READDIR, lambda number: packet(HANDLE, number, string(b"x")), SOMETHING_ELSE),
        (READDIR, lambda number: packet(NAME, number, b"\xff\xff\xff\xff"), CUT_OFF),
        (OPENDIR, lambda number: packet(DATA, number, string(b"x")), SOMETHING_ELSE),
        (OPEN, lambda number: packet(250, number, b""), SOMETHING_ELSE),
        (STAT, lambda number: packet(STATUS, number, b""), CUT_OFF),
        (STAT, lambda number: status(number + 1, 4), NOT_ASKED),
        (OPENDIR, lambda number: packet(HANDLE, number, string(b"h")) * 2, NOT_ASKED),
        (STAT, lambda number: b"\xff\xff\xff\xff", NO_SFTP),
        (STAT, lambda number: struct.pack(">I", 0), NO_SFTP),
        (STAT, lambda number: struct.pack(">I", 1 << 20), NO_SFTP),
        (STAT, lambda number: struct.pack(">IB", 1, 101), CUT_OFF),
        (1, lambda number: packet(NAME, 3, b""), SOMETHING_ELSE),
        (1, lambda number: struct.pack(">IBI", 9, 2, 3) + b"\xff\xff\xff\xff", CUT_OFF),
    ],
)
async def test_what_is_no_answer_ends_the_conversation(
    tmp_path: Path, kind: int, reply: Callable[[int], bytes], lost: str
) -> None:
    server = HostileSftp(
        lambda: iter([[b"file"]]), content=b"x" * 100_000, reply={kind: reply}, size=1 << 30
    )
    with trio.fail_after(20):
        fetched = await fetch(server, tmp_path)
    assert fetched.lost == lost
    assert below(tmp_path) == {}


async def test_a_reason_without_an_end_is_cut(tmp_path: Path) -> None:
    server = HostileSftp(reply={STAT: lambda number: status(number, 4, b"because " * 20_000)})
    fetched = await fetch(server, tmp_path)
    assert len(fetched.said) == 1
    assert len(fetched.said[0]) < 600


async def test_answers_in_any_order_and_then_a_failure_leave_nothing_behind(
    tmp_path: Path,
) -> None:
    held: list[bytes] = []

    def read(number: int) -> bytes:
        held.append(status(number, 4))
        if len(held) < 64:
            return b""
        answers = b"".join(reversed(held))
        held.clear()
        return answers

    server = HostileSftp(
        lambda: iter([[b"f%d" % at for at in range(200)]]), size=1 << 40, reply={READ: read}
    )
    fetched = await fetch(server, tmp_path)
    assert (fetched.lost, len(fetched.said)) == ("", 200)


async def test_a_server_that_forgets_what_it_was_asked_is_given_up(tmp_path: Path) -> None:
    first: list[int] = []

    def read(number: int) -> bytes:
        # Of the 64 requests of a file only the first is ever answered.
        if number - (first[-1] if first else -100) < 64:
            return b""
        first.append(number)
        return status(number, 4)

    server = HostileSftp(
        lambda: iter([[b"f%d" % at for at in range(500)]]), size=1 << 40, reply={READ: read}
    )
    fetched = await fetch(server, tmp_path)
    assert fetched.lost == "its SFTP server does not answer what it is asked"
