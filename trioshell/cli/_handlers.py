"""What is shown of a worker while it runs and when it is closed: a handler for each form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioshell import EventHandler
from trioshell._results import Aborted, NotStarted, Outcome, Signaled, TimedOut
from trioshell.cli import _display as display
from trioshell.cli._ends import NO_RC, bad_ends, by_rc
from trioshell.cli._options import QUIET, VERBOSE
from trioshell.cli._rows import Row, Rows

if TYPE_CHECKING:
    from signal import Signals

    from trioshell.cli._display import Group, Look
    from trioshell.cli._naming import Naming
    from trioshell.cli._options import Options
    from trioshell.cli._screen import Screen


@dataclass
class Wiring:
    """What every handler is given.

    Attributes:
        ended_by: the signal that ended us, once one has: whoever sent it knows why nodes were
            aborted.
        unsaved: True once some output could not be saved in a file.
    """

    options: Options
    screen: Screen
    look: Look
    naming: Naming
    ended_by: Signals | None = None
    unsaved: bool = False

    def was_cut_off(self, outcome: Outcome) -> bool:
        """Whether a run that ended so was ended because we were to end."""
        if self.ended_by is None:
            return False
        # A command that is being started while ^C is typed may still get it itself.
        return isinstance(outcome, Aborted | NotStarted) or outcome == Signaled(self.ended_by)


class Output(EventHandler):
    """What all forms have in common: standard error as it comes, and how it all ended.

    Attributes:
        running: the nodes that have been picked up and are not over, in that order.
        done: how many are over.
        written: how many bytes of input nodes have taken.
        gathers: True if it needs the worker to keep the output.
    """

    gathers = False

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.options = wiring.options
        self.look = wiring.look
        self.screen = wiring.screen
        self.running: dict[Hashable, None] = {}
        self.done = 0
        self.written = 0
        self._labels: dict[tuple[Hashable, str], bytes] = {}
        self._writers: dict[str, tuple[Callable[[bytes], None], Any, Any]] = {
            "stdout": (self.screen.out, display.out_label, self.look.out),
            "stderr": (self.screen.err, display.err_label, self.look.err),
        }

    def ev_pickup(self, worker: Any, node: Hashable) -> Awaitable[None] | None:
        self.running[node] = None
        return None

    def ev_written(
        self, worker: Any, node: Hashable, sname: str, size: int
    ) -> Awaitable[None] | None:
        self.written += size
        return None

    def ev_hup(self, worker: Any, node: Hashable, rc: int | None) -> Awaitable[None] | None:
        self.running.pop(node, None)
        self.done += 1
        if rc != 0 and self.options.fail_fast:
            worker.task.abort()
        return None

    def show_line(self, node: Hashable, sname: str, msg: bytes) -> Awaitable[None] | None:
        """Show one line of a node; what is returned, if anything, has to be awaited."""
        write, make_label, clean = self._writers[sname]
        label = self._labels.get((node, sname))
        if label is None:
            label = self._labels[node, sname] = make_label(node, self.look)
        write(label + clean(msg) + b"\n")
        return self.screen.wait_room() if self.screen.full else None

    def tell_ends(self, worker: Any, *, only_without_code: bool = False) -> None:
        """Say of the runs that did not end well how they did, folded.

        With `only_without_code`, only of those without a return code.
        """
        for outcome, nodes in bad_ends(worker):
            if only_without_code and outcome.rc is not None:
                continue
            if self._is_told(outcome):
                text = self.wiring.naming.plain(nodes)
                self.screen.err(display.end_message(outcome, text, len(nodes), self.look))
        self._tell_truncated(worker)

    def _tell_truncated(self, worker: Any) -> None:
        """Say which nodes' output is not whole, since it was not to grow beyond a bound."""
        if self.options.max_output_bytes is None and self.options.max_line_bytes is None:
            return
        missing = {
            str(node): result.missing_bytes
            for node, result in worker.results().items()
            if result.truncated
        }
        if missing:
            text = self.wiring.naming.plain(missing)
            self.screen.err(display.truncated_message([*missing.values()], text, self.look))

    def _is_told(self, outcome: Outcome) -> bool:
        """Whether this outcome is told: with ``-q -S`` the exit status says it all."""
        if self.wiring.was_cut_off(outcome):
            return False
        return self.options.verbosity > QUIET or not self.options.max_rc


class Live(Output):
    """Every line as it comes (the form without ``-b`` and ``-L``)."""

    def ev_read(
        self, worker: Any, node: Hashable, sname: str, msg: bytes
    ) -> Awaitable[None] | None:
        return self.show_line(node, sname, msg)

    def ev_hup(self, worker: Any, node: Hashable, rc: int | None) -> Awaitable[None] | None:
        if rc:
            outcome = worker.results()[node].outcome
            if self._is_told(outcome):
                self.screen.err(display.end_message(outcome, str(node), 1, self.look))
        return super().ev_hup(worker, node, rc)

    def ev_close(self, worker: Any, timedout: bool) -> Awaitable[None] | None:
        self.tell_ends(worker, only_without_code=True)
        return None

    def _is_told(self, outcome: Outcome) -> bool:
        return isinstance(outcome, TimedOut) or super()._is_told(outcome)


