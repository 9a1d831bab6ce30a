"""The regression guard: fails when something got slower by a third, and not when others load us.

Each probe does a little of the real work and, in turn with it, a bare baseline that the machine
disturbs in the same way. What counts is processor time, and of each the least of several goes, for
what disturbs only ever adds. The ratio of the two is compared with the one in guard.json. A probe
that looks slow is given more goes before it is believed.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import machine
from benchmarks.probes import PROBES, Probe

REFERENCE = Path(__file__).with_name("guard.json")
SLOWER = 4 / 3
GOES = 8
MOST_GOES = 32
RENEWING_RACES = 5


@dataclass
class Race:
    """A probe, and the processor seconds of each go, of ours and of the baseline."""

    probe: Probe
    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    def go(self, goes: int) -> None:
        """Let both go so many times more, in turn."""
        for _ in range(goes):
            # Whoever goes second finds the caches as the other left them: so they swap.
            first, second = (self.probe.ours, self.ours), (self.probe.bare, self.bare)
            if len(self.ours) % 2:
                first, second = second, first
            for work, costs in (first, second):
                costs.append(work())

    @property
    def ratio(self) -> float:
        return min(self.ours) / min(self.bare)


def race(probe: Probe, limit: float, goes: int = GOES, most: int = MOST_GOES) -> Race:
    """Let a probe go until it is within the limit, or has had every chance."""
    found = Race(probe)
    found.go(goes)
    while found.ratio > limit and len(found.ours) < most:
        found.go(goes)
    return found


def check(tell: Callable[[str], None] = print) -> int:
    """Compare with the reference; 1 if something got slower by a third, else 0."""
    known = json.loads(REFERENCE.read_text())
    begin = time.monotonic()
    slow = []
    for probe in _ready():
        if probe.name not in known["ratios"]:
            tell(f"{probe.name:10} has no reference; scripts/bench --guard --renew makes it")
            slow.append(probe.name)
            continue
        reference = known["ratios"][probe.name]
        found = race(probe, reference * SLOWER)
        by = found.ratio / reference
        tell(
            f"{probe.name:10} {found.ratio:7.3f} × {probe.baseline}; reference {reference:.3f}: "
            f"{by:.2f} of it, after {len(found.ours)} goes"
        )
        if by > SLOWER:
            slow.append(probe.name)
    tell(f"took {time.monotonic() - begin:.0f} s")
    if slow:
        was = known["made"]["Python"]
        tell(f"SLOWER BY A THIRD than the reference (taken with Python {was}): {', '.join(slow)}")
    return 1 if slow else 0


def renew(tell: Callable[[str], None] = print) -> int:
    """Take what is measured now as the reference. To be done on a quiet machine."""
    ratios = {}
    for probe in _ready():
        # The middle of several, each as long as the one that will be compared with it.
        found = sorted(race(probe, math.inf).ratio for _ in range(RENEWING_RACES))
        ratios[probe.name] = round(statistics.median(found), 3)
        tell(
            f"{probe.name:10} {ratios[probe.name]:7.3f} × {probe.baseline} "
            f"({found[0]:.3f} to {found[-1]:.3f})"
        )
    made = {"Python": sys.version.split()[0], **machine.machine()}
    REFERENCE.write_text(json.dumps({"made": made, "ratios": ratios}, indent=1) + "\n")
    return 0


def _ready() -> Iterator[Probe]:
    """Each probe while what it needs is there."""
    for make in PROBES:
        with ExitStack() as stack:
            probe = stack.enter_context(make())
            # The first go of each loads what is loaded once.
            probe.ours()
            probe.bare()
            yield probe
