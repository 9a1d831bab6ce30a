"""What is kept of a node's output where that is bounded (`max_output_bytes`, `max_line_bytes`).

First the lines of each stream that are too long are cut, then what is left of all streams of
the node is kept until that is as much as may be kept. Whatever is above a bound is taken from
the node all the same, so that its command neither waits nor is told, and is counted.

Both are decided byte by byte, in the order in which the bytes came: in what chunks they came
makes no difference. Where nothing is bounded, nothing in here is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trioshell._gathering import LiveStream, Outputs


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds for one node: bytes, `math.inf` for no bound, None for what somebody else says.

    Attributes:
        output_bytes: how much is kept of all its streams together.
        line_bytes: how much is kept of a line, without its end.
    """

    output_bytes: float | None = None
    line_bytes: float | None = None

    def __bool__(self) -> bool:
        """True if anything is bounded."""
        return any(cap not in (None, math.inf) for cap in (self.output_bytes, self.line_bytes))

    def or_else(self, others: Caps) -> Caps:
        """These bounds, and those of `others` where these say nothing."""
        return Caps(
            others.output_bytes if self.output_bytes is None else self.output_bytes,
            others.line_bytes if self.line_bytes is None else self.line_bytes,
        )

    def outputs(self) -> Outputs:
        """What a node's output is gathered in under these bounds."""
        return CappedOutputs(_bound(self.output_bytes), _bound(self.line_bytes))


def _bound(value: float | None) -> int | None:
    return None if value is None or value == math.inf else int(value)


class LineCap:
    """Cuts the lines of one stream that are longer than so many bytes.

    The end of a line does not count: ``\\n``, or ``\\r\\n``. As soon as a line is known to be
    longer it is ended by a newline after its first `limit` bytes, and the rest of it is left out,
    with the ``\\r`` before its end if it has one. A line that is ended so keeps that newline, also
    if the node never wrote one.

    Attributes:
        dropped: how many bytes have been left out.
    """

    __slots__ = ("_held", "_length", "_limit", "_over", "dropped")

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._limit = limit
        # Invariant: 0 <= _length <= _limit; _length == _limit if _held or _over, not both.
        self._length = 0  # of the current line, as far as it has been let through
        self._held = False  # it is as long as it may be, and a \r came that may be of its end
        self._over = False  # it was too long, and has been ended

    def feed(self, chunk: bytes) -> bytes:
        """What is let through of `chunk`, after what was let through before."""
        pieces = chunk.split(b"\n")
        longest = max(map(len, pieces))
        if not (self._held or self._over) and self._length + longest <= self._limit:
            # Nearly always, so nothing is done line by line.
            before = self._length if len(pieces) == 1 else 0
            self._length = before + len(pieces[-1])
            return chunk
        last = pieces.pop()
        kept = []
        for piece in pieces:
            kept.append(self._take(piece))
            kept.append(self._end())
        kept.append(self._take(last))
        return b"".join(kept)

    def finish(self) -> None:
        """The stream is over: a ``\\r`` that has been held back was of no line end."""
        self.dropped += self._held
        self._held = False

    def _take(self, piece: bytes) -> bytes:
        """Some bytes of the current line, without its newline."""
        if not piece:
            return b""
        if self._over:
            self.dropped += len(piece)
            return b""
        if self._held:
            self.dropped += 1 + len(piece)
            self._held, self._over = False, True
            return b"\n"
        room = self._limit - self._length
        if len(piece) <= room:
            self._length += len(piece)
            return piece
        self._length = self._limit
        if piece[room:] == b"\r":
            self._held = True
            return piece[:room]
        self.dropped += len(piece) - room
        self._over = True
        return piece[:room] + b"\n"

    def _end(self) -> bytes:
        """The newline of the current line."""
        end = b"" if self._over else b"\r\n" if self._held else b"\n"
        self._length, self._held, self._over = 0, False, False
        return end


class Allowance:
    """How much may still be kept of one node's output.

    Attributes:
        dropped: how many bytes have been refused.
    """

    __slots__ = ("_room", "dropped")

    def __init__(self, room: int | None) -> None:
        self._room = room
        self.dropped = 0

    def take(self, data: bytes) -> bytes:
        """As much of the beginning of `data` as may be kept."""
        if self._room is None:
            return data
        kept = data[: self._room]
        self._room -= len(kept)
        self.dropped += len(data) - len(kept)
        return kept


class CappedStream(LiveStream):
    """A stream of which only so much is kept, and told to anybody."""

    __slots__ = ("_allowance", "line_cap")

    def __init__(self, allowance: Allowance, line_bytes: int | None) -> None:
        super().__init__()
        self._allowance = allowance
        self.line_cap = None if line_bytes is None else LineCap(line_bytes)

    def add(self, chunk: bytes, keep: bool) -> bytes:
        """As of any stream. A line of which the rest is refused is returned as it stands."""
        wanted = chunk if self.line_cap is None else self.line_cap.feed(chunk)
        kept = self._allowance.take(wanted)
        block = super().add(kept, keep) if kept else b""
        if len(kept) < len(wanted):
            block += super().finish()
        return block

    def finish(self) -> bytes:
        """As of any stream."""
        if self.line_cap is not None:
            self.line_cap.finish()
        return super().finish()


class CappedOutputs(Outputs):
    """The streams of one node while it runs, of which only so much is kept."""

    __slots__ = ("_allowance", "_line_bytes")

    def __init__(self, output_bytes: int | None, line_bytes: int | None) -> None:
        super().__init__()
        self._allowance = Allowance(output_bytes)
        self._line_bytes = line_bytes

    def make_stream(self) -> LiveStream:
        return CappedStream(self._allowance, self._line_bytes)

    @property
    def missing_bytes(self) -> int:
        missing = self._allowance.dropped
        for stream in self.live().values():
            if isinstance(stream, CappedStream) and stream.line_cap is not None:
                missing += stream.line_cap.dropped
        return missing
