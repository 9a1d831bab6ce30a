"""`Message`: gathered output, seen as lines."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator
from typing import Protocol, overload

_repr = reprlib.Repr()
_repr.maxlist = 8
_repr.maxother = 80  # which is what a bytes object is to reprlib


class LineSource(Protocol):
    """Something that keeps the lines of a message for as long as nobody asks for them.

    It must give the same lines whenever it is asked.
    """

    def lines(self) -> list[bytes]:
        """All lines, in their order."""


class Message:
    """Output as a sequence of lines. Immutable, and hashable.

    It compares, and hashes, as its bytes: equal to another message and to plain bytes
    alike. ``bytes(message)`` joins its lines with ``\\n``, ``len(message)`` is the number of
    those bytes, and iterating, indexing, slicing and ``in`` are about its lines. All that
    is as in ClusterShell, with one difference: a message is false only if it has no lines at
    all, so that one empty line is something (though its bytes are ``b""``).

    It never decodes anything unless told to. `decode`, and with it ``str(message)``, shows
    a byte that is no UTF-8 as ``\\xff`` and never fails.

    Args:
        lines: the lines, without their ends. They are kept as they are.
    """

    __slots__ = ("_bytes", "_lines", "_source")

    # Invariant: of `_source` and (`_lines` or `_bytes`) one is set. `_lines` stays None for a
    # message made from output: its canonical bytes hold the lines, and cutting them anew
    # is cheap, while a second copy as bytes objects takes several times the memory.
    _source: bytes | LineSource | None
    _lines: tuple[bytes, ...] | None
    _bytes: bytes | None

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        self._source = None
        self._lines = tuple(lines)
        self._bytes = None

    @classmethod
    def from_output(cls, raw: bytes) -> Message:
        """The message whose lines are those that `split_lines` cuts `raw` into.

        Nothing is cut or copied before somebody asks.
        """
        message = cls()
        if raw:
            message._source = raw
            message._lines = None
        return message

    @classmethod
    def from_source(cls, source: LineSource) -> Message:
        """The message whose lines `source` has; it is asked at most once, when they are needed."""
        message = cls()
        message._source = source
        message._lines = None
        return message

    def lines(self) -> list[bytes]:
        """The lines, as a new list, each without its end.

        A message made from output is cut anew at each call: keep the list to index it often.
        """
        if self._lines is None:
            canonical = bytes(self)  # which may set _lines
            if self._lines is None:
                return canonical.split(b"\n")
        return list(self._lines)

    def splitlines(self) -> list[bytes]:
        """The same as `lines`."""
        return self.lines()

    def message(self) -> bytes:
        """The same as ``bytes(message)``."""
        return bytes(self)

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        """The message as text. With these defaults it cannot fail, whatever the bytes are."""
        return bytes(self).decode(encoding, errors)

    def __bytes__(self) -> bytes:
        if self._bytes is None:
            source = self._source
            if isinstance(source, bytes):
                canonical = source.replace(b"\r\n", b"\n") if b"\r" in source else source
                self._bytes = canonical.removesuffix(b"\n")
            else:
                if source is not None:
                    self._lines = tuple(source.lines())
                assert self._lines is not None  # by the invariant
                self._bytes = b"\n".join(self._lines)
            self._source = None
        return self._bytes

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.lines())

    def __reversed__(self) -> Iterator[bytes]:
        return reversed(self.lines())

    def __contains__(self, line: object) -> bool:
        return line in self.lines()

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        return self.lines()[index]

    def __len__(self) -> int:
        return len(bytes(self))

    def __bool__(self) -> bool:
        if isinstance(self._source, bytes):
            return True  # some output, so at least one line
        return bool(self._bytes) or bool(self.lines())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Message):
            return self is other or bytes(self) == bytes(other)
        if isinstance(other, bytes | bytearray):
            return bytes(self) == other
        return NotImplemented

    def __hash__(self) -> int:
        return hash(bytes(self))

    def __str__(self) -> str:
        return self.decode()

    def __repr__(self) -> str:
        return f"Message({_repr.repr(self.lines())})"

    def __reduce__(self) -> tuple[type[Message], tuple[tuple[bytes, ...]]]:
        # A copy or a pickle takes the lines along, and not what they are taken from.
        return type(self), (tuple(self.lines()),)
