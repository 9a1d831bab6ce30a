"""The one suite that every transport passes: the contract of `Transport`, clause by clause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from trioshell._targets import resolve_targets
from trioshell.testing._clauses import CLAUSES, Clause
from trioshell.testing._commands import COMMANDS
from trioshell.testing._end_clauses import END_CLAUSES
from trioshell.testing._probe import Probe
from trioshell.testing._task_clauses import TASK_CLAUSES
from trioshell.transports._base import Command, Transport

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet


@dataclass(frozen=True, slots=True)
class Checked:
    """What `check_transport` has found to hold.

    Attributes:
        clauses: the names of the clauses that were checked, in that order.
        excluded: the clauses that were not, each with the reason that was given.
    """

    clauses: tuple[str, ...]
    excluded: Mapping[str, str]


async def check_transport(
    transport: Transport,
    nodes: str | NodeSet | Iterable[str],
    *,
    unreachable: str | None = None,
    exclude: Mapping[str, str] | None = None,
    commands: Mapping[str, Command] | None = None,
    clause_timeout: float = 30.0,
) -> Checked:
    """Check that `transport` keeps the whole contract of `Transport` and `Session`.

    Each clause is an experiment on real commands: first on the sessions themselves, then
    through a `Task`. The targets must be POSIX machines with ``sh``, ``awk`` and ``ps`` (or
    /proc), or nodes of a `SimulatedTransport` that act like one (`posix_like`). Nothing that
    a clause started is left running if the transport keeps its promises. Takes a few
    seconds for a local transport.

    Args:
        transport: the transport under test. It is entered here, and left.
        nodes: one or more targets that it reaches.
        unreachable: a target that it cannot reach; to be given unless the clauses that
            need one, "unreachable" and "task_unreachable", are excluded.
        exclude: the names of clauses that this transport cannot keep by its nature, each
            with the reason why.
        commands: other commands in the place of those of the suite, by name, for targets
            that need them; `trioshell.testing.COMMANDS` has those of the suite. MARK in a
            command becomes a number by which its processes are known.
        clause_timeout: the seconds after which a clause that is not over has failed.

    Returns:
        The names of the clauses that hold, and what was excluded.

    Raises:
        AssertionError: a clause does not hold; names the clause, the promise, and what was
            seen instead. The clauses after it have not been tried.
        ValueError: an argument is none of these.
    """
    exclude = {} if exclude is None else dict(exclude)
    clauses = [*CLAUSES, *END_CLAUSES, *TASK_CLAUSES]
    _check_arguments(clauses, unreachable, exclude, commands)
    targets = resolve_targets(nodes)
    if not targets:
        raise ValueError("nodes: at least one target, not an empty set")
    texts = {**COMMANDS, **(commands or {})}
    checked = []
    async with transport:
        for clause in clauses:
            if clause.name not in exclude:
                await _check(clause, Probe(transport, targets, texts, unreachable), clause_timeout)
                checked.append(clause.name)
    return Checked(tuple(checked), exclude)


def _check_arguments(
    clauses: list[Clause],
    unreachable: str | None,
    exclude: Mapping[str, str],
    commands: Mapping[str, Command] | None,
) -> None:
    names = [clause.name for clause in clauses]
    for name, reason in exclude.items():
        if name not in names:
            raise ValueError(f"exclude: there is no clause {name!r}, only {', '.join(names)}")
        if not reason.strip():
            raise ValueError(f"exclude: a reason is needed for leaving out {name!r}")
    for name in commands or ():
        if name not in COMMANDS:
            raise ValueError(f"commands: there is no {name!r}, only {', '.join(COMMANDS)}")
    for name in ("unreachable", "task_unreachable"):
        if unreachable is None and name not in exclude:
            raise ValueError(
                "unreachable: the name of a target that cannot be reached is needed, or a reason "
                f"in exclude={{{name!r}: ...}} why there is none"
            )


async def _check(clause: Clause, probe: Probe, clause_timeout: float) -> None:
    """Try one clause; whatever goes wrong in it is its failure."""
    try:
        with trio.move_on_after(clause_timeout) as scope:
            await clause.check(probe)
    except Exception as error:  # the transport under test may raise anything
        cause = _first(error)
        seen = str(cause) if isinstance(cause, AssertionError) else repr(cause)
        raise AssertionError(f"{clause.name}: {clause.promise}. Seen: {seen}") from error
    if scope.cancelled_caught:
        seen = f"not over after {clause_timeout:g} s"
        raise AssertionError(f"{clause.name}: {clause.promise}. Seen: {seen}")


def _first(error: Exception) -> Exception:
    """The error itself, or the first one out of a nursery's group."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
