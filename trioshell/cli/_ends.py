"""How the runs of a worker ended: its nodes in parts that ended alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioshell._results import NotStarted, Outcome, TimedOut

if TYPE_CHECKING:
    from collections.abc import Iterable

# Stands for no return code, after all that there are.
NO_RC = 1 << 32

# The exit status for runs without a return code of their own, as clush has it; and the largest.
_NO_CODE = 255


def by_rc(worker: Any) -> dict[int, list[str]]:
    """The nodes that have run, in parts that ended alike, by rising return code.

    Nodes that were ended by us, and so have none, come last: clush forgets their output.
    """
    parts: dict[int, list[str]] = {}
    for node, result in worker.results().items():
        rc = NO_RC if result.rc is None else result.rc
        if not isinstance(result.outcome, NotStarted):
            parts.setdefault(rc, []).append(str(node))
    return dict(sorted(parts.items()))


def bad_ends(worker: Any) -> list[tuple[Outcome, list[str]]]:
    """The ways in which runs ended other than well, each with its nodes."""
    ends: dict[object, tuple[Outcome, list[str]]] = {}
    for node, result in worker.results().items():
        outcome = result.outcome
        if not result.ok:
            # A code is a code, whether the command's shell or the kernel set it.
            key: object = outcome if outcome.rc in (None, 255) else outcome.rc
            ends.setdefault(key, (outcome, []))[1].append(str(node))
    return list(ends.values())


def max_code(workers: Iterable[Any], *, fail_fast: bool) -> int:
    """The largest return code; 255 if any command ran into its timeout, or could not start.

    With `fail_fast` those that never started, or were ended for another's sake, do not count.
    """
    codes = [0]
    for worker in workers:
        for result in worker.results().values():
            if result.rc is not None:
                codes.append(result.rc)
            elif isinstance(result.outcome, TimedOut) or not fail_fast:
                codes.append(_NO_CODE)
    # A node may say any number of 32 bits, and a shell would see only the last eight of them.
    return min(max(codes), _NO_CODE)
