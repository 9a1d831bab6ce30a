"""The budgets that the project has set itself, each with what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Results
from benchmarks.spread import Spread
from benchmarks.table import duration, exponent, markdown, number, size, times
from benchmarks.workload import OURS

# What was found, and whether that keeps the budget.
Finding = tuple[str, bool]


@dataclass(frozen=True)
class Budget:
    """A promise to ourselves.

    Attributes:
        work: which work it is about.
        text: what must be reached.
        find: what was measured; None if it was not.
        why: the reason, if it is missed and we know it.
    """

    work: str
    text: str
    find: Callable[[Results], Finding | None]
    why: str = ""


def faster(workload: str, who: str, least: float) -> Callable[[Results], Finding | None]:
    """That `who` takes at least so many times our time."""
    return lambda results: _judge(
        results.ratio(workload, who, OURS, "seconds"), lambda found: found >= least
    )


def cheaper(
    workload: str, base: str, most: float, who: str = OURS
) -> Callable[[Results], Finding | None]:
    """That `who` needs at most so many times the processor time of `base`."""
    return lambda results: _judge(
        results.ratio(workload, who, base, "cpu"), lambda found: found <= most
    )


def _judge(ratio: Spread | None, keeps: Callable[[float], bool]) -> Finding | None:
    return None if ratio is None else (times(ratio), keeps(ratio.median))


def own_cpu(workload: str, most: float) -> Callable[[Results], Finding | None]:
    """That a piece needs at most so many seconds of our own processor time."""

    def find(results: Results) -> Finding | None:
        cost = results.cost(workload, OURS, "own")
        return None if cost is None else (duration(cost.median), cost.median <= most)

    return find


def rate(workload: str, least: float) -> Callable[[Results], Finding | None]:
    """At least so many pieces a second."""

    def find(results: Results) -> Finding | None:
        cost = results.cost(workload, OURS, "seconds")
        if cost is None:
            return None
        return f"{number(1 / cost.median)}/s", 1 / cost.median >= least

    return find


def no_larger(workload: str, who: str, base: str) -> Callable[[Results], Finding | None]:
    """That `who` grows by no more memory than `base`, give or take one megabyte."""

    def find(results: Results) -> Finding | None:
        mine, theirs = (
            min((s.figures.grown_bytes for s in results.of(workload, one)), default=None)
            for one in (who, base)
        )
        if mine is None or theirs is None:
            return None
        return f"{size(mine)}, theirs {size(theirs)}", mine <= theirs + 1_000_000

    return find


def reused_is_cheap(results: Results) -> Finding | None:
    """A fifth of the cold cost."""
    cold, reused = (results.cost(name, OURS, "cpu") for name in ("ssh-cold", "ssh-reused"))
    if cold is None or reused is None:
        return None
    ratio = reused.median / cold.median
    return f"{number(ratio)} × ({duration(reused.median)} of {duration(cold.median)})", ratio <= 0.2


def all_gone(workload: str) -> Callable[[Results], Finding | None]:
    """Within a second of the grace, and nothing left."""

    def find(results: Results) -> Finding | None:
        samples = results.of(workload, OURS)
        if not samples:
            return None
        after = max(sample.figures.more["seconds_after_due"] for sample in samples)
        left = max(sample.figures.more["left"] for sample in samples)
        return f"{duration(after)} at most, {left} left", after <= 1.0 and left == 0

    return find


def small_when_pending(results: Results) -> Finding | None:
    """Bytes of a node that waits."""
    each = results.more("pending", OURS, "bytes_each")
    return None if each is None else (f"{each.median:.0f} bytes", each.median < 256)


def linear(results: Results) -> Finding | None:
    """That the cost grows no faster than the number of nodes, give or take a twentieth."""
    slope = exponent(results, "growth-simulated", OURS)
    return None if slope is None else (f"exponent {slope:.2f}", slope <= 1.05)


_ECHO = "3,000 local `echo`, fanout 64"
_GATHER = "10,000 nodes × 100 equal lines"
_COLD = "a cold `echo` over SSH, client's CPU"
_GATHERING = "trioshell gathering"
_MSGTREE = "trioshell MsgTree"
_THEIRS = "ClusterShell MsgTree"
BUDGETS = (
    Budget(
        _ECHO,
        "at least 1.4 × as fast as xargs",
        faster("echo-64", "xargs", 1.4),
        "most of the processor time is the command's own and the same for both. xargs loses by "
        "starting one after the other; we start on all processors, and once these are busy "
        "there is no more to gain.",
    ),
    Budget(
        _ECHO,
        "6 × as fast as ClusterShell",
        faster("echo-64", "ClusterShell", 6.0),
        "on two processors with nothing else to do the commands alone, at nearly 0.6 ms each, "
        "would take a fifth of ClusterShell's time if starting and hearing them cost nothing. "
        "Where others want to run as well it loses far more: 11 to 24 × were seen.",
    ),
    Budget(_ECHO, "own CPU at most 0.30 ms a command", own_cpu("echo-64", 0.30e-3)),
    Budget("4 × 500,000 lines into `ev_read`", "2,500,000 lines/s", rate("lines", 2.5e6)),
    Budget(
        _GATHER,
        "gathered and folded no slower than by ClusterShell's MsgTree",
        cheaper("nodes-10000-equal", _THEIRS, 1.0, who=_GATHERING),
    ),
    Budget(_GATHER, "and no larger", no_larger("nodes-10000-equal", _GATHERING, _THEIRS)),
    Budget(
        _GATHER,
        "our MsgTree no slower than ClusterShell's",
        cheaper("nodes-10000-equal", _THEIRS, 1.0, who=_MSGTREE),
    ),
    Budget(_GATHER, "and no larger", no_larger("nodes-10000-equal", _MSGTREE, _THEIRS)),
    Budget(_COLD, "at most 1.15 × asyncssh on asyncio", cheaper("ssh-cold", "asyncssh", 1.15)),
    Budget(
        _COLD,
        "below parallel-ssh",
        cheaper("ssh-cold", "parallel-ssh", 1.0),
        "parallel-ssh is libssh2, in C, and checks no host keys. A transport of ours over libssh2 "
        "was to get below it, and was left out because it can't be made safe ([ssh.md](ssh.md)).",
    ),
    Budget(
        "the same, connection reused",
        "at most a fifth of cold",
        reused_is_cheap,
        "a login has become cheaper than asyncssh's own, and a fifth of it less. Most of what is "
        "left of a session is asyncssh's work on each packet, in Python; less of that means to "
        "write SSH's channels anew.",
    ),
    Budget("200 MB over SSH", "1.15 × asyncssh on asyncio", cheaper("ssh-bulk", "asyncssh", 1.15)),
    Budget("1,000 commands aborted", "all gone within 1 s", all_gone("abort")),
    Budget(
        "1,000 that ignore SIGTERM", "all gone within 1 s of the grace", all_gone("abort-stubborn")
    ),
    Budget("1,000 timed out", "all gone within 1 s", all_gone("timeout")),
    Budget("100,000 waiting nodes", "under 256 bytes each", small_when_pending),
    Budget("10 to 100,000 nodes", "cost grows linearly", linear),
    Budget("`import trioshell`", "at most 1.3 × `import trio`", cheaper("import", "trio", 1.3)),
)


def budget_table(results: Results) -> str:
    """Each budget, what was measured, and the verdict; then why some are missed."""
    rows, reasons = [], []
    for budget in BUDGETS:
        found = budget.find(results)
        measured, verdict = "–", "not measured"
        if found is not None:
            measured, verdict = found[0], "met" if found[1] else "**missed**"
            if budget.why and not found[1]:
                reasons.append(f"- {budget.work}, {budget.text}: {budget.why}")
        rows.append([budget.work, budget.text, measured, verdict])
    table = markdown(["work", "budget", "measured", "verdict"], rows)
    return "\n".join([table, *([""] if reasons else []), *reasons])
