"""The interactive mode: commands typed one after the other, at a prompt like clush's."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trioshell import TrioshellError
from trioshell._targets import resolve_targets
from trioshell.cli._program import Program
from trioshell.cli._signals import signals
from trioshell.cli._tell import tell

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

    from trioshell.cli._naming import Naming
    from trioshell.cli._options import Options
    from trioshell.transports import Transport

_PROMPT = "trioshell> "
_HISTORY = Path("~/.trioshell_history")

# What a command that runs here, once, is labelled with, as in clush.
_LOCAL = "LOCAL"

# A command that was interrupted brings us back to the prompt; these end us as well.
_FATAL = {128 + signal.SIGTERM, 128 + signal.SIGHUP}


class Conversation:
    """Reads commands and runs them, over connections that stay open from one to the next.

    Args:
        options: how each is run; ``=`` changes them.
        nodes: where; ``@``, ``+`` and ``-`` change them.
        transport: the way to the nodes.
        naming: folds their names.
        ask: shows a prompt, and returns the line typed, or None at the end; blocks.
        first_input: goes to every command (but those that run here) as its input.
    """

    def __init__(
        self,
        options: Options,
        nodes: NodeSet,
        transport: Transport,
        naming: Naming,
        ask: Callable[[str], str | None],
        first_input: bytes = b"",
    ) -> None:
        self._options = options
        self._nodes = nodes
        self._transport = transport
        self._naming = naming
        self._ask = ask
        self._first_input = first_input
        self._status = 0

    async def run(self) -> int:
        """Until ``quit``, the end of the input, or a signal; returns the exit status.

        That is 0, with ``-S`` the one of the last command, or 128 + n after signal n.
        """
        _say("Enter 'quit' to leave this interactive mode")
        self._say_nodes()
        async with self._transport:
            while self._status not in _FATAL:
                line = await self._next_line()
                if line is None or line.strip() == "quit":
                    break
                try:
                    await self._obey(line.strip())
                except (ValueError, OSError, TrioshellError) as exc:
                    tell(str(exc))  # nothing has been started, and whoever types knows why
        return self._status

    async def _next_line(self) -> str | None:
        """What is typed; None at the end, or after a signal."""
        line: str | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(self._hear, nursery.cancel_scope)
            # In a thread, so that signals are heard meanwhile; it dies with the program.
            line = await trio.to_thread.run_sync(self._ask, _PROMPT, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()
        return line

    async def _hear(self, asking: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        with signals() as arriving:
            task_status.started()
            async for signum in arriving:
                self._status = 128 + signum
                if signum == signal.SIGINT:
                    _say("Keyboard interrupt.")
                asking.cancel()

    async def _obey(self, line: str) -> None:
        """Do what one line says; ValueError if it cannot be done."""
        first, rest = line[:1], line[1:].strip()
        if first == "?":
            self._say_nodes()
        elif first and first in "@+-":
            self._choose(first, rest)
        elif line == "=":
            self._options = replace(self._options, gather=not self._options.gather)
            form = "gathered" if self._options.gather else "standard"
            _say(f"Switching to {form} output format")
        elif first == "!":
            # Not a template here: a percent sign is a percent sign.
            await self._run(rest.replace("%", "%%"), resolve_targets([_LOCAL]), "exec", b"")
        else:
            await self._run(line, self._nodes, self._transport, self._first_input)

    def _choose(self, operator: str, text: str) -> None:
        nodes = resolve_targets(text, argument="the node set")
        if operator == "+":
            nodes.update(self._nodes)
        elif operator == "-":
            nodes = self._nodes.difference(nodes)
        if not nodes:
            raise ValueError("no node would be left")
        self._nodes = nodes
        self._say_nodes()

    async def _run(
        self, command: str, nodes: NodeSet, transport: str | Transport, first_input: bytes
    ) -> None:
        if command.strip():
            options = replace(self._options, words=(command,))
            program = Program(options, nodes, transport, self._naming, first_input)
            self._status = await program.run()

    def _say_nodes(self) -> None:
        _say(f"Working with nodes: {self._naming.plain(map(str, self._nodes))}")


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode(errors="surrogateescape"))


def ask(prompt: str) -> str | None:
    """Show `prompt`, and return the line typed, or None at the end of the input; blocks."""
    try:
        return input(prompt)
    except EOFError:
        _say("")  # the prompt's line has no end yet
        return None


@contextmanager
def typing(history_size: int) -> Iterator[None]:
    """Lines can be edited and recalled, from one day to the next; the terminal is left as it was.

    Args:
        history_size: how many lines are kept; below 0 all.
    """
    import readline  # what `input` edits lines with, once it has been imported

    settings = termios.tcgetattr(0)
    history = str(_HISTORY.expanduser())
    with suppress(OSError):  # there is none yet, or it is not for us to read
        readline.read_history_file(history)
    readline.set_history_length(history_size)
    try:
        yield
    finally:
        with suppress(OSError):
            readline.write_history_file(history)
        # A line that was being edited when a signal came leaves the terminal as readline has it.
        termios.tcsetattr(0, termios.TCSADRAIN, settings)
