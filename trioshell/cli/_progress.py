"""How far it has come, as one line that is drawn over again (``-P``)."""

from __future__ import annotations

import importlib.util
import io
import os
from typing import TYPE_CHECKING

import trio

from trioshell.cli._display import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioshell.cli._handlers import Output
    from trioshell.cli._screen import Screen

# What is over before that needs no progress shown; then it is drawn so often.
_FIRST_SECONDS = 1.33
_AGAIN_SECONDS = 1 / 3

_BAR_COLUMNS = 30

# For what is no terminal, or does not say how wide it is.
_NO_COLUMNS = 80


async def show_progress(screen: Screen, output: Output, total: int) -> None:
    """Draw and draw again how many of `total` nodes are over; runs until it is cancelled."""
    began = trio.current_time()
    await trio.sleep(_FIRST_SECONDS)
    bar = _find_bar()
    while True:
        seconds = trio.current_time() - began
        screen.set_status(
            progress_text(output.done, total, output.written, seconds) + bar(output.done / total)
        )
        await trio.sleep(_AGAIN_SECONDS)


def progress_text(done: int, total: int, written: int, seconds: float) -> str:
    """The line: nodes that are over, of all, and the rate at which input has been taken."""
    text = f"{PROGRAM}: {done}/{total}"
    if written:
        text += f" write: {bytes_text(written / max(seconds, 1e-3))}/s"
    return text


def bytes_text(count: float) -> str:
    """A number of bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def _columns() -> int:
    """How wide the terminal is: what wraps around could not be erased."""
    try:
        return os.get_terminal_size(2).columns or _NO_COLUMNS
    except OSError:
        return _NO_COLUMNS


def _find_bar() -> Callable[[float], str]:
    """Draws a part of 1 as a bar, with rich if it is installed, or as nothing."""
    if importlib.util.find_spec("rich") is None:
        return lambda _part: ""
    from rich.console import Console
    from rich.progress_bar import ProgressBar

    def draw(part: float) -> str:
        console = Console(file=io.StringIO(), width=_BAR_COLUMNS, color_system=None)
        with console.capture() as capture:
            console.print(ProgressBar(total=1, completed=part, width=_BAR_COLUMNS))
        return f" {capture.get()}".rstrip()

    return draw