class Gathered(Output):
    """Equal output once, when all is over (``-b``, ``-B``, ``--diff``)."""

    gathers = True

    def ev_read(
        self, worker: Any, node: Hashable, sname: str, msg: bytes
    ) -> Awaitable[None] | None:
        if sname == worker.SNAME_STDERR or self.options.verbosity >= VERBOSE:
            return self.show_line(node, sname, msg)
        return None

    async def ev_close(self, worker: Any, timedout: bool) -> None:
        for piece in self.pieces(worker):
            self.screen.out(piece)
            await self.screen.wait_room()
        self.tell_ends(worker)

    def pieces(self, worker: Any) -> Iterator[bytes]:
        """What is shown of all that was gathered."""
        parts = by_rc(worker)
        if self.options.diff:
            # What was cut off in the middle differs from everything, which says nothing.
            parts.pop(NO_RC, None)
        groups = (group for part in parts.values() for group in self._groups(worker, part))
        if self.options.diff:
            return display.diff(list(groups), self.look)
        return (display.block(group, self.look) for group in groups)

    def _groups(self, worker: Any, nodes: list[str]) -> Iterator[Group]:
        """The groups of equal output among nodes that ended alike; those without any last."""
        group = self.wiring.naming.group
        silent = dict.fromkeys(nodes)
        groups = []
        for message, equal in worker.iter_buffers(silent):
            names = list(equal)
            groups.append(group(names, bytes(message) + b"\n"))
            for name in names:
                del silent[name]
        yield from display.order(groups)
        if silent:
            yield group(silent, b"")[1]


class Ordered(Gathered):
    """All lines in node order, when all is over (``-L``)."""

    def pieces(self, worker: Any) -> Iterator[bytes]:
        for nodes in by_rc(worker).values():
            for node in nodes:
                message = worker.node_buffer(node)
                if message:
                    group = display.Group(node, 1, bytes(message) + b"\n")
                    yield display.labelled(group, self.look)


class LiveGathered(Output):
    """Equal lines once, as soon as all nodes have come so far (``-bL``)."""

    def __init__(self, wiring: Wiring, nodes: Iterable[str]) -> None:
        super().__init__(wiring)
        self._rows = Rows(nodes)

    def ev_read(
        self, worker: Any, node: Hashable, sname: str, msg: bytes
    ) -> Awaitable[None] | None:
        if sname == worker.SNAME_STDERR:
            return self.show_line(node, sname, msg)
        return self._show(self._rows.add(str(node), msg))

    def ev_hup(self, worker: Any, node: Hashable, rc: int | None) -> Awaitable[None] | None:
        super().ev_hup(worker, node, rc)
        return self._show(self._rows.end(str(node)))

    async def ev_close(self, worker: Any, timedout: bool) -> None:
        for node in worker.nodes:  # those that never started
            told = self._show(self._rows.end(node))
            if told is not None:
                await told
        self.tell_ends(worker)

    def _show(self, rows: list[Row]) -> Awaitable[None] | None:
        for row in rows:
            groups = [self.wiring.naming.group(nodes, line + b"\n") for line, nodes in row]
            for group in display.order(groups):
                self.screen.out(display.labelled(group, self.look))
        return self.screen.wait_room() if self.screen.full else None


class Json(Output):
    """One JSON object a node, as soon as it is over (``--json``)."""

    gathers = True

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._told: set[Hashable] = set()

    def ev_hup(self, worker: Any, node: Hashable, rc: int | None) -> Awaitable[None] | None:
        super().ev_hup(worker, node, rc)
        return self._tell(worker, node)

    async def ev_close(self, worker: Any, timedout: bool) -> None:
        for node in worker.nodes:  # those that never started
            if node not in self._told:
                self._tell(worker, node)
                await self.screen.wait_room()

    def _tell(self, worker: Any, node: Hashable) -> Awaitable[None] | None:
        from trioshell.cli._json import result_line

        self._told.add(node)
        self.screen.out(result_line(worker.results()[node]))
        return self.screen.wait_room() if self.screen.full else None


class Copying(Live):
    """What a copy says: errors as they come, and with ``-v`` what has been copied."""

    def ev_close(self, worker: Any, timedout: bool) -> Awaitable[None] | None:
        copied = [str(node) for node, result in worker.results().items() if result.ok]
        if copied and self.options.verbosity >= VERBOSE:
            nodes = self.wiring.naming.plain(copied)
            self.screen.out(
                display.copied_message(
                    worker.source, worker.dest, nodes, reverse=worker.reverse, look=self.look
                )
            )
        return super().ev_close(worker, timedout)


def make_handler(wiring: Wiring, nodes: Iterable[str]) -> Output:
    """The handler for the form of output that the options ask for."""
    options = wiring.options
    if options.json:
        return Json(wiring)
    if options.copy or options.rcopy:
        return Copying(wiring)
    if options.line_mode:
        return LiveGathered(wiring, nodes) if options.gather else Ordered(wiring)
    return Gathered(wiring) if options.gather else Live(wiring)
