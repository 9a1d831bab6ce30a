"""Names of nodes folded for people, by groups and along axes if so asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trioshell._targets import resolve_targets

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

    from trioshell.cli._options import Options


class Naming:
    """Folds nodes as the options ask."""

    def __init__(self, options: Options) -> None:
        self._regroup = options.regroup
        self._source = options.group_source
        self._prefix = options.group_prefix
        if options.axis is not None:
            _fold_along(options.axis)

    def plain(self, nodes: Iterable[str]) -> str:
        """Their names folded, as messages have them: ``node[1-8]``."""
        return str(resolve_targets(nodes))

    def header(self, nodes: Iterable[str]) -> str:
        """The same as headers have them: with ``-r`` by groups, ``@compute``."""
        if not self._regroup:
            return self.plain(nodes)
        folded: NodeSet = resolve_targets(nodes)
        return str(folded.regroup(self._source, noprefix=not self._prefix))


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
            f"--axis {axis!r}: axes are counted from 1 (1,3 or 1-2), or from the end (-1)"
        )
    # Counted from 0 from here on; from the end as in Python.
    DEFAULTS.fold_axis = tuple(number - (number > 0) for number in axes)
