"""Draws what the soak has sampled, as SVG that stays the same while the samples do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reliability.gauge import Sample

_STYLE = {
    "font.size": 9.0,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "trioshell",  # the same names of parts at each run
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_PANELS = {
    "rss_mb": "memory, MB",
    "descriptors": "descriptors",
    "threads": "threads",
    "children": "processes below it",
    "tasks": "tasks of Trio",
    "commands": "commands so far",
}
_AT_WORK, _QUIET = "#98c1d9", "#c44536"


def soak(samples: Sequence[Sample], file: Path) -> None:
    """Draw all of it into `file`.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (extra ``bench``).
    """
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams.update(_STYLE)
    figure = Figure(figsize=(8.0, 6.0), layout="constrained")
    grid: Any = figure.subplots(3, 2, sharex=True)
    quiet = [sample for sample in samples if sample.quiet]
    for axes, (what, label) in zip(grid.flat, _PANELS.items(), strict=True):
        axes.plot(
            [sample.seconds / 60 for sample in samples],
            [getattr(sample, what) for sample in samples],
            color=_AT_WORK,
            linewidth=0.8,
            label="at work",
        )
        axes.plot(
            [sample.seconds / 60 for sample in quiet],
            [getattr(sample, what) for sample in quiet],
            color=_QUIET,
            linestyle="none",
            marker=".",
            markersize=3,
            label="at quiet moments",
        )
        axes.set_title(label, loc="left", fontsize=9)
        axes.set_ylim(bottom=0)
    grid[0][0].legend(frameon=False)
    for axes in grid[-1]:
        axes.set_xlabel("minutes")
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, format="svg", metadata={"Date": None})
