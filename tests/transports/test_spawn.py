"""Starting programs: descriptors come and go as promised, whoever performs it."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from trioshell.transports._spawn import Spawn, Spawner

ENVIRONMENT = [b"PATH=/usr/bin:/bin", b"GREETING=hello"]


def spawn_of(*argv: bytes) -> tuple[Spawn, int]:
    """Something to spawn, and the end of the pipe that its output comes from."""
    reading, writing = os.pipe()
    return Spawn(argv, ENVIRONMENT, None, writing, writing), reading


def read_to_end(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return file.read()


def finish(spawn: Spawn) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(spawn.pid, 0)[1])


def test_it_runs_with_the_environment_given_and_nothing_else() -> None:
    spawn, output = spawn_of(b"sh", b"-c", b"echo $GREETING; env | wc -l; exit 3")
    spawn.perform()
    assert spawn.error is None
    greeting, count = read_to_end(output).split()
    assert greeting == b"hello"
    assert int(count) <= len(ENVIRONMENT) + 3  # a shell adds PWD, OLDPWD and _
    assert finish(spawn) == 3


def test_what_cannot_be_started_closes_its_descriptors_too() -> None:
    spawn, output = spawn_of(b"/no/such/program")
    spawn.perform()
    assert spawn.error is not None
    assert spawn.error.errno == errno.ENOENT
    assert read_to_end(output) == b""  # at its end: nobody holds the other side
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(spawn.stdout)


def test_threads_perform_what_is_submitted_and_are_joined() -> None:
    rung = threading.Semaphore(0)
    spawner = Spawner(rung.release)
    spawns = [spawn_of(b"echo", str(n).encode()) for n in range(10)]
    for spawn, _ in spawns:
        spawner.submit(spawn)
    done: list[Spawn] = []
    while len(done) < len(spawns):
        assert rung.acquire(timeout=10)
        done += spawner.collect()
    assert {id(spawn) for spawn in done} == {id(spawn) for spawn, _ in spawns}
    for n, (spawn, output) in enumerate(spawns):
        assert read_to_end(output) == f"{n}\n".encode()
        assert finish(spawn) == 0
    assert any(thread.name == "trioshell spawn" for thread in threading.enumerate())
    spawner.close()
    assert not any(thread.name == "trioshell spawn" for thread in threading.enumerate())


def test_the_bell_rings_again_only_after_somebody_has_come() -> None:
    rung = threading.Semaphore(0)
    spawner = Spawner(rung.release)
    for _ in range(2):
        spawns = [spawn_of(b"true") for _ in range(4)]
        for spawn, _ in spawns:
            spawner.submit(spawn)
        done = 0
        while done < len(spawns):
            assert rung.acquire(timeout=10)
            done += len(spawner.collect())
        for spawn, output in spawns:
            assert read_to_end(output) == b""
            assert finish(spawn) == 0
    spawner.close()
    assert spawner.collect() == []


def test_without_a_thread_to_be_had_it_is_performed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    rung: list[bool] = []
    spawner = Spawner(lambda: rung.append(True))
    spawn, output = spawn_of(b"echo", b"here")
    spawner.submit(spawn)
    assert rung == [True]
    assert spawner.collect() == [spawn]
    assert read_to_end(output) == b"here\n"
    assert finish(spawn) == 0
    spawner.close()
