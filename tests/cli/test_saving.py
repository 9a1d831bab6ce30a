"""Saving output where the disk is full or a file cannot be written: the rest goes on."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from tests.cli.conftest import Done, Programs, finish

FULL = "File too large"
WHOLE = b"x" * 99 + b"\n"

# How long a file can grow: less than what node n2 writes, by more than any buffer, and more than
# what trioshell itself shares with its watchdog.
LIMIT = 2_000_000
LINES = 25_000
COMMAND = f"[ %h = n2 ] && yes {'y' * 99} | head -n {LINES}; echo {'x' * 99}"


def limited(programs: Programs, *words: str) -> Done:
    """trioshell, with files that can grow so far and no further."""
    process = programs.start(
        "trioshell",
        *("-R", "exec", *words),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT)),
    )
    return finish(process)


@pytest.mark.parametrize("form", [(), ("-b",)])
def test_one_file_that_cannot_grow_leaves_the_others_whole(
    programs: Programs, form: tuple[str, ...]
) -> None:
    done = limited(programs, "-w", "n[1-3]", "--outdir", "out", *form, COMMAND)
    assert done.err == f"trioshell: out/n2: the output could not be saved whole: {FULL}\n".encode()
    assert done.status == 1
    assert done.out.count(b"y" * 99) == LINES  # what is shown is whole
    for node in ("n1", "n3"):
        assert (programs.place / "out" / node).read_bytes() == WHOLE
    saved = (programs.place / "out" / "n2").read_bytes()
    assert len(saved) <= LIMIT
    assert saved.count(b"y" * 99 + b"\n") * 100 > LIMIT - 20_000


def test_a_full_device_is_named_once_for_all_nodes(programs: Programs) -> None:
    out = programs.place / "out"
    out.mkdir()
    for node in ("n1", "n2"):
        (out / node).symlink_to("/dev/full")
    done = programs.trioshell("-w", "n[1-3]", "--outdir", "out", "-b", "-S", "echo said; exit 3")
    assert done.err == (
        b"trioshell: n[1-3] (3): exited with exit code 3\n"
        b"trioshell: out/n[1-2]: the output could not be saved whole: No space left on device\n"
    )
    assert done.status == 1
    assert b"said" in done.out
    assert (out / "n3").read_bytes() == b"said\n"


def test_a_file_that_cannot_be_opened_is_told_and_its_node_runs(programs: Programs) -> None:
    (programs.place / "err" / "n1").mkdir(parents=True)
    done = programs.trioshell("-w", "n[1-2]", "--errdir", "err", "echo %h >&2; echo out")
    assert done.err.endswith(
        b"trioshell: err/n1: the output could not be saved whole: Is a directory\n"
    )
    assert done.status == 1
    assert sorted(done.out.splitlines()) == [b"n1: out", b"n2: out"]
    assert (programs.place / "err" / "n2").read_bytes() == b"n2\n"


# A mount that only this program and its children see, and that is gone with the last of them.
APART = ("unshare", "--mount", "sh", "-c")
MOUNT = 'mount -t tmpfs -o size=64k tmpfs small && "$@"; echo "status $?"; wc -c small/*'


def test_a_small_file_system_that_is_full(programs: Programs) -> None:
    (programs.place / "small").mkdir()
    tried = subprocess.run(
        [*APART, MOUNT, "sh", "true"], cwd=programs.place, capture_output=True, check=False
    )
    if b"status 0" not in tried.stdout:
        pytest.skip("a file system of one's own takes a right")
    words = ("-R", "exec", "-w", "n[1-3]", "-f", "1", "-b", "--outdir", "small")
    command = "[ %h = n2 ] && yes | head -n 100000 || echo %h"
    program = (sys.executable, "-m", "trioshell", *words, command)
    done = finish(programs.start("trioshell", args=[*APART, MOUNT, "sh", *program]))
    assert done.err == (
        b"trioshell: small/n[2-3]: the output could not be saved whole: No space left on device\n"
    )
    said = b" ".join(done.out.split())
    assert b"status 1 3 small/n1 61440 small/n2 0 small/n3" in said
    assert not os.listdir(programs.place / "small")
