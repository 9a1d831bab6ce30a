"""The running of what a command line asks for: workers, input, screen and signals together."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import trio

from trioshell import Task
from trioshell.cli import _display as display
from trioshell.cli._ends import max_code
from trioshell.cli._handlers import Wiring, make_handler
from trioshell.cli._options import QUIET
from trioshell.cli._progress import show_progress
from trioshell.cli._screen import Screen
from trioshell.cli._signals import Answer, Interrupts, signals
from trioshell.cli._stdin import feed, is_foreground_terminal, read_typed
from trioshell.cli._tell import tell
from trioshell.cli._work import schedule

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

    from trioshell.cli._naming import Naming
    from trioshell.cli._options import Options
    from trioshell.transports import Transport

# How long the screen may stand still before a program that is to end does not wait for it.
_PATIENCE_SECONDS = 3.0

_ENDED_BY = {
    signal.SIGINT: "Keyboard interrupt",
    signal.SIGTERM: "Terminated",
    signal.SIGHUP: "Hangup",
}


class Program:
    """One run of a command, or of a copy, on all nodes, for whoever is at the command line.

    Args:
        options: what was asked for.
        nodes: all nodes.
        transport: the way to them.
        naming: folds their names.
        first_input: goes to the commands ahead of our own standard input.

    Raises:
        ValueError: or TypeError; something that was asked for is wrong. Nothing has started.
        OSError: a directory for the output cannot be written to.
    """

    def __init__(
        self,
        options: Options,
        nodes: NodeSet,
        transport: str | Transport,
        naming: Naming,
        first_input: bytes = b"",
    ) -> None:
        self._options = options
        self._nodes = nodes
        self._naming = naming
        self._look = make_look(options)
        self._screen = Screen(self._abort, encoding=self._look.err_terminal or "utf-8")
        self._wiring = Wiring(options, self._screen, self._look, naming)
        self._output = make_handler(self._wiring, map(str, nodes))
        self._attended = is_foreground_terminal(0) and is_foreground_terminal(1)
        self._interrupts = Interrupts(careful=self._attended and not options.gather)
        self._task = Task(
            fanout=options.fanout,
            transport=transport,
            connect_timeout=options.connect_timeout,
            stderr=not options.gather_all,
            max_output_bytes=options.max_output_bytes,
            max_line_bytes=options.max_line_bytes,
        )
        self._workers = schedule(
            self._task,
            options,
            nodes,
            self._output,
            stdin=bool(first_input) or _reads_stdin(options),
        )
        self._first_input = first_input

    async def run(self) -> int:
        """Run it to its end, and return the exit status.

        Whatever ends it, nothing that it started is left when it returns.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._screen.run)
            await nursery.start(self._obey_signals)
            async with trio.open_nursery() as helpers:
                async with self._task:
                    self._start_helpers(helpers)
                helpers.cancel_scope.cancel()
            self._screen.set_status("")
            self._tell_interrupt()
            await self._screen.wait_written()
            nursery.cancel_scope.cancel()
        return self._exit_status()

    def _start_helpers(self, helpers: trio.Nursery) -> None:
        options = self._options
        reads = _reads_stdin(options)
        if reads or self._first_input:
            helpers.start_soon(feed, self._workers[0], self._first_input, 0 if reads else None)
        if self._attended and not options.no_stdin:
            helpers.start_soon(self._report_on_enter)
        gathers = options.gather or options.line_mode
        on_terminal = os.isatty(2) and options.verbosity > QUIET
        if options.progress or (gathers and on_terminal):
            total = len(self._nodes) * len(self._workers)
            helpers.start_soon(show_progress, self._screen, self._output, total)

    # -- being interrupted -----------------------------------------------------------------

    async def _obey_signals(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            with signals() as arriving:
                task_status.started()
                async for signum in arriving:
                    answer = self._interrupts.answer(signum, trio.current_time())
                    if answer is Answer.REPORT:
                        self._report("interrupt (one more within 1 sec to abort)")
                    elif answer is Answer.HURRY:
                        self._screen.drop()
                    else:
                        self._wiring.ended_by = signum
                        self._abort()
                        nursery.start_soon(self._lose_patience)

    def _abort(self) -> None:
        self._task.abort()

    async def _lose_patience(self) -> None:
        """Give the screen up once it stands still: what is to end must not wait for a pager."""
        seen = -1
        while seen != self._screen.steps or not self._screen.busy:
            seen = self._screen.steps
            await trio.sleep(_PATIENCE_SECONDS)
        self._screen.drop()

    def _report(self, what: str) -> None:
        """Say `what`, and which nodes are still running."""
        running = [str(node) for node in self._output.running]
        if what:
            self._screen.err(display.message(what, self._look))
        if running:
            nodes = display.counted(self._naming.plain(running), len(running))
            self._screen.err(display.message(f"{nodes}: command in progress", self._look))
        waiting = len(self._nodes) * len(self._workers) - self._output.done - len(running)
        if waiting > 0:
            self._screen.err(display.message(f"{waiting} more waiting to start", self._look))

    async def _report_on_enter(self) -> None:
        """Whoever sits there and presses Enter wants to know."""
        while await read_typed():
            self._report("")

    def _tell_interrupt(self) -> None:
        ended_by = self._wiring.ended_by
        if ended_by is None:
            return
        left = [
            str(node)
            for worker in self._workers
            for node, result in worker.results().items()
            if self._wiring.was_cut_off(result.outcome)
        ]
        text = _ENDED_BY[ended_by]
        if left:
            text += f" ({self._naming.plain(left)} did not complete)"
        self._screen.err(self._look.err(text.encode(errors="surrogateescape")) + b".\n")

    # -- the end -----------------------------------------------------------------------------

    def _exit_status(self) -> int:
        """The exit status of the whole: ours if we failed, else, if asked for, the nodes'."""
        if self._interrupts.ended_by is not None:
            return 128 + self._interrupts.ended_by
        failure = self._screen.failure
        if failure is not None:
            if not isinstance(failure, BrokenPipeError):
                tell(f"the output cannot be written: {failure.strerror}")
            return 1
        if self._wiring.unsaved:
            return 1
        if not self._options.max_rc:
            return 0
        return max_code(self._workers, fail_fast=self._options.fail_fast)


def _reads_stdin(options: Options) -> bool:
    """Whether our standard input is for the commands: unless it is a terminal, as in clush."""
    return not (options.no_stdin or options.copy or options.rcopy or os.isatty(0))


def make_look(options: Options) -> display.Look:
    """How text is to look, from what was asked for and where it goes."""
    talks = options.verbosity > QUIET
    return display.Look(
        label=options.label,
        count=options.node_count and talks,
        message_count=talks,
        color=_wants_color(options),
        out_terminal=sys.stdout.encoding if os.isatty(1) else None,
        err_terminal=sys.stderr.encoding if os.isatty(2) else None,
    )


def _wants_color(options: Options) -> bool:
    if options.color in ("always", "never"):
        return options.color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if options.color == "" and os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return os.isatty(1) and (options.gather_all or os.isatty(2))
