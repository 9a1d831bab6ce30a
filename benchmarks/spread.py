"""The few statistics that a noisy machine allows: medians, quartiles, and a slope."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the quartiles beside it.

    Attributes:
        low: a quarter of the values is smaller.
        median: half of them is.
        high: three quarters are.
        count: how many values there are.
    """

    low: float
    median: float
    high: float
    count: int


def spread(values: Iterable[float]) -> Spread:
    """Of at least one value. Of one or two, the quartiles lie between them."""
    known = sorted(values)
    if not known:
        raise ValueError("values: at least one is needed")
    if len(known) == 1:
        return Spread(known[0], known[0], known[0], 1)
    low, median, high = statistics.quantiles(known, n=4, method="inclusive")
    return Spread(low, median, high, len(known))


@dataclass(frozen=True)
class Growth:
    """How a cost grows with the amount: cost = factor * amount ** exponent."""

    exponent: float
    factor: float


def fit(points: Sequence[tuple[float, float]]) -> Growth:
    """The straight line that comes closest to `points` when both axes are logarithmic.

    Least squares; at least two points of different amounts, all of them above zero.
    """
    logs = [(math.log(amount), math.log(cost)) for amount, cost in points]
    slope, intercept = statistics.linear_regression(*zip(*logs, strict=True))
    return Growth(slope, math.exp(intercept))
