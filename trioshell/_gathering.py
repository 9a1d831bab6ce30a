"""What the nodes of one worker have written: kept once for all nodes that wrote the same.

While a node runs, its output is a list of the chunks that came. When it is over the chunks
are joined, and all nodes with equal output share one object from then on: 10 000 nodes that
agree cost no more than one and a reference each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from trioshell._lines import LineCutter
from trioshell._message import Message

_NOTHING = Message()

# Of what is longer, equal outputs are looked for by some of their bytes: to hash hundreds of
# megabytes takes as long as to receive them. So many different ones do not fit into any memory
# that comparing those that look alike could take long.
_LONG_BYTES = 1 << 20
_SAMPLE_BYTES = 4096

# One stream of a node that is over: its name, what came byte for byte, and the same as lines.
_Ended: TypeAlias = tuple[str, bytes, Message]


class LiveStream:
    """One stream of one node that is still open."""

    __slots__ = ("_chunks", "_cut", "_cutter", "_half_bytes")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._cutter = LineCutter()
        self._cut = False  # some line has been whole
        self._half_bytes = 0  # the length of the line that is only half here

    def add(self, chunk: bytes, keep: bool) -> bytes:
        """Take `chunk` in, gather it if `keep`, and return the whole lines it completes."""
        if keep:
            self._chunks.append(chunk)
        block = self._cutter.feed(chunk)
        if block:
            self._cut = True
        self._half_bytes += len(chunk) - len(block)
        return block

    def finish(self) -> bytes:
        """The last line, if it has no newline. The stream is over."""
        self._half_bytes = 0
        rest = self._cutter.finish()
        if not self._cut and sum(map(len, self._chunks)) == len(rest):
            self._chunks = [rest]  # the one line is all that came: have it once
        self._cut = True
        return rest

    def raw(self) -> bytes:
        """All that has been gathered, byte for byte."""
        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]
        return self._chunks[0] if self._chunks else b""

    def whole_lines(self) -> bytes:
        """What has been gathered, without the line that is only half here."""
        raw = self.raw()
        return raw[: max(0, len(raw) - self._half_bytes)]

    def flush(self) -> None:
        """Forget what has been gathered; a line that is only half here is still completed."""
        self._chunks.clear()


class Outputs:
    """The streams of one node, by name, while it runs; or of all that ended with the same."""

    __slots__ = ("_live", "_shared")

    def __init__(self) -> None:
        # Invariant: at most one of the two holds anything.
        self._live: dict[str, LiveStream] | None = None
        self._shared: tuple[_Ended, ...] = ()

    def stream(self, sname: str) -> LiveStream:
        """The live stream of that name, made at the first call."""
        if self._live is None:
            self._live = {}
        stream = self._live.get(sname)
        if stream is None:
            stream = self._live[sname] = self.make_stream()
        return stream

    def make_stream(self) -> LiveStream:
        """A stream that has just been opened."""
        return LiveStream()

    @property
    def missing_bytes(self) -> int:
        """How much of what came while it ran has been left out on purpose."""
        return 0

    def live(self) -> dict[str, LiveStream]:
        """Every stream that is still open."""
        return self._live or {}

    def message(self, sname: str) -> Message:
        """What has been gathered of the stream until now; empty if there is none."""
        if self._live is not None:
            stream = self._live.get(sname)
            return Message.from_output(stream.raw()) if stream is not None else _NOTHING
        return next((message for name, _, message in self._shared if name == sname), _NOTHING)

    def raw(self, sname: str) -> bytes:
        """The same, byte for byte."""
        if self._live is not None:
            stream = self._live.get(sname)
            return stream.raw() if stream is not None else b""
        return next((raw for name, raw, _ in self._shared if name == sname), b"")

    def whole_lines(self) -> list[tuple[str, bytes]]:
        """Of each stream from which anything came, the lines that are whole (all, at the end)."""
        if self._live is not None:
            return [(sname, stream.whole_lines()) for sname, stream in self._live.items()]
        return [(sname, raw) for sname, raw, _ in self._shared]

    def flush(self, which: Callable[[str], bool]) -> None:
        """Forget what has been gathered of the streams that `which` names."""
        for sname, stream in self.live().items():
            if which(sname):
                stream.flush()
        self._shared = tuple(ended for ended in self._shared if not which(ended[0]))

    def close(self, shelf: Shelf) -> Outputs:
        """All streams are over: what they are from now on, shared by all who wrote the same."""
        raws = ((sname, stream.raw()) for sname, stream in self.live().items())
        return shelf.share(tuple(pair for pair in raws if pair[1]))


class Shelf:
    """One copy of each output that any node of the worker has ended with."""

    def __init__(self) -> None:
        self._outputs: dict[tuple[tuple[str, bytes], ...], list[Outputs]] = {}

    def share(self, raws: tuple[tuple[str, bytes], ...]) -> Outputs:
        """These streams, given as name and bytes: the same object for all that are equal."""
        alike = self._outputs.setdefault(tuple((sname, _sample(raw)) for sname, raw in raws), [])
        for outputs in alike:
            if all(outputs.raw(sname) == raw for sname, raw in raws):
                return outputs
        outputs = Outputs()
        outputs._shared = tuple((sname, raw, Message.from_output(raw)) for sname, raw in raws)
        alike.append(outputs)
        return outputs

    def clear(self) -> None:
        """Let go of everything; nodes keep what they share."""
        self._outputs.clear()


def _sample(raw: bytes) -> bytes:
    """What equal outputs have in common, and different ones hardly ever."""
    if len(raw) <= _LONG_BYTES:
        return raw
    middle = len(raw) // 2
    ends = raw[:_SAMPLE_BYTES] + raw[-_SAMPLE_BYTES:]
    return b"%d %s" % (len(raw), ends + raw[middle : middle + _SAMPLE_BYTES])
