"""The results file: every raw figure, and what is needed to understand it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.meter import Figures
from benchmarks.spread import Spread, spread

FORMAT = 1


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        workload: of which workload.
        who: of which contender.
        size: the amount that the workload asked for; a peer may have done a part of it.
        round: in which round; what is compared is of one round.
        place: as which of the round it was done; the order is drawn anew for each.
        figures: what was measured.
    """

    workload: str
    who: str
    size: int
    round: int
    place: int
    figures: Figures

    def each(self, what: str) -> float:
        """The cost of one piece: "seconds", "cpu" (of all), "own" (CPU of the process alone)."""
        figures = self.figures
        cost = {
            "seconds": figures.seconds,
            "cpu": figures.cpu + figures.cpu_children,
            "own": figures.cpu,
        }[what]
        return cost / figures.amount


@dataclass
class Results:
    """All that one run of the benchmarks has found out.

    Attributes:
        machine: where.
        versions: of what.
        options: how it was started.
        workloads: of each workload, by name: what is done (`title`, `what`, `unit`,
            `counts`), `settings` of each contender and who was `left_out`, and `when`.
        samples: all measurements.
    """

    machine: dict[str, str]
    versions: dict[str, str]
    options: dict[str, Any]
    workloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def names(self, workload: str) -> list[str]:
        """Who was measured, in the order of the workload, ours first."""
        there = {sample.who for sample in self.samples if sample.workload == workload}
        settings = self.workloads[workload]["settings"] if workload in self.workloads else {}
        return [who for who in settings if who in there]

    def of(self, workload: str, who: str, size: int | None = None) -> list[Sample]:
        """The measurements of one contender, of the largest amount or of the one given."""
        own = [s for s in self.samples if s.workload == workload and s.who == who]
        if size is None:
            size = max((sample.size for sample in own), default=0)
        return [sample for sample in own if sample.size == size]

    def sizes(self, workload: str) -> list[int]:
        """The amounts that were measured, smallest first."""
        return sorted({sample.size for sample in self.samples if sample.workload == workload})

    def cost(self, workload: str, who: str, what: str, size: int | None = None) -> Spread | None:
        """What one piece costs it: see `Sample.each`; None if it was not measured."""
        costs = [sample.each(what) for sample in self.of(workload, who, size)]
        return spread(costs) if costs else None

    def ratio(
        self, workload: str, who: str, base: str, what: str, size: int | None = None
    ) -> Spread | None:
        """How many times the cost of `base` is that of `who`, round by round."""
        bases = {sample.round: sample.each(what) for sample in self.of(workload, base, size)}
        ratios = [
            sample.each(what) / bases[sample.round]
            for sample in self.of(workload, who, size)
            if bases.get(sample.round)
        ]
        return spread(ratios) if ratios else None

    def more(self, workload: str, who: str, name: str, size: int | None = None) -> Spread | None:
        """Of what a contender has noted under this name, where it is a number."""
        values = [
            sample.figures.more[name]
            for sample in self.of(workload, who, size)
            if isinstance(sample.figures.more.get(name), int | float)
        ]
        return spread(values) if values else None

    def drop(self, workloads: Iterable[str]) -> None:
        """Forget these workloads, which are measured anew."""
        gone = set(workloads)
        self.samples = [sample for sample in self.samples if sample.workload not in gone]
        for name in gone:
            self.workloads.pop(name, None)

    def save(self, file: Path) -> None:
        """Write it whole, or leave the file as it was."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=False)
        part = file.with_name(f"{file.name}.part")
        part.write_text(text + "\n")
        part.replace(file)


def load(file: Path) -> Results:
    """What `Results.save` has written.

    Raises:
        ValueError: it is not such a file.
    """
    try:
        known = json.loads(file.read_text())
        if known.pop("format") != FORMAT:
            raise ValueError(f"another format than {FORMAT}")
        samples = [
            Sample(**{**sample, "figures": Figures(**sample["figures"])})
            for sample in known.pop("samples")
        ]
        return Results(**known, samples=samples)
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"{file} is not a file of results: {exc}") from exc
