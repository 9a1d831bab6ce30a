"""Does mixed work in one long-lived Task for a given time, and looks at what grows."""

from __future__ import annotations

import argparse
import json
import math
import random
import secrets
import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

import trioshell
from reliability import gauge
from reliability.far import FarCluster
from reliability.marks import marked
from reliability.service import Service
from reliability.works import WORKS

DATA = Path(__file__).parent.parent / "docs" / "reliability"
NODES = 6
LANES = 4
# So often all works pause, for what is kept by mistake is seen best when nothing is going on.
QUIET_EVERY_SECONDS = 10.0
# What has ended may need a moment to be buried.
BURY_SECONDS = 3.0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="reliability soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="for how long (3600)")
    parser.add_argument("--seed", type=int, default=1, help="what the works are drawn from (1)")
    parser.add_argument("--csv", type=Path, help="where the samples go (docs/reliability/soak.csv)")
    parser.add_argument("--json", type=Path, help="where the sums go (docs/reliability/soak.json)")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between works (0.1)")
    given = parser.parse_args(argv)
    if not 30 <= given.seconds < math.inf:
        parser.error(f"--seconds must be 30 or more, not {given.seconds:g}")
    soak = Soak(given.seconds, given.seed, given.pause)
    with FarCluster(NODES) as cluster, tempfile.TemporaryDirectory() as name:
        trio.run(soak.run, cluster, Path(name))
    DATA.mkdir(exist_ok=True)
    gauge.write(soak.samples, given.csv or DATA / "soak.csv")
    report = soak.report()
    text = json.dumps(report, indent=1) + "\n"
    (given.json or DATA / "soak.json").write_text(text)
    print(text, end="")
    return 1 if report["wrong"] else 0


class Soak:
    """One run; afterwards `samples` and `report` tell of it."""

    def __init__(self, seconds: float, seed: int, pause: float) -> None:
        self._seconds = seconds
        self._seed = seed
        self._pause = pause
        self.samples: list[gauge.Sample] = []
        self._idle = 0
        self._wanted_quiet = False
        self._went_on = trio.Event()
        self._over = False

    async def run(self, cluster: FarCluster, directory: Path) -> None:
        """Do it all."""
        token = secrets.token_hex(8)
        before = gauge.look(0, True, 0, 0, 0, cluster.pid)
        self._began = trio.current_time()
        async with trioshell.Task(
            transport="exec", keep_results=False, fanout=32, kill_grace=0.2, connect_timeout=5.0
        ) as task:
            service = Service(task, cluster, random.Random(self._seed), directory, token)
            self._service = service
            async with trio.open_nursery() as nursery:
                for _ in range(LANES):
                    nursery.start_soon(self._lane)
                nursery.start_soon(self._watch)
        await self._check_nothing_left(before)

    async def _lane(self) -> None:
        service = self._service
        works, weights = list(WORKS), list(WORKS.values())
        while not self._over:
            if self._wanted_quiet:
                self._idle += 1
                await self._went_on.wait()
                self._idle -= 1
                continue
            (work,) = service.chance.choices(works, weights)
            await work(service)
            service.works[getattr(work, "__name__", "")] += 1
            await trio.sleep(self._pause * service.chance.random())

    async def _watch(self) -> None:
        next_quiet = QUIET_EVERY_SECONDS
        while (seconds := trio.current_time() - self._began) < self._seconds:
            if seconds > next_quiet:
                next_quiet = seconds + QUIET_EVERY_SECONDS
                await self._look_when_quiet()
            self._look(quiet=False)
            await trio.sleep(1.0)
        self._over = True

    async def _look_when_quiet(self) -> None:
        self._wanted_quiet = True
        try:
            while self._idle < LANES:
                await trio.sleep(0.02)  # the slowest of the works, a second or so
            if not await _soon(lambda: not marked(self._service.token)):
                left = len(marked(self._service.token))
                self._service.wrong.append(f"{left} processes of commands that are over")
            self._look(quiet=True)
        finally:
            self._wanted_quiet = False
            self._went_on.set()
            self._went_on = trio.Event()

    def _look(self, *, quiet: bool) -> None:
        service = self._service
        if quiet and (still := service.task.statistics().running):
            service.wrong.append(f"{still} places are taken though nothing runs")
        self.samples.append(
            gauge.look(
                trio.current_time() - self._began,
                quiet,
                trio.lowlevel.current_statistics().tasks_living,
                service.task.statistics().running,
                service.commands,
                service.cluster.pid,
            )
        )

    async def _check_nothing_left(self, before: gauge.Sample) -> None:
        """The Task has been left: all must be as before it was entered."""

        def held(sample: gauge.Sample) -> tuple[int, ...]:
            return (sample.descriptors, sample.children, sample.zombies)

        pid = self._service.cluster.pid
        if not await _soon(lambda: held(gauge.look(0, True, 0, 0, 0, pid)) == held(before)):
            now = held(gauge.look(0, True, 0, 0, 0, pid))
            self._service.wrong.append(
                f"descriptors, children, zombies are {now} after the Task, and were {held(before)}"
            )

    def report(self) -> dict[str, Any]:
        """The sums."""
        service = self._service
        quiet = [sample for sample in self.samples if sample.quiet]
        return {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "seconds": self._seconds,
            "seed": self._seed,
            "commands": service.commands,
            "outcomes": dict(sorted(service.ended.items())),
            "works": dict(sorted(service.works.items())),
            "unconfirmed": service.unconfirmed,
            "quiet_moments": len(quiet),
            "medians": gauge.growth(self.samples),
            "most": {
                what: max(getattr(sample, what) for sample in self.samples)
                for what in gauge.ALLOWED
            },
            "rss_mb_mean": round(statistics.fmean(s.rss_mb for s in self.samples), 1),
            "wrong": [*service.wrong, *gauge.grown(self.samples)],
        }


async def _soon(condition: Callable[[], bool]) -> bool:
    """Look until it is true, or for some seconds; nobody tells of a process that is gone."""
    with trio.move_on_after(BURY_SECONDS):
        while not condition():
            await trio.sleep(0.02)  # see above
        return True
    return condition()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
