"""What nodes write, saved in a file for each (``--outdir`` and ``--errdir``)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Hashable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from trioshell import EventHandler
from trioshell.cli import _display as display

if TYPE_CHECKING:
    from trioshell.cli._handlers import Output


class Saving(EventHandler):
    """Saves the lines of every node, and hands every event on to the handler that shows them.

    A node's file is written anew, and there as soon as the node has been picked up. Only nodes
    that are running have theirs open. A file that cannot be written (any further) is left as it
    is, and everything else goes on; when the worker is closed it is told, and ``wiring.unsaved``
    says it.

    Args:
        inner: who is told everything, too.
        places: from a stream's name to the directory for its files, made if need be.
        nodes: all nodes.

    Raises:
        OSError: a directory cannot be made, or not be written to.
        ValueError: a node's name cannot be that of a file.
    """

    def __init__(self, inner: Output, places: dict[str, str], nodes: Iterable[str]) -> None:
        self._inner = inner
        self._places = {sname: Path(place) for sname, place in places.items()}
        self._open: dict[tuple[Hashable, str], BinaryIO] = {}
        # From a directory and what went wrong in it to the nodes whose files are not whole.
        self._failed: dict[tuple[Path, str], list[str]] = {}
        for node in nodes:
            if "/" in node or node in (".", ".."):
                raise ValueError(f"node {node!r} cannot be the name of a file to save output in")
        for place in self._places.values():
            place.mkdir(parents=True, exist_ok=True)
            if not os.access(place, os.W_OK | os.X_OK):
                raise PermissionError(13, os.strerror(13), str(place))

    def ev_pickup(self, worker: Any, node: Hashable) -> Awaitable[None] | None:
        for sname, place in self._places.items():
            try:
                self._open[node, sname] = open(place / str(node), "wb")  # noqa: SIM115  # until its hup
            except OSError as exc:
                self._fail(node, sname, exc)
        return self._inner.ev_pickup(worker, node)

    def ev_read(
        self, worker: Any, node: Hashable, sname: str, msg: bytes
    ) -> Awaitable[None] | None:
        file = self._open.get((node, sname))
        if file is not None:
            try:
                file.write(msg + b"\n")
            except OSError as exc:
                self._fail(node, sname, exc)
                del self._open[node, sname]
                with contextlib.suppress(OSError):  # it tries to write what it still has
                    file.close()
        return self._inner.ev_read(worker, node, sname, msg)

    def ev_written(
        self, worker: Any, node: Hashable, sname: str, size: int
    ) -> Awaitable[None] | None:
        return self._inner.ev_written(worker, node, sname, size)

    def ev_hup(self, worker: Any, node: Hashable, rc: int | None) -> Awaitable[None] | None:
        for sname in self._places:
            file = self._open.pop((node, sname), None)
            if file is not None:
                try:
                    file.close()
                except OSError as exc:
                    self._fail(node, sname, exc)
        return self._inner.ev_hup(worker, node, rc)

    async def ev_close(self, worker: Any, timedout: bool) -> None:
        told = self._inner.ev_close(worker, timedout)
        if told is not None:
            await told
        for (place, reason), nodes in self._failed.items():
            files = self._inner.wiring.naming.plain(nodes)
            text = f"{place}/{files}: the output could not be saved whole: {reason}"
            self._inner.screen.err(display.message(text, self._inner.look))
        self._failed.clear()

    def _fail(self, node: Hashable, sname: str, exc: OSError) -> None:
        """What `node` writes there from now on is not saved."""
        reason = exc.strerror or str(exc)
        self._failed.setdefault((self._places[sname], reason), []).append(str(node))
        self._inner.wiring.unsaved = True
