"""The plots of docs/performance.md, as SVG that stays the same while the results do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.results import Results
from benchmarks.table import exponent, parts, points
from benchmarks.workload import OURS

_OURS_COLOUR = "#0b6e4f"
_COLOURS = ("#c44536", "#e09f3e", "#3d5a80", "#98c1d9", "#6d597a", "#7f7f7f", "#b5838d", "#606c38")
_STYLE: Any = {
    "font.size": 9.0,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "trioshell",  # the same names of parts at each run
    "axes.spines.top": False,
    "axes.spines.right": False,
}

# Where all do the same work, and one figure says who needs how much for it.
_COMPARABLE = ("echo", "lines", "bulk", "names", "ssh", "copy", "start")

Plot = Callable[[Results], Any]


def _new(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams.update(_STYLE)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def _colour(number: int, who: str) -> str:
    return _OURS_COLOUR if who == OURS else _COLOURS[number % len(_COLOURS)]


def ratios(results: Results) -> Any:
    """How many times our cost each peer needs, for each workload that compares."""
    bars: list[tuple[str, float, float, float]] = []
    for name, about in results.workloads.items():
        if not name.startswith(_COMPARABLE):
            continue
        for who in results.names(name):
            ratio = results.ratio(name, who, OURS, about["counts"]) if who != OURS else None
            if ratio is not None and not who.startswith(("bare", "trioshell", "python")):
                bars.append((f"{name}: {who}", ratio.median, ratio.low, ratio.high))
    if not bars:
        return None
    figure, axes = _new(7.5, 0.8 + 0.17 * len(bars))
    labels = [bar[0] for bar in bars]
    middles = [bar[1] for bar in bars]
    errors = [[bar[1] - bar[2] for bar in bars], [bar[3] - bar[1] for bar in bars]]
    colours = [_OURS_COLOUR if middle >= 1 else _COLOURS[0] for middle in middles]
    # From 1, which is us, to the right for what is slower than we are.
    widths = [middle - 1 for middle in middles]
    axes.barh(labels, widths, left=1, xerr=errors, color=colours, height=0.7, ecolor="#444444")
    axes.axvline(1, color="#222222", linewidth=0.8)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel("cost in times of trioshell's (median and quartiles; right of 1 is dearer)")
    return figure


def fanout(results: Results) -> Any:
    """Commands a second at each fanout."""
    names = [name for name in ("echo-1", "echo-64", "echo-512") if name in results.workloads]
    whos = list(dict.fromkeys(who for name in names for who in results.names(name)))
    if not whos:
        return None
    figure, axes = _new(7.5, 3.2)
    width = 0.8 / len(whos)
    for number, who in enumerate(whos):
        costs = [results.cost(name, who, "seconds") for name in names]
        heights = [1 / cost.median if cost else 0.0 for cost in costs]
        places = [place + (number - len(whos) / 2 + 0.5) * width for place in range(len(names))]
        axes.bar(places, heights, width, label=who, color=_colour(number, who))
    axes.set_xticks(range(len(names)), [name.replace("echo-", "fanout ") for name in names])
    axes.set_ylabel("commands a second")
    axes.legend(frameon=False, fontsize=8)
    return figure


def breakdown(results: Results) -> Any:
    """One bar, made of the parts of a command."""
    found = parts(results)
    if not found:
        return None
    figure, axes = _new(7.5, 2.6)
    left = 0.0
    for number, (part, seconds) in enumerate(found.items()):
        colour = [_OURS_COLOUR, *_COLOURS][number % (1 + len(_COLOURS))]
        axes.barh([""], [seconds * 1e3], left=left, label=part, color=colour)
        left += seconds * 1e3
    axes.set_xlabel("ms of processor time a command")
    figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside lower center")
    return figure


def ssh(results: Results) -> Any:
    """CPU of the client a host, for a login and for a further command."""
    names = [name for name in ("ssh-cold", "ssh-reused") if results.names(name)]
    if not names:
        return None
    figure, axes = _new(7.5, 3.0, len(names))
    for name, one in zip(names, axes if len(names) > 1 else [axes], strict=True):
        whos = results.names(name)
        costs = [results.cost(name, who, "cpu") for who in whos]
        widths = [cost.median * 1e3 if cost else 0.0 for cost in costs]
        colours = [_OURS_COLOUR if who.startswith(OURS) else "#3d5a80" for who in whos]
        one.barh(whos, widths, color=colours)
        one.invert_yaxis()
        one.set_title(name, fontsize=9)
        one.set_xlabel("ms of processor time a host")
    return figure


def growth(results: Results) -> Any:
    """CPU against the number of nodes, both logarithmic, with the slope of each line."""
    names = [name for name in ("growth-simulated", "growth-local") if results.names(name)]
    if not names:
        return None
    figure, axes = _new(7.5, 3.4, len(names))
    for name, one in zip(names, axes if len(names) > 1 else [axes], strict=True):
        for number, who in enumerate(results.names(name)):
            some = points(results, name, who)
            if not some:
                continue
            slope = exponent(results, name, who)
            label = who if slope is None else f"{who}: N^{slope:.2f}"
            amounts, costs = zip(*some, strict=True)
            one.loglog(amounts, costs, "o-", markersize=3, label=label, color=_colour(number, who))
        one.set_title(results.workloads[name]["title"], fontsize=9)
        one.set_xlabel("nodes")
        one.set_ylabel("seconds of processor time")
        one.grid(visible=True, linewidth=0.3)
        one.legend(frameon=False, fontsize=8)
    return figure


PLOTS: dict[str, Plot] = {
    "ratios": ratios,
    "fanout": fanout,
    "breakdown": breakdown,
    "ssh": ssh,
    "growth": growth,
}


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw all for which there are results, and say which files were written."""
    files = []
    for name, plot in PLOTS.items():
        figure = plot(results)
        if figure is not None:
            file = directory / f"{name}.svg"
            figure.savefig(file, metadata={"Date": None, "Creator": None})
            files.append(file)
    return files
