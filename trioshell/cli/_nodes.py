"""The nodes that a command line chooses, in clush's way."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from trioshell._targets import resolve_targets
from trioshell.cli._parser import UsageError

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

    from trioshell.cli._options import Options


def choose_nodes(options: Options, warn: Callable[[str], None]) -> NodeSet:
    """All nodes of ``-w``, ``--hostfile``, ``-a`` and ``-g``, without those of ``-x`` and ``-X``.

    Args:
        warn: is told what is allowed but looks like a mistake.

    Raises:
        UsageError: no node is left, or a group does not exist.
        ValueError: a node set cannot be understood, or has names that are refused.
        OSError: a host file cannot be read.
    """
    _set_up_groups(options)
    everything = "@*" if options.group_source is None else f"@{options.group_source}:*"
    chosen = _union(
        [
            *_sets("-w", options.nodes, warn),
            *(_read_hosts(path) for path in options.hostfiles),
            *([resolve_targets(everything, argument="-a")] if options.all_nodes else []),
            *_groups("-g", options.groups),
        ]
    )
    chosen.difference_update(
        _union([*_sets("-x", options.exclude, warn), *_groups("-X", options.exclude_groups)])
    )
    if not chosen:
        raise UsageError("No node to run on: choose some by -w, -g, -a or --hostfile.")
    return _pick(chosen, options.pick)


def _set_up_groups(options: Options) -> None:
    """Have the process resolve groups as asked: from this file, by default by this source."""
    from ClusterShell.NodeSet import set_std_group_resolver_config, std_group_resolver
    from ClusterShell.NodeUtils import GroupResolverError

    if options.groups_conf is not None:
        if not os.access(options.groups_conf, os.R_OK):
            raise UsageError(f"--groupsconf {options.groups_conf}: the file cannot be read")
        set_std_group_resolver_config(options.groups_conf)
    if options.group_source is not None:
        try:
            std_group_resolver().default_source_name = options.group_source
        except GroupResolverError:
            raise ValueError(f'unknown group source: "{options.group_source}"') from None


def _union(sets: Iterable[NodeSet]) -> NodeSet:
    total = resolve_targets(())
    for nodes in sets:
        total.update(nodes)
    return total


def _sets(option: str, patterns: Iterable[str], warn: Callable[[str], None]) -> Iterator[NodeSet]:
    for pattern in patterns:
        nodes = resolve_targets(pattern, argument=option)
        if len(nodes) == 1 and os.path.exists(str(nodes)):
            warn(
                f"'{option} {nodes}' is also the name of a file here: "
                "was a pattern expanded by the shell?"
            )
        yield nodes


def _groups(option: str, names: Iterable[str]) -> Iterator[NodeSet]:
    """The nodes of groups, which are given as sets of names without ``@``."""
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException

    for pattern in names:
        try:
            groups = NodeSet(pattern, resolver=RESOLVER_NOGROUP)
        except NodeSetException as exc:
            raise ValueError(f"{option} {pattern!r} is not a set of groups: {exc}") from None
        for group in groups:
            yield resolve_targets(f"@{group}", argument=option)


def _read_hosts(path: str) -> NodeSet:
    """The nodes in a file: names and sets between white space; ``#`` starts a comment."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        words = [word for line in file for word in line.partition("#")[0].split()]
    return resolve_targets(words, argument=f"--hostfile {path}")


def _pick(nodes: NodeSet, count: int | None) -> NodeSet:
    """So many of the nodes at random; all for None or 0, as in clush."""
    if not count or count >= len(nodes):
        return nodes
    return resolve_targets(random.sample(list(nodes), count))
