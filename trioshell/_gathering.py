"""What the nodes of one worker have written: kept once for all nodes that wrote the same.

While a node runs, its output is a list of the chunks that came. When it is over the chunks
are joined, and all nodes with equal output share one object from then on: 10 000 nodes that
agree cost no more than one and a reference each.
"""

from __future__ import annotations

from collections.abc import Callable

from trioshell._lines import LineCutter
from trioshell._message import Message

_NOTHING = Message()


class LiveStream:
    """One stream of one node that is still open."""

    __slots__ = ("_chunks", "_cutter", "_half_bytes")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._cutter = LineCutter()
        self._half_bytes = 0  # the length of the line that is only half here

    def add(self, chunk: bytes, keep: bool) -> bytes:
        """Take `chunk` in, gather it if `keep`, and return the whole lines it completes."""
        if keep:
            self._chunks.append(chunk)
        block = self._cutter.feed(chunk)
        self._half_bytes += len(chunk) - len(block)
        return block

    def finish(self) -> bytes:
        """The last line, if it has no newline. The stream is over."""
        return self._cutter.finish()

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
    """The streams of one node, by name: live ones while it runs, shared ones afterwards."""

    __slots__ = ("_live", "_shared")

    def __init__(self) -> None:
        # Invariant: at most one of the two holds anything; `_live` is None once all is over.
        self._live: dict[str, LiveStream] | None = None
        self._shared: tuple[tuple[str, Message], ...] = ()

    def stream(self, sname: str) -> LiveStream:
        """The live stream of that name, made at the first call."""
        if self._live is None:
            self._live = {}
        stream = self._live.get(sname)
        if stream is None:
            stream = self._live[sname] = LiveStream()
        return stream

    def live(self) -> dict[str, LiveStream]:
        """Every stream that is still open."""
        return self._live or {}

    def message(self, sname: str) -> Message:
        """What has been gathered of the stream until now; empty if there is none."""
        if self._live is not None:
            stream = self._live.get(sname)
            return Message.from_output(stream.raw()) if stream is not None else _NOTHING
        for name, message in self._shared:
            if name == sname:
                return message
        return _NOTHING

    def raw(self, sname: str) -> bytes:
        """The same, byte for byte."""
        if self._live is not None:
            stream = self._live.get(sname)
            return stream.raw() if stream is not None else b""
        return self.message(sname).raw

    def whole_lines(self) -> list[tuple[str, bytes]]:
        """Of each stream from which anything came, the lines that are whole (all, at the end)."""
        if self._live is not None:
            return [(sname, stream.whole_lines()) for sname, stream in self._live.items()]
        return [(sname, message.raw) for sname, message in self._shared]

    def flush(self, which: Callable[[str], bool]) -> None:
        """Forget what has been gathered of the streams that `which` names."""
        for sname, stream in self.live().items():
            if which(sname):
                stream.flush()
        self._shared = tuple(pair for pair in self._shared if not which(pair[0]))

    def close(self, shelf: Shelf) -> None:
        """All streams are over: share what is gathered with all who wrote the same."""
        live, self._live = self._live, None
        if live:
            pairs = tuple((sname, stream.raw()) for sname, stream in live.items())
            self._shared = shelf.share(tuple(pair for pair in pairs if pair[1]))


class Shelf:
    """One copy of each output that any node of the worker has ended with."""

    def __init__(self) -> None:
        self._messages: dict[bytes, Message] = {}
        self._outputs: dict[tuple[tuple[str, bytes], ...], tuple[tuple[str, Message], ...]] = {}

    def share(self, pairs: tuple[tuple[str, bytes], ...]) -> tuple[tuple[str, Message], ...]:
        """The messages of these streams, the same objects for the same pairs."""
        shared = self._outputs.get(pairs)
        if shared is None:
            shared = tuple((sname, self._message(raw)) for sname, raw in pairs)
            # The key must hold the very bytes that the messages hold, not copies of them.
            key = tuple((sname, message.raw) for sname, message in shared)
            self._outputs[key] = shared
        return shared

    def _message(self, raw: bytes) -> Message:
        message = self._messages.get(raw)
        if message is None:
            message = self._messages[raw] = Message.from_output(raw)
        return message

    def clear(self) -> None:
        """Let go of everything; nodes keep what they share."""
        self._messages.clear()
        self._outputs.clear()
