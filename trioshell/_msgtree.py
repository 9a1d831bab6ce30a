"""`MsgTree`: the output of many keys, gathered so that what is equal is kept once.

It is a trie of lines. A key stands at the node of its newest line, and its earlier lines are
the nodes above; so keys whose output begins alike share those nodes, and keys whose output is
equal stand at the same one. Adding a line costs O(1) whatever is in the tree, and a key costs
one entry of a dictionary however many lines it has. All else is computed when it is asked
for, and always by loops: the output of one key may be a million nodes deep.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, KeysView
from itertools import chain
from typing import Any, TypeAlias

from trioshell._message import Message

# Keys are whatever the caller uses; `Any` in what comes out spares him a cast at each use.
Match: TypeAlias = Callable[[Any], object] | None
Mapper: TypeAlias = Callable[[Any], Any] | None


class MsgTree:
    """Gathers lines under keys. Keys with equal output form a group, and share its lines.

    Keys may be anything hashable. Where a method takes `match`, only the keys for which it
    returns true count; where it takes `mapper`, what that returns stands for a key in
    the result. Groups come in the order in which their first keys (that count) were first
    added, and the keys of a group in that order as well. Messages are `Message` objects; one
    that was given out stays as it is while the tree grows or shrinks, and an iterator
    goes on with what was in the tree when it was asked for its first item.

    Args:
        trace: True for a tree that tells its keys at *every* line: `walk` and `messages` then
            go through all beginnings of messages too, and `walk_trace` works.
    """

    __slots__ = ("_ends", "_root", "_trace")

    def __init__(self, trace: bool = False) -> None:
        self._trace = trace
        self._root = _Line(b"", None)
        # Each key, in the order of first addition, and the node of its newest line.
        # Invariant: some key stands at, or below, each node but the root.
        self._ends: dict[Hashable, _Line] = {}

    def add(self, key: Hashable, line: bytes) -> None:
        """Add `line`, which is without its end, to what `key` has already.

        Raises:
            TypeError: `line` is not bytes, or `key` is not hashable. The tree is as it was.
        """
        ends = self._ends
        here = ends.get(key, self._root)
        # Most lines were said by another key before, or follow a line that nothing follows
        # yet. To compare is cheaper than to hash for a dictionary.
        then = here.first
        if then is None or then.line != line:
            then = here.branch(line)
        ends[key] = then

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The message of `key`, or `default` if nothing was added for it."""
        end = self._ends.get(key)
        return default if end is None else Message.from_source(end)

    def keys(self) -> KeysView[Any]:
        """A view of the keys, in the order of first addition."""
        return self._ends.keys()

    def items(self, match: Match = None, mapper: Mapper = None) -> Iterator[tuple[Any, Message]]:
        """Each key with its message, in the order of first addition."""
        messages: dict[_Line, Message] = {}
        for key, end in list(self._ends.items()):
            if match is None or match(key):
                message = messages.get(end)
                if message is None:
                    message = messages[end] = Message.from_source(end)
                yield key if mapper is None else mapper(key), message

    def messages(self, match: Match = None) -> Iterator[Message]:
        """The messages of `walk`, without the keys."""
        return (message for message, _ in self.walk(match))

    def walk(
        self, match: Match = None, mapper: Mapper = None
    ) -> Iterator[tuple[Message, list[Any]]]:
        """Each different message, with a list of the keys that have it.

        In a tree with `trace` each beginning of a message counts as one, and the keys are
        all whose output begins so, in the order of `walk_trace`.
        """
        if self._trace:
            for node, keys, _ in self._descend(match):
                yield Message.from_source(node), _mapped(keys, mapper)
        else:
            for node, keys in self._groups(match).items():
                yield Message.from_source(node), _mapped(keys, mapper)

    def walk_trace(
        self, match: Match = None, mapper: Mapper = None
    ) -> Iterator[tuple[bytes, list[Any], int, int]]:
        """Each line that was added after the same lines, once: (line, keys, depth, children).

        `keys` are those with this line at this place, `depth` is the number of the line
        (from 1), and `children` how many different lines follow it (those that only keys
        without a match have included). After a line come those that follow it, one with all its
        own followers after the other, in the order of their first keys.

        Raises:
            ValueError: at the call, for a tree that was made without `trace`.
        """
        if not self._trace:
            raise ValueError(
                "walk_trace() is for a tree made by MsgTree(trace=True), and this was made without"
            )
        return (
            (node.line, _mapped(keys, mapper), depth, node.children)
            for node, keys, depth in self._descend(match)
        )

    def remove(self, match: Match = None) -> None:
        """Forget all keys for which `match` returns true (without it, all keys).

        The lines that no other key has are freed. A key that is added again comes last.
        """
        if match is None:
            self.clear()
            return
        gone = [key for key in self._ends if match(key)]
        bare = dict.fromkeys(self._ends.pop(key) for key in gone)
        wanted = set(self._ends.values())
        for end in bare:
            node = end
            # A node that is not dropped by its parent was dropped, with all that could be
            # above it, when the tree was climbed from another end.
            while node not in wanted and not node.children and node.parent is not None:
                if not node.parent.drop(node):
                    break
                node = node.parent

    def clear(self) -> None:
        """Forget everything."""
        self._ends = {}
        self._root = _Line(b"", None)

    def __getitem__(self, key: Hashable) -> Message:
        return Message.from_source(self._ends[key])

    def __contains__(self, key: object) -> bool:
        return key in self._ends

    def __iter__(self) -> Iterator[Any]:
        return iter(self._ends)

    def __len__(self) -> int:
        return len(self._ends)

    def _groups(self, match: Match) -> dict[_Line, list[Any]]:
        """The keys that count, by the node at which they stand."""
        groups: dict[_Line, list[Any]] = {}
        for key, end in self._ends.items():
            if match is None or match(key):
                groups.setdefault(end, []).append(key)
        return groups

    def _descend(self, match: Match) -> Iterator[tuple[_Line, list[Any], int]]:
        """All nodes at and above those of the keys that count: node, keys from there on, depth."""
        below: dict[_Line, list[list[Any]]] = {}
        followers: dict[_Line, list[_Line]] = {}
        for end, keys in self._groups(match).items():
            node = end
            while node.parent is not None:
                if node in below:
                    below[node].append(keys)
                else:
                    below[node] = [keys]
                    followers.setdefault(node.parent, []).append(node)
                node = node.parent
        ranks = {key: rank for rank, key in enumerate(self._ends)}
        stack = [(node, 1) for node in reversed(followers.get(self._root, ()))]
        while stack:
            node, depth = stack.pop()
            # Each group is in the order of addition; a union of several has to be put so.
            keys = list(chain.from_iterable(below[node]))
            if len(below[node]) > 1:
                keys.sort(key=ranks.__getitem__)
            yield node, keys, depth
            stack.extend((after, depth + 1) for after in reversed(followers.get(node, ())))


