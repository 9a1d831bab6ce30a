"""What a service holds, once a second, and whether any of it grows."""

from __future__ import annotations

import csv
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

# The first part of a run is not looked at: caches fill, modules are imported.
WARM_UP_SHARE = 0.2

# By how much the median of the last third may be above that of the first.
ALLOWED = {
    "rss_mb": 8.0,
    "descriptors": 6.0,
    "threads": 3.0,
    "children": 1.0,
    "zombies": 0.0,
    "tasks": 4.0,
}


@dataclass(frozen=True)
class Sample:
    """One look.

    Attributes:
        seconds: since the start.
        quiet: 1 if no work was going on; what is kept by mistake is seen best then.
        rss_mb: memory, in megabytes.
        descriptors, threads, children, zombies: of the process; children with all below them.
        tasks: of Trio.
        running: sessions of the Task that are open.
        commands: how many have ended so far.
    """

    seconds: float
    quiet: int
    rss_mb: float
    descriptors: int
    threads: int
    children: int
    zombies: int
    tasks: int
    running: int
    commands: int


def look(
    seconds: float, quiet: bool, tasks: int, running: int, commands: int, apart: int
) -> Sample:
    """Take one; processes below the pid `apart` are not of the service."""
    below = descendants(os.getpid(), apart)
    return Sample(
        seconds=round(seconds, 1),
        quiet=int(quiet),
        rss_mb=round(_rss() / 1e6, 2),
        descriptors=len(os.listdir("/proc/self/fd")) - 1,  # that of the listing
        threads=len(os.listdir("/proc/self/task")),
        children=len(below),
        zombies=sum(state == "Z" for state in below.values()),
        tasks=tasks,
        running=running,
        commands=commands,
    )


def descendants(pid: int, apart: int) -> dict[int, str]:
    """The state of each process below `pid`, without `apart` and what is below that."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{entry}/stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        parents.setdefault(int(parent), []).append((int(entry), state))
    found: dict[int, str] = {}
    pending = [pid]
    while pending:
        for child, state in parents.get(pending.pop(), []):
            if child != apart:
                found[child] = state
                pending.append(child)
    return found


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """The medians of the first and of the last third, by what was looked at, warm-up apart."""
    quiet = [sample for sample in samples if sample.quiet]
    warm = quiet[int(len(quiet) * WARM_UP_SHARE) :]
    third = len(warm) // 3
    if not third:
        raise ValueError(f"{len(quiet)} quiet samples are too few to see whether anything grows")
    return {
        what: (
            statistics.median(getattr(sample, what) for sample in warm[:third]),
            statistics.median(getattr(sample, what) for sample in warm[-third:]),
        )
        for what in ALLOWED
    }


def grown(samples: Sequence[Sample]) -> list[str]:
    """What grew by more than is allowed, in a sentence each."""
    return [
        f"{what} grew from {first:g} to {last:g}"
        for what, (first, last) in growth(samples).items()
        if last - first > ALLOWED[what]
    ]


def write(samples: Iterable[Sample], file: Path) -> None:
    """As CSV, with a line of names."""
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(
            opened, [field.name for field in fields(Sample)], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(asdict(sample) for sample in samples)


def read(file: Path) -> list[Sample]:
    """What `write` has written."""
    with file.open(newline="") as opened:
        return [Sample(**_numbers(row)) for row in csv.DictReader(opened)]


def _numbers(row: dict[str, str]) -> dict[str, Any]:
    return {
        name: float(value) if name in ("seconds", "rss_mb") else int(value)
        for name, value in row.items()
    }
