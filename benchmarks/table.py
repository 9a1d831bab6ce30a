"""Results as text: numbers as people read them, and one table for each workload."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.results import Results
from benchmarks.spread import Spread, fit
from benchmarks.workload import OURS

NOT_MEASURED = "*Not measured in this run.*"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; all columns but the first are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three digits that count: 1,234,567 stays whole, 0.01234 becomes 0.0123."""
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -max(0, digits)):,.0f}"
    return f"{float(f'{value:.3g}'):g}"


def duration(seconds: float) -> str:
    """In the unit in which it is a handy number."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds * 1e9)} ns" if seconds else "0"


def size(size_bytes: float) -> str:
    """Megabytes; a little is a little."""
    return f"{number(size_bytes / 1e6)} MB" if size_bytes else "–"


def times(ratio: Spread | None) -> str:
    """``1.62 × (1.55–1.70)``: the median, and between which quartiles it lies."""
    if ratio is None:
        return "–"
    if ratio.count == 1:
        return f"{number(ratio.median)} ×"
    return f"{number(ratio.median)} × ({number(ratio.low)}–{number(ratio.high)})"


def plural(unit: str) -> str:
    """Of a word; megabytes are MB, however many."""
    return unit if unit.isupper() else f"{unit}s"


def workload_table(results: Results, name: str) -> str:
    """What each contender of a workload costs, next to us; in the form that suits it."""
    if not results.names(name):
        return NOT_MEASURED
    if results.more(name, OURS, "left") is not None:
        return _ending(results, name)
    if results.more(name, OURS, "bytes_each") is not None:
        return _pending(results, name)
    if results.of(name, OURS) and "parts" in results.of(name, OURS)[0].figures.more:
        return breakdown_table(results, name)
    if len(results.sizes(name)) > 1:
        return _growth(results, name)
    if results.workloads[name]["unit"] in ("start", "import"):
        return _start(results, name)
    return _costs(results, name)


def _costs(results: Results, name: str) -> str:
    unit = results.workloads[name]["unit"]
    rows = []
    for who in results.names(name):
        samples = results.of(name, who)
        seconds, cpu, own = (results.cost(name, who, what) for what in ("seconds", "cpu", "own"))
        assert seconds
        assert cpu
        assert own
        ours = who == OURS
        grown = sorted(sample.figures.grown_bytes for sample in samples)[len(samples) // 2]
        fds = max(sample.figures.fds for sample in samples)
        rows.append(
            [
                f"**{who}**" if ours else who,
                number(1 / seconds.median),
                "1" if ours else times(results.ratio(name, who, OURS, "seconds")),
                duration(own.median),
                duration(cpu.median),
                "1" if ours else times(results.ratio(name, who, OURS, "cpu")),
                size(grown),
                str(fds or "–"),
            ]
        )
    header = [
        "",
        f"{plural(unit)}/s",
        "time, × ours",
        f"own CPU a {unit}",
        f"with children, a {unit}",
        "CPU, × ours",
        "memory",
        "fds",
    ]
    return markdown(header, rows)


def _start(results: Results, name: str) -> str:
    rows = []
    for who in results.names(name):
        seconds, cpu = (results.cost(name, who, what) for what in ("seconds", "cpu"))
        assert seconds
        assert cpu
        ratio = "1" if who == OURS else times(results.ratio(name, who, OURS, "cpu"))
        bold = f"**{who}**" if who == OURS else who
        rows.append([bold, duration(cpu.median), ratio, duration(seconds.median)])
    return markdown(["", "CPU, each", "CPU, × ours", "time, each"], rows)


def _ending(results: Results, name: str) -> str:
    rows = []
    for who in results.names(name):
        samples = results.of(name, who)
        after = results.more(name, who, "seconds_after_due")
        assert after
        amount = samples[0].figures.amount
        left = max(sample.figures.more["left"] for sample in samples)
        rows.append(
            [
                f"**{who}**" if who == OURS else who,
                f"{amount:,}",
                duration(after.median),
                f"{left:,}",
            ]
        )
    header = ["", "commands", "over after", "processes that were still there then"]
    return markdown(header, rows)


def _pending(results: Results, name: str) -> str:
    rows = []
    for who in results.names(name):
        each, tasks = results.more(name, who, "bytes_each"), results.more(name, who, "tasks")
        assert each
        assert tasks
        nodes = f"{results.of(name, who)[0].figures.amount:,}"
        rows.append([f"**{who}**", nodes, f"{each.median:.0f}", f"{tasks.median:.0f}"])
    header = ["", "nodes", "bytes a waiting node", "child tasks alive at most (fanout 64)"]
    return markdown(header, rows)


def parts(results: Results, name: str = "breakdown") -> dict[str, float]:
    """Seconds a piece, by part, the dearest first: the mean of all rounds."""
    samples = results.of(name, OURS)
    sums: dict[str, float] = {}
    for sample in samples:
        for part, seconds in sample.figures.more["parts"].items():
            sums[part] = sums.get(part, 0.0) + seconds / sample.figures.amount / len(samples)
    return dict(sorted(sums.items(), key=lambda pair: -pair[1]))


def breakdown_table(results: Results, name: str = "breakdown") -> str:
    """What a piece costs in each part."""
    found = parts(results, name)
    if not found:
        return NOT_MEASURED
    total = sum(found.values())
    unit = results.workloads[name]["unit"]
    rows = [[part, duration(cost), f"{cost / total:.0%}"] for part, cost in found.items()]
    return markdown(["part", f"CPU a {unit}", "of all"], rows)


def points(results: Results, name: str, who: str) -> list[tuple[float, float]]:
    """The amounts, and what the whole of each cost: CPU in seconds, the median."""
    what = "own" if results.workloads.get(name, {}).get("counts") == "own" else "cpu"
    found = []
    for amount in results.sizes(name):
        cost = results.cost(name, who, what, amount)
        if cost is not None and cost.median > 0:
            found.append((float(amount), cost.median * amount))
    return found


def exponent(results: Results, name: str, who: str) -> float | None:
    """Of the growth of the cost over the last two decades, where starting up counts for less."""
    least = max(results.sizes(name), default=0) / 100
    some = [point for point in points(results, name, who) if point[0] >= least]
    return fit(some).exponent if len(some) >= 2 else None


def _growth(results: Results, name: str) -> str:
    sizes = results.sizes(name)
    rows = []
    for who in results.names(name):
        costs = dict(points(results, name, who))
        slope = exponent(results, name, who)
        rows.append(
            [
                f"**{who}**" if who == OURS else who,
                *[duration(costs[amount] / amount) if amount in costs else "–" for amount in sizes],
                "–" if slope is None else f"{slope:.2f}",
            ]
        )
    unit = results.workloads[name]["unit"]
    header = [f"CPU a {unit} of", *[f"{amount:,}" for amount in sizes], "exponent"]
    return markdown(header, rows)


def settings_table(results: Results) -> str:
    """How each contender was set up, and who was left out and why."""
    rows = []
    for name, about in results.workloads.items():
        for who, settings in about["settings"].items():
            why = about["left_out"].get(who)
            text = settings.replace("|", "\\|")
            rows.append([f"`{name}`", who, f"left out: {why}" if why else text])
    lines = ["| workload | contender | settings |", "| --- | --- | --- |"]
    return "\n".join([*lines, *[f"| {' | '.join(row)} |" for row in rows]])


def report(results: Results) -> str:
    """Everything, for the screen."""
    texts = []
    for name, about in results.workloads.items():
        less = ", with the small amounts of --quick" if about["quick"] else ""
        texts.append(f"## {name}: {about['title']}{less}\n\n{workload_table(results, name)}")
        texts += [f"without {who}: {why}" for who, why in about["left_out"].items()]
    return "\n\n".join(texts)
