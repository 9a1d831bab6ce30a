"""Targets: what the caller gave as nodes, read as a `NodeSet` of names that are safe to use.

ClusterShell's library reads the node sets: folded names, operators, wildcards, groups. What
it lets pass is looked at here. A name ends up in the argument vector of ssh, in shell
command lines and on terminals, so white space, control characters and a leading ``-`` are refused;
so is ``@``, because a target is a name and nothing else: ``user@host`` would be another user
to one transport and a host that nobody knows to the next.

A name that needs no parser does not meet it, which keeps the cost linear: ClusterShell scans
a long string again for each of its names, and folds a set of several dimensions, in quadratic
time, before it lists the names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

_ACCEPTED = "a target is one name, without white space, control characters or '@', not led by '-'"
# What makes ClusterShell see more in a string than a name ("%" and ":" are ordinary to it).
_NEEDS_PARSER = re.compile(r"[][!&^*?@]")
# ClusterShell reads digits of all scripts as numbers, and would make another name of them.
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
# What means nothing to a shell and to sed, into whose hands a group source gives such a name.
_PLAIN_GROUP = re.compile(r"\w[\w.:+=%-]*")


def resolve_targets(nodes: str | NodeSet | Iterable[str], *, argument: str = "nodes") -> NodeSet:
    """Read `nodes`: a node set as a string, a `NodeSet`, or an iterable of names and node sets.

    Folded names, operators (``node[1-9]!node3``), groups (``@compute``, ``@*``) and wildcards
    are as in ClusterShell, and so is the order; a target named twice is one. An empty NodeSet
    or iterable, and a wildcard that nothing matches, are no targets. Names in a string are set
    apart by commas; an element of an iterable has no white space anywhere. Looking up a
    group waits for what the user's configuration of groups says: a file to read, or a command
    to run (which is not given our stdin).

    Returns:
        A NodeSet of the caller's own.

    Raises:
        ValueError: a set that cannot be parsed, a group that does not exist, a string or an
            element with no name in it, or a name that `check_name` refuses. It is one sentence
            that begins with `argument`.
        TypeError: `nodes`, or an element of it, is of another type.
    """
    from ClusterShell.NodeSet import NodeSet

    if isinstance(nodes, NodeSet):
        found = nodes.copy()
        _check_names(list(found), argument)
        return found
    if isinstance(nodes, str):
        return _resolve_string(nodes, argument)
    if isinstance(nodes, bytes | bytearray | memoryview) or not isinstance(nodes, Iterable):
        raise TypeError(
            f"{argument}: {_shown(nodes)} is neither a string, a NodeSet nor an iterable of strings"
        )
    return _resolve_elements(list(nodes), argument)


def check_name(name: str, *, argument: str = "nodes") -> None:
    """Refuse what cannot be the name of a target, whatever the transport.

    Raises:
        ValueError: `name` is empty, begins with ``-``, or has in it white space, an ``@``, a
            control character (or any other character of Unicode's categories C and Z), or a
            digit other than 0 to 9. One sentence that begins with `argument`.
    """
    fault = _fault_of_name(name)
    if fault:
        raise ValueError(f"{argument}: the name {_shown(name)} {fault}; {_ACCEPTED}")


def _resolve_string(text: str, argument: str) -> NodeSet:
    if not text.strip():
        raise ValueError(
            f"{argument}: {_shown(text)} has no name in it; give one or more, "
            "or None to run the command once, here"
        )
    fault = _fault_of_text(text)
    if fault:
        raise ValueError(f"{argument}: {_shown(text)} {fault}; {_ACCEPTED}")
    if _NEEDS_PARSER.search(text):
        return _parse(text, argument)
    names = [name.strip(" ") for name in text.split(",")]
    if not all(names):
        raise ValueError(f"{argument}: {_shown(text)} lacks a name before or after a comma")
    return _from_names(names, argument)


def _resolve_elements(elements: Sequence[object], argument: str) -> NodeSet:
    names: list[str] = []
    sets: list[str] = []
    for element in elements:
        if not isinstance(element, str):
            raise TypeError(f"{argument}: its element {_shown(element)} is not a string")
        if "," in element or _NEEDS_PARSER.search(element):
            if any(map(str.isspace, element)):
                raise ValueError(
                    f"{argument}: its element {_shown(element)} contains white space; {_ACCEPTED}"
                )
            sets.append(element)
        else:
            names.append(element)
    found = _from_names(names, argument)
    for element in sets:
        found.update(_resolve_string(element, argument))
    return found


def _from_names(names: Sequence[str], argument: str) -> NodeSet:
    """The set of plain names, each of which is known not to need the parser."""
    from ClusterShell.NodeSet import NodeSet, NodeSetException

    _check_names(names, argument)
    try:
        return NodeSet.fromlist(dict.fromkeys(names))
    except (NodeSetException, ValueError):  # a number of hundreds of digits
        for name in names:
            _parse(name, argument)  # one of them raises what names it
        raise


def _parse(text: str, argument: str) -> NodeSet:
    """What ClusterShell's parser makes of `text`, with all names checked."""
    from ClusterShell.NodeSet import NodeSet, NodeSetException, std_group_resolver
    from ClusterShell.NodeUtils import (
        GroupResolverError,
        GroupResolverSourceError,
        GroupSourceError,
    )
    from ClusterShell.RangeSet import RangeSetException

    found = NodeSet()
    try:
        found.update(NodeSet(text, resolver=_CarefulResolver(std_group_resolver())))
    # ValueError: our resolver's, and slips of the parser ("@[1--2--3]"). OSError: a source
    # of groups that cannot be run or read.
    except (
        NodeSetException,
        RangeSetException,
        GroupResolverError,
        GroupSourceError,
        ValueError,
        OSError,
    ) as exc:
        reason = _shown(str(exc))[1:-1]
        if isinstance(exc, GroupResolverSourceError):
            reason = f"there is no source of groups '{reason}'"
        raise ValueError(
            f"{argument}: {_shown(text)} cannot be read as a set of nodes ({reason}); accepted "
            "are names, node[1-9,12], @group, wildcards, and the operators , ! & ^ between them"
        ) from exc
    _check_names(list(found), argument)
    return found


class _CarefulResolver:
    """Looks groups up for the parser; refuses those that do not exist, instead of none.

    It keeps names that could mean something to a shell from the command of a group source,
    unless the source itself has listed them.
    """

    def __init__(self, resolver: Any) -> None:  # a GroupResolver; ClusterShell has no types
        self._resolver = resolver

    def all_nodes(self, namespace: str | None = None) -> list[str]:
        return list(self._resolver.all_nodes(namespace))

    def grouplist(self, namespace: str | None = None) -> list[str]:
        return list(self._resolver.grouplist(namespace))

    def group_nodes(self, group: str, namespace: str | None = None) -> list[str]:
        if _PLAIN_GROUP.fullmatch(group):
            nodes = self._resolver.group_nodes(group, namespace)
            if nodes or self._is_listed(group, namespace):
                return list(nodes)
        elif self._is_listed(group, namespace):
            return list(self._resolver.group_nodes(group, namespace))
        raise ValueError(f"there is no group '@{namespace + ':' if namespace else ''}{group}'")

    def _is_listed(self, group: str, namespace: str | None) -> bool:
        from ClusterShell.NodeSet import grouplist
        from ClusterShell.NodeUtils import GroupSourceError

        try:
            return group in grouplist(namespace, self._resolver)
        except GroupSourceError:  # a source need not be able to list its groups
            return False


def _check_names(names: Sequence[str], argument: str) -> None:
    """`check_name` for all, at the cost of a few passes over their text while all are fine."""
    text = "".join(names)
    if (
        _fault_of_text(text)
        or " " in text
        or "@" in text
        or not all(names)
        or any(name.startswith("-") for name in names)
    ):
        for name in names:
            check_name(name, argument=argument)


def _fault_of_name(name: str) -> str | None:
    if not name:
        return "is empty"
    if name.startswith("-"):
        return "begins with '-'"
    if " " in name:
        return "contains white space"
    if "@" in name:
        return "is not a name alone (a user is given to the transport)"
    return _fault_of_text(name)


def _fault_of_text(text: str) -> str | None:
    """What is wrong with `text`, if no name and no set of names may have it in it."""
    if not text.isprintable():  # which is true of no character of the categories C and Z but " "
        bad = next(char for char in text if not char.isprintable())
        kind = "white space" if bad.isspace() else "a control character"
        return f"contains {kind} (U+{ord(bad):04X})"
    foreign = None if text.isascii() else _FOREIGN_DIGIT.search(text)
    return f"contains a digit other than 0 to 9 (U+{ord(foreign[0]):04X})" if foreign else None


def _shown(value: object) -> str:
    """`value` as a sentence can quote it, whatever its length."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:50]}...{text[-20:]}"
