"""What a peer has said, quoted in a sentence of ours."""

from __future__ import annotations

from typing import Final

# A reason is to be read by a person; a peer can send megabytes as the reason of a refusal.
_LONGEST_CHARS: Final = 300


def quoted(text: object) -> str:
    """`text` on one line, and no longer than a person would read; else as it is.

    What it could do to a terminal is the business of whoever shows it there.
    """
    line = " ".join(str(text).splitlines())
    return line if len(line) <= _LONGEST_CHARS else f"{line[:_LONGEST_CHARS]}..."
