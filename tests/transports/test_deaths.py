"""Who hears of a child's death, when, and at what cost."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from trioshell import NotStarted, Task
from trioshell.transports._deaths import Deaths
from trioshell.transports._poller import Poller


class Watch:
    """Deaths at work, what they were told, and how many pidfds were asked for."""

    def __init__(self, deaths: Deaths) -> None:
        self.deaths = deaths
        self.told = trio.Event()
        self.pidfds = 0


@asynccontextmanager
async def watching(monkeypatch: pytest.MonkeyPatch, refused: int = 0) -> AsyncIterator[Watch]:
    """Deaths in a poller; the first so many pidfds asked for can't be had."""
    poller = Poller(lambda: False)
    watch = Watch(Deaths(poller))
    real = os.pidfd_open

    def pidfd_open(pid: int) -> int:
        watch.pidfds += 1
        if watch.pidfds <= refused:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(pid)

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        nursery.start_soon(watch.deaths.run)
        with trio.fail_after(10):
            yield watch
        nursery.cancel_scope.cancel()
    poller.close()


def spawn(seconds: str) -> int:
    return os.posix_spawnp("sleep", ["sleep", seconds], os.environ)


@pytest.mark.parametrize("refused", [0, 3])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_death_is_told(
    monkeypatch: pytest.MonkeyPatch, refused: int, at_once: bool
) -> None:
    async with watching(monkeypatch, refused) as watch:
        pid = spawn("0.1")
        child = watch.deaths.expect(pid, watch.told.set)
        if at_once:
            watch.deaths.watch(child)
            assert watch.pidfds == 1
        await watch.told.wait()
        assert os.waitpid(pid, os.WNOHANG)[0] == pid
        assert watch.pidfds == refused + 1
        watch.deaths.forget(child)


async def test_who_is_forgotten_soon_never_costs_a_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching(monkeypatch) as watch:
        pid = spawn("0")
        child = watch.deaths.expect(pid, watch.told.set)
        os.waitpid(pid, 0)
        watch.deaths.forget(child)
        watch.deaths.watch(child)
        await trio.sleep(0.05)
        assert watch.pidfds == 0
        assert not watch.told.is_set()


async def test_one_that_a_stranger_has_reaped_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching(monkeypatch) as watch:
        pid = spawn("0")
        child = watch.deaths.expect(pid, watch.told.set)
        os.waitpid(pid, 0)
        await watch.told.wait()
        watch.deaths.forget(child)


async def test_without_pidfds_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def pidfd_open(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    async with Task(transport="exec") as task:
        worker = task.shell("echo never", nodes="n1")
    outcome = worker.results()["n1"].outcome
    assert isinstance(outcome, NotStarted)
    assert os.strerror(errno.ENOSYS) in outcome.reason