class _Line:
    """A node: one line, after all the lines above it. It is the source of their `Message`.

    Invariant: `line` and `parent` never change, even when the parent has dropped the node, so
    that a message can be read at any time.
    """

    __slots__ = ("first", "line", "others", "parent")

    def __init__(self, line: bytes, parent: _Line | None) -> None:
        self.line = line
        self.parent = parent
        # What follows. Most nodes have one follower or none, and do without a dictionary.
        # Invariant: if there are others, there is a first; and no two have the same line.
        self.first: _Line | None = None
        self.others: dict[bytes, _Line] | None = None

    @property
    def children(self) -> int:
        """How many different lines follow this one."""
        return (self.first is not None) + len(self.others or ())

    def branch(self, line: bytes) -> _Line:
        """The node of `line`, which is not the first one's, below this; made if need be."""
        if self.others is not None:
            known = self.others.get(line)
            if known is not None:
                return known
        if not isinstance(line, bytes):
            raise TypeError(f"line must be bytes, without its end, not {line!r}")
        node = _Line(line, self)
        if self.first is None:
            self.first = node
        elif self.others is None:
            self.others = {line: node}
        else:
            self.others[line] = node
        return node

    def drop(self, child: _Line) -> bool:
        """Let go of `child`; False if it is not, or not any more, below this."""
        others = self.others
        if self.first is child:
            self.first = others.pop(next(iter(others))) if others else None
            return True
        if others is not None and others.get(child.line) is child:
            del others[child.line]
            return True
        return False

    def lines(self) -> list[bytes]:
        """The lines from the top of the tree down to this one."""
        lines = []
        node = self
        while node.parent is not None:
            lines.append(node.line)
            node = node.parent
        lines.reverse()
        return lines


def _mapped(keys: list[Any], mapper: Mapper) -> list[Any]:
    return keys if mapper is None else [mapper(key) for key in keys]
