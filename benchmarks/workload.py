"""What a workload is, and who competes in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeAlias

from benchmarks.meter import Meter

OURS = "trioshell"

# Does so much of the work, the part that counts inside of `with meter:`.
Work: TypeAlias = Callable[[int, Meter], None]

# Starts what all contenders need (a server), and hands out what they find it by: variables
# for their environment.
Setting: TypeAlias = Callable[[], AbstractContextManager[Mapping[str, str]]]


def nothing_lacks() -> str:
    """The answer of a contender that needs nothing but what trioshell brings."""
    return ""


def nothing_needed() -> AbstractContextManager[Mapping[str, str]]:
    """The setting of work that needs no server."""
    return nullcontext({})


@dataclass(frozen=True)
class Contender:
    """Somebody who does the work, at the best settings that we know.

    Attributes:
        name: who it is; `OURS` is what the others are compared with.
        work: does it.
        settings: how it was set up, for the report.
        lacks: why it can't take part here, or "".
        share: it is given one part in so many of the work, for it would take minutes; what
            is compared is the cost of a piece.
        program: the name of the process that does it, where it is not ours; its descriptors
            are counted.
    """

    name: str
    work: Work
    settings: str
    lacks: Callable[[], str] = nothing_lacks
    share: int = 1
    program: str | None = None


@dataclass(frozen=True)
class Workload:
    """Some work, and all who do it.

    Attributes:
        name: what it is chosen by.
        title: what is done, in some words.
        what: the same for who wants to know exactly.
        unit: what the amount counts.
        amounts: how much of it; several, where the cost is followed over the amount.
        quick: the same for who has little time.
        contenders: who does it; the first is what the others are compared with.
        counts: "seconds" or "cpu": the figure that the comparison is about.
        setting: what has to be running meanwhile.
        rounds: the most rounds that are worth their time.
    """

    name: str
    title: str
    what: str
    unit: str
    amounts: tuple[int, ...]
    quick: tuple[int, ...]
    contenders: tuple[Contender, ...]
    counts: str = "seconds"
    setting: Setting = nothing_needed
    rounds: int = 99


def needs_program(name: str) -> Callable[[], str]:
    """For `lacks`: whether a program is installed."""

    def lacks() -> str:
        return "" if shutil.which(name) else f"{name} is not installed"

    return lacks


def needs_module(name: str) -> Callable[[], str]:
    """For `lacks`: whether a module is installed."""

    def lacks() -> str:
        return "" if find_spec(name.partition(".")[0]) else f"{name} is not installed"

    return lacks
