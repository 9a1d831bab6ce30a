"""Chunks of output cut into lines, at ``\\n`` and at nothing else.

Output comes in chunks that begin and end anywhere. Two things are done with it, apart from
each other because they have different rates:

- `LineCutter` turns the chunks of one stream into *blocks*: bytes that hold whole lines.
- `split_lines` turns a block into a list of lines.

Goals, in this order: no byte is lost, reordered or decoded; the same lines come out whatever
the chunking; and the cost of both is linear in the bytes that come in. The unlucky case
is one endless line in many small chunks. What has been searched for a ``\\n`` is therefore never
searched again (only the new chunk is), and the parts of the unfinished line lie side by side until
it is finished and copied once: large chunks as they came, small ones in growing buffers, whose
appends cost O(1) a byte amortised and which spare the memory that an object of its own takes.
A chunk that is whole lines and meets no unfinished one is handed on without being copied.

Python work is done per chunk and per block, never per line: millions of short lines a second
go through ``bytes.split``.
"""

from __future__ import annotations

# What is shorter than this is copied into a buffer instead of being kept as it is.
_SMALL_BYTES = 4096


class LineCutter:
    """Collects the chunks of one stream, and gives them back at the ends of lines.

    It holds the unfinished last line and nothing else; its memory is bounded by the longest
    line and the largest chunk.
    """

    __slots__ = ("_carry",)

    def __init__(self) -> None:
        # Invariant: no b"\n" in here, and nothing empty.
        self._carry: list[bytes | bytearray] = []

    def feed(self, chunk: bytes) -> bytes:
        """Take in `chunk`; return all lines that it completes, as one block of bytes.

        Each line in the block still has its ``\\n`` (and whatever stood before it). The
        block is ``b""`` if no line was completed.
        """
        end = chunk.rfind(b"\n") + 1
        if not end:
            if chunk:
                self._keep(chunk)
            return b""
        whole = chunk if end == len(chunk) else chunk[:end]
        if self._carry:
            # One join, as adding them up would copy the long part twice.
            whole = b"".join((*self._carry, whole))
            self._carry.clear()
        if end != len(chunk):
            self._keep(chunk[end:])
        return whole

    def finish(self) -> bytes:
        """Return the unfinished last line, ``b""`` if there is none; the cutter is then empty."""
        rest = b"".join(self._carry)
        self._carry.clear()
        return rest

    def _keep(self, piece: bytes) -> None:
        if len(piece) >= _SMALL_BYTES:
            self._carry.append(piece)
        elif self._carry and type(self._carry[-1]) is bytearray:
            self._carry[-1] += piece
        else:
            self._carry.append(bytearray(piece))


def split_lines(block: bytes) -> list[bytes]:
    """Cut `block` at each ``\\n``, and take one ``\\r`` directly before it away as well.

    A last line without ``\\n`` is a line too, and kept as it is, a ``\\r`` at its end
    included. ``b""`` has no lines and ``b"\\n"`` has one, which is empty. A ``\\r`` anywhere
    else is an ordinary byte, as are all the other characters at which text is sometimes cut.
    """
    # Looking for the one byte first is several times faster than replacing nothing.
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()  # what follows the last b"\n" is no line (nor is an empty block)
    return lines
