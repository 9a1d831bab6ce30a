"""Names of nodes folded for people, by groups and along axes if so asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trioshell._targets import resolve_targets
from trioshell.cli._display import Group

if TYPE_CHECKING:
    from trioshell.cli._options import Options

# How many foldings are remembered. Line by line it is mostly the same few sets of nodes.
_MOST_FOLDED = 256


class Naming:
    """Folds nodes as the options ask."""

    def __init__(self, options: Options) -> None:
        self._regroup = options.regroup
        self._source = options.group_source
        self._prefix = options.group_prefix
        self._folded: dict[frozenset[str], tuple[str, str]] = {}
        if options.axis is not None:
            _fold_along(options.axis)

    def plain(self, nodes: Iterable[str]) -> str:
        """Their names folded, as messages have them: ``node[1-8]``."""
        return str(resolve_targets(nodes))

    def group(self, nodes: Iterable[str], body: bytes) -> tuple[str, Group]:
        """The name of the first of `nodes`, in node order, and the group that has written `body`.

        The group's name is folded as headers have it: with ``-r`` by groups, ``@compute``.
        """
        names = frozenset(nodes)
        known = self._folded.get(names)
        if known is None:
            if len(self._folded) >= _MOST_FOLDED:
                self._folded.clear()
            known = self._folded[names] = self._fold(names)
        first, folded = known
        return first, Group(folded, len(names), body)

    def _fold(self, names: Iterable[str]) -> tuple[str, str]:
        nodes = resolve_targets(names)
        first = str(next(iter(nodes)))
        if not self._regroup:
            return first, str(nodes)
        return first, str(nodes.regroup(self._source, noprefix=not self._prefix))


def _fold_along(axis: str) -> None:
    """Have the whole process fold names with several numbers along these axes.

    Raises:
        ValueError: they are not ``1,3``, ``1-2`` or one negative number.
    """
    from ClusterShell.Defaults import DEFAULTS
    from ClusterShell.RangeSet import RangeSet, RangeSetException

    try:
        axes = [int(axis)] if axis.startswith("-") else list(RangeSet(axis).intiter())
    except (ValueError, RangeSetException):
        axes = []
    if not axes or 0 in axes:
        raise ValueError(
            f"--axis {axis!r}: it takes axes from 1 on (1,3 or 1-2), or -1 for the last"
        )
    # Counted from 0 from here on; from the end as in Python.
    DEFAULTS.fold_axis = tuple(number - (number > 0) for number in axes)
