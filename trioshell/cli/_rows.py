"""Live gathering line by line: which lines can be shown, because all nodes have come so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

# One line, and the nodes that wrote it, in the order in which they did.
Row = list[tuple[bytes, list[str]]]


class Rows:
    """Gathers the first lines of all nodes, then the second ones, and so on (``-bL``).

    A row is complete when every node has written that line, or has ended and never will. Rows
    come out in order. What fast nodes have written ahead of the slowest one is kept.
    """

    def __init__(self, nodes: Iterable[str]) -> None:
        self._counts = dict.fromkeys(nodes, 0)  # lines so far, of the nodes that may write more
        self._rows: deque[dict[bytes, list[str]]] = deque()
        self._shown = 0
        # Invariant: how many of these nodes have not written line number `_shown` yet.
        self._missing = len(self._counts)

    def add(self, node: str, line: bytes) -> list[Row]:
        """Take a line of a node, and return the rows that it completes."""
        count = self._counts[node]
        self._counts[node] = count + 1
        while len(self._rows) <= count - self._shown:
            self._rows.append({})
        self._rows[count - self._shown].setdefault(line, []).append(node)
        if count > self._shown:
            return []
        self._missing -= 1
        return self._complete()

    def end(self, node: str) -> list[Row]:
        """The node writes no more (it may never have begun): return the rows that completes."""
        count = self._counts.pop(node, None)
        if count is None:
            return []
        self._missing -= count == self._shown
        return self._complete()

    def _complete(self) -> list[Row]:
        complete = []
        while self._rows and not self._missing:
            complete.append(list(self._rows.popleft().items()))
            self._shown += 1
            self._missing = sum(count == self._shown for count in self._counts.values())
        return complete
