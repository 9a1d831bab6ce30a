"""No descriptor, process or memory to be had: waited for while that can help, and then told."""

from __future__ import annotations

import errno
import os
from typing import cast

import pytest
import trio

from trioshell import Exited, NotStarted, Task
from trioshell._errors import SpawnError
from trioshell.testing import simulate
from trioshell.transports._launch import launch
from trioshell.transports._spawn import Spawn
from trioshell.transports._supervisor import Supervisor

EXHAUSTED = [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM]


def refuse(spawn: Spawn, code: int) -> None:
    """What `Spawn.perform` does when the kernel refuses."""
    spawn.error = OSError(code, os.strerror(code))
    for fd in {spawn.stdin, spawn.stdout, spawn.stderr} - {None}:
        os.close(cast(int, fd))


# -- in virtual time: when it is given up ------------------------------------------------------


class Exhausted:
    """A supervisor on a machine that never has room.

    Args:
        code: the error of each attempt.
        busy: how many of the first attempts are made while another session is open.
    """

    def __init__(self, code: int, busy: int = 0) -> None:
        self.code = code
        self.open_sessions = 1
        self.tries = 0
        self._busy = busy

    async def spawn(self, spawn: Spawn) -> None:
        await trio.lowlevel.checkpoint()
        self.tries += 1
        self.open_sessions = int(self.tries <= self._busy)
        refuse(spawn, self.code)

    async def wait_room(self) -> None:
        await trio.sleep(1)


def give_up(machine: Exhausted) -> tuple[SpawnError, float]:
    """Why it was given up, and when."""

    async def main() -> tuple[SpawnError, float]:
        with pytest.raises(SpawnError) as caught:
            await launch(cast(Supervisor, machine), [b"true"], [], stdin=True, stderr=True)
        return caught.value, trio.current_time()

    return simulate(main)


@pytest.mark.parametrize("code", EXHAUSTED)
def test_with_nothing_else_running_it_is_tried_so_often_and_no_more(code: int) -> None:
    machine = Exhausted(code)
    raised, at = give_up(machine)
    assert raised.reason == f"cannot start 'true': {os.strerror(code)}"
    assert (machine.tries, at) == (41, 40)


def test_while_another_session_is_open_there_is_hope() -> None:
    machine = Exhausted(errno.EAGAIN, busy=1000)
    _, at = give_up(machine)
    assert (machine.tries, at) == (1041, 1040)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EACCES, errno.E2BIG])
def test_what_waiting_cannot_help_is_told_at_once(code: int) -> None:
    machine = Exhausted(code, busy=1000)
    raised, at = give_up(machine)
    assert raised.reason == f"cannot start 'true': {os.strerror(code)}"
    assert (machine.tries, at) == (1, 0)


def test_waiting_can_be_cancelled() -> None:
    async def main() -> int:
        with trio.move_on_after(2.5) as scope:
            await launch(cast(Supervisor, machine), [b"true"], [], stdin=True, stderr=True)
        assert scope.cancelled_caught
        return machine.tries

    machine = Exhausted(errno.ENOMEM)
    assert simulate(main) == 3


# -- with real processes: everything runs all the same -------------------------------------------


@pytest.mark.parametrize("code", EXHAUSTED)
async def test_every_second_spawn_is_refused_and_everything_runs(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    perform = Spawn.perform

    def every_second(spawn: Spawn) -> None:
        nonlocal tries
        tries += 1
        if tries % 2:
            refuse(spawn, code)
        else:
            perform(spawn)

    monkeypatch.setattr(Spawn, "perform", every_second)
    async with Task(transport="exec", fanout=8) as task:
        worker = task.shell(["echo", "%h"], nodes="n[1-30]", stdin=False)
    assert {result.outcome for result in worker.results().values()} == {Exited(0)}
    assert [result.stdout for result in worker.results().values()] == [
        f"n{number}\n".encode() for number in range(1, 31)
    ]


async def test_a_node_that_cannot_be_started_does_not_disturb_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    perform = Spawn.perform

    def not_n2(spawn: Spawn) -> None:
        if b"n2" in spawn.argv:
            refuse(spawn, errno.E2BIG)
        else:
            perform(spawn)

    monkeypatch.setattr(Spawn, "perform", not_n2)
    async with Task(transport="exec") as task:
        worker = task.shell(["echo", "%h"], nodes="n[1-3]", stdin=False)
    assert [result.outcome for result in worker.results().values()] == [
        Exited(0),
        NotStarted(f"cannot start 'echo': {os.strerror(errno.E2BIG)}"),
        Exited(0),
    ]
