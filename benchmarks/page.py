"""docs/performance.md: fills what lies between its markers from a file of results."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks import plots
from benchmarks.budgets import budget_table
from benchmarks.results import Results
from benchmarks.table import (
    NOT_MEASURED,
    breakdown_table,
    duration,
    markdown,
    number,
    parts,
    plural,
    settings_table,
    times,
    workload_table,
)
from benchmarks.workload import OURS
from benchmarks.works.breakdown import CHILDREN, SPAWNING

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
PLOTS = PAGE.parent / "performance"

# What the first screen shows: the workload, which figure of it, and which of the others.
_HEADLINE = (
    ("echo-64", "seconds", ("ClusterShell", "pdsh", "parallel", "trio.run_process", "xargs")),
    ("lines", "seconds", ("ClusterShell", "pdsh")),
    ("bulk", "cpu", ("ClusterShell", "trio.run_process")),
    ("ssh-cold", "cpu", ("ClusterShell", "parallel-ssh", "asyncssh")),
    ("ssh-reused", "cpu", ("ClusterShell", "parallel-ssh", "asyncssh")),
    ("start-exec", "cpu", ("clush",)),
)


def headline(results: Results) -> str:
    """How much faster, than what, on which work."""
    rows = []
    for name, what, peers in _HEADLINE:
        cost = results.cost(name, OURS, what)
        if cost is None:
            continue
        about = results.workloads[name]
        unit = about["unit"]
        if what == "seconds":
            ours = f"{number(1 / cost.median)} {plural(unit)}/s"
        else:
            ours = f"{duration(cost.median)} CPU a {unit}"
        ratios = ((who, results.ratio(name, who, OURS, what)) for who in peers)
        others = [f"{who} {times(ratio)}" for who, ratio in ratios if ratio is not None]
        rows.append([about["title"], ours, ", ".join(others) or "–"])
    return markdown(["work", "trioshell", "what the others take, in times of ours"], rows)


def limits(results: Results) -> str:
    """What the time of a local command is made of, in one sentence."""
    found = parts(results)
    if not found:
        return NOT_MEASURED
    total = sum(found.values())
    children, spawning = found.get(CHILDREN, 0.0), found.get(SPAWNING, 0.0)
    rest = total - children - spawning
    return (
        f"Of the processor time of a local `echo`, {children / total:.0%} is the command's own, "
        f"{spawning / total:.0%} the kernel's for starting it, and {rest / total:.0%} "
        "trioshell with Trio."
    )


def about_machine(results: Results) -> str:
    """Where and with what it was measured."""
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    versions = ", ".join(f"{name} {value}" for name, value in results.versions.items())
    whens = sorted(about["when"] for about in results.workloads.values())
    loads = [about["load_before"] for about in results.workloads.values()]
    quick = any(about["quick"] for about in results.workloads.values())
    rounds = max((sample.round for sample in results.samples), default=0) + 1
    return (
        f"Measured {whens[0] if whens else 'never'} on: {machine}. Versions: {versions}. "
        f"At most {rounds} rounds; when it began, {max(loads, default=0):g} processes wanted to "
        f"run.{' Some of it with the small amounts of --quick.' if quick else ''}"
    )


def _plot(name: str, text: str) -> Callable[[Results], str]:
    def show(results: Results) -> str:
        drawn = plots.PLOTS[name](results) is not None
        return f"![{text}](performance/{name}.svg)" if drawn else NOT_MEASURED

    return show


BLOCKS: dict[str, Callable[[Results], str]] = {
    "headline": headline,
    "limits": limits,
    "breakdown": breakdown_table,
    "budgets": budget_table,
    "settings": settings_table,
    "machine": about_machine,
    "plot:ratios": _plot("ratios", "How many times our cost the others need"),
    "plot:fanout": _plot("fanout", "Local commands a second, by fanout"),
    "plot:breakdown": _plot("breakdown", "Processor time of a local command, by part"),
    "plot:ssh": _plot("ssh", "Processor time of the client a host, over SSH"),
    "plot:growth": _plot("growth", "Processor time against the number of nodes"),
}

_MARKED = re.compile(r"(<!-- bench:(\S+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def fill(text: str, results: Results) -> str:
    """The page with everything between its markers made anew.

    Raises:
        ValueError: there is a marker for which there is neither a block nor a workload.
    """

    def make(match: re.Match[str]) -> str:
        name = match[2]
        if name in BLOCKS:
            block = BLOCKS[name](results)
        elif name.startswith("work:"):
            block = _workload(results, name.removeprefix("work:"))
        else:
            raise ValueError(f"the page has a marker for {name!r}, which is not known")
        return f"{match[1]}{block}\n{match[3]}"

    return _MARKED.sub(make, text)


def _workload(results: Results, name: str) -> str:
    if name not in results.workloads:
        return NOT_MEASURED
    about = results.workloads[name]
    left_out = [f"\n\nWithout {who}: {why}." for who, why in about["left_out"].items()]
    return f"{about['what']}\n\n{workload_table(results, name)}{''.join(left_out)}"


def write(results: Results) -> list[Path]:
    """Make the page and its plots anew, and say which files were written."""
    text = fill(PAGE.read_text(), results)
    PLOTS.mkdir(exist_ok=True)
    files = plots.draw(results, PLOTS)
    PAGE.write_text(text)
    return [PAGE, *files]
