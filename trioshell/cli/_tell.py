"""One line from us to standard error, at once, for when no screen is running."""

from __future__ import annotations

import os
import sys

from trioshell.cli._display import Look, message


def tell(text: str) -> None:
    """Write one line, under our name; whether anybody can read it does not matter."""
    look = Look(err_terminal=sys.stderr.encoding if os.isatty(2) else None)
    try:
        os.write(2, message(text, look))
    except OSError:
        pass  # there is nobody to be told
