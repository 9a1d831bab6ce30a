"""Placeholders in the commands of the exec transport, and where in a shell string they stand.

They are those of ClusterShell's ExecWorker: ``%h`` or ``%host`` is the node, ``%hosts`` all
nodes, ``%n`` or ``%rank`` the node's rank, ``%%`` a percent sign; ``%{host}`` is for before a
letter. As there, the whole word after the ``%`` is the name, so that ``%hostname`` is none.

What is put into an argument vector goes in as it is. In a shell string a value must stay one
piece of one word, whatever it is. How it has to be quoted depends on the quotes around it, so the
string is read once, the way a shell reads it. That reading is deliberately simple: after
anything with rules of its own (see `_LOST`) it gives up for the rest of the string, and there
only values that mean nothing to any shell are put in, and others are refused.

This protects from the one shell that reads the string. If the command hands the value to a
second one (``eval``, ``sh -c``, ``ssh``), quoting for that is the command's own task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain, pairwise
from typing import TypeAlias

_FIELDS = {"h": "host", "host": "host", "hosts": "hosts", "n": "rank", "rank": "rank"}
_PERCENT = re.compile(r"%(%|[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\}|)")

# A value of these alone is never executed, and never ends what it stands in.
_INERT = re.compile(r"[A-Za-z0-9@%+=:,./_[\]-]+")
# A value of these alone needs no quotes between words either: no pattern for file names, no
# assignment, no list in braces.
_BARE_SAFE = re.compile(r"[A-Za-z0-9@%+:./_-]+")
_REDIRECTION = re.compile(r"(\\\n)*[<>]")


class _Place(Enum):
    """Where a value stands, and so what has to be done to it."""

    ARGUMENT = auto()  # in an argument vector: nothing
    BARE = auto()  # outside quotes
    GLUED = auto()  # outside quotes, where its neighbours would take it for a part of theirs
    SINGLE = auto()  # in '...'
    DOUBLE = auto()  # in "..."
    GLUED_DOUBLE = auto()  # in "...", directly after a variable's name
    UNSURE = auto()  # in a comment, after a backslash, or anywhere after we got lost


@dataclass(frozen=True, slots=True)
class _Slot:
    """A placeholder, as it is written, and the value's field and place."""

    written: str
    field: str
    place: _Place
    why: str = ""  # it is UNSURE

    def put(self, value: str) -> str:
        """`value` as it has to stand in this place. Raises ValueError if it cannot."""
        match self.place:
            case _Place.ARGUMENT:
                return value
            case _Place.BARE:
                return value if _BARE_SAFE.fullmatch(value) else _quoted(value)
            case _Place.GLUED:
                return _quoted(value)
            case _Place.SINGLE:
                return value.replace("'", "'\\''")
            case _Place.DOUBLE if _INERT.fullmatch(value):
                return value
            case _Place.DOUBLE | _Place.GLUED_DOUBLE:
                # Out of the double quotes and into them again: nothing is special in single
                # ones, whatever shell this is.
                return f'"{_quoted(value)}"'
        if _INERT.fullmatch(value):
            return value
        raise ValueError(
            f"command: {self.written} stands {self.why}, where it cannot be told how to quote "
            f"{value[:60]!r}; only letters, digits and @%+=:,./_[]- can be put there, so give "
            "the command as an argument vector, such as ('sh', '-c', '... \"$1\"', 'sh', '%h')"
        )


_Parts: TypeAlias = tuple[str | _Slot, ...]


class Template:
    """A command with its placeholders found, to be rendered for one node after another.

    Args:
        command: a shell command line, or an argument vector.

    Attributes:
        uses_hosts: True if ``%hosts`` is in it. If not, what is passed for that is not looked at.

    Raises:
        ValueError: a ``%`` begins no placeholder that exists, or one follows a ``$`` that would
            make a variable's name of the value.
    """

    __slots__ = ("_elements", "_is_vector", "_unsure", "uses_hosts")

    def __init__(self, command: str | tuple[str, ...]) -> None:
        self._is_vector = not isinstance(command, str)
        if isinstance(command, str):
            self._elements: tuple[_Parts, ...] = (tuple(_placed(list(_found(command)))),)
        else:
            self._elements = tuple(tuple(_found(element)) for element in command)
        slots = [part for part in chain.from_iterable(self._elements) if isinstance(part, _Slot)]
        self.uses_hosts = any(slot.field == "hosts" for slot in slots)
        # One doubtful place of each field is enough: all of them take the same values.
        self._unsure = {slot.field: slot for slot in slots if slot.place is _Place.UNSURE}

    def render(self, host: str, hosts: str, rank: int) -> str | tuple[str, ...]:
        """The command for one node: `host` is its name, `hosts` all names folded.

        Raises:
            ValueError: as `check`, which finds it earlier.
        """
        values = {"host": host, "hosts": hosts, "rank": str(rank)}
        rendered = tuple(
            "".join(
                part if isinstance(part, str) else part.put(values[part.field]) for part in parts
            )
            for parts in self._elements
        )
        return rendered if self._is_vector else rendered[0]

    def check(self, hosts: Iterable[str], folded: str) -> None:
        """Find out whether all values can be put in; costs one look at each, or none.

        Raises:
            ValueError: for the first that cannot, because the place where its placeholder
                stands in a shell string does not tell how to quote it.
        """
        slot = self._unsure.get("host")
        if slot is not None:
            for host in hosts:
                slot.put(host)
        slot = self._unsure.get("hosts")
        if slot is not None and folded:  # without any node, nothing will be rendered
            slot.put(folded)


def _found(text: str) -> Iterator[str | _Slot]:
    """The literal pieces of `text` and the placeholders between them."""
    literal, done = "", 0
    for match in _PERCENT.finditer(text):
        literal += text[done : match.start()]
        done = match.end()
        name = match[1].strip("{}")
        if name == "%":
            literal += "%"
        elif name in _FIELDS:
            if literal:
                yield literal
            yield _Slot(match[0], _FIELDS[name], _Place.ARGUMENT)
            literal = ""
        else:
            wrong = match[0] if name else text[match.start() : match.start() + 2]
            raise ValueError(
                f"command: {wrong[:60]!r} is no placeholder; accepted are %h or %host, %hosts, "
                "%n or %rank, or in braces before a letter, %{host}, and %% is a percent sign"
            )
    literal += text[done:]
    if literal:
        yield literal


def _placed(parts: Sequence[str | _Slot]) -> Iterator[str | _Slot]:
    """The same parts of a shell string, each placeholder in its place."""
    reader = _Reader()
    for part, after in pairwise([*parts, ""]):
        if isinstance(part, str):
            reader.read(part)
            yield part
            continue
        place, why = reader.place(part.written)
        if place is _Place.BARE and isinstance(after, str) and _REDIRECTION.match(after):
            place = _Place.GLUED  # a rank would be the number of what is redirected
        yield _Slot(part.written, part.field, place, why)


class _Mode(Enum):
    BARE = auto()
    SINGLE = auto()
    DOUBLE = auto()
    COMMENT = auto()


# A variable, in the forms that end where they seem to.
_VARIABLE = (
    r"(?P<name>\$[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<other>\$[@*#?$!0-9-]|\$\{(?:[@*?$!#-]|\#?[A-Za-z0-9_]+)\})"
)
_ESCAPE = r"(?P<joined>\\\n)|(?P<escape>\\.)|(?P<backslash>\\\Z)|(?P<dollar>\$\Z)"
_TOKENS = {
    _Mode.BARE: re.compile(
        r"(?P<heredoc><<)|(?P<arithmetic>\$?\(\(|\$\[)|(?P<backquote>`)|(?P<ansi>\$')"
        rf"|{_VARIABLE}|(?P<brace>\$\{{)|{_ESCAPE}"
        r"""|(?P<single>')|(?P<double>")|(?P<gap>[ \t\n;&|()<>])|(?P<hash>\#)|(?P<word>.)""",
        re.DOTALL,
    ),
    _Mode.DOUBLE: re.compile(
        r"(?P<inner>\$\()|(?P<arithmetic>\$\[)|(?P<backquote>`)"
        rf"|{_VARIABLE}|(?P<brace>\$\{{)|{_ESCAPE}"
        r"""|(?P<bare>")|(?P<word>.)""",
        re.DOTALL,
    ),
    _Mode.SINGLE: re.compile(r"(?P<bare>')|(?P<word>[^']+)"),
    _Mode.COMMENT: re.compile(r"(?P<line>\n)|(?P<word>[^\n]+)"),
}
# What has rules of its own about quotes, or shells disagree about.
_LOST = {
    "heredoc": "after '<<'",
    "arithmetic": "after the beginning of an arithmetic expression",
    "backquote": "after a backquote",
    "ansi": 'after "$\'"',
    "brace": "after a '${' that is more than a name",
    "inner": "after a '$(' in double quotes",
}
_NEXT = {"single": _Mode.SINGLE, "double": _Mode.DOUBLE, "bare": _Mode.BARE, "line": _Mode.BARE}


class _Reader:
    """Reads a shell string piece by piece, to say where a value that comes next would stand."""

    def __init__(self) -> None:
        self._mode = _Mode.BARE
        self._lost = ""
        self._last = ""  # the kind of the token before this point
        self._fresh = True  # a "#" would begin a comment here

    def read(self, text: str) -> None:
        """Go on over `text`, in which there are no placeholders."""
        at = 0
        while at < len(text) and not self._lost:
            match = _TOKENS[self._mode].match(text, at)
            assert match is not None  # "word" takes what nothing else does
            self._take(str(match.lastgroup), text[at - 1 : at])
            at = match.end()
        if self._lost:
            self._last = "dollar" if re.search(r"(?<!\\)\$\Z", text) else "word"

    def _take(self, kind: str, before: str) -> None:
        if kind == "joined":
            # The next line goes on here, as if nothing were between. "<" and "<" are a "<<" then.
            if (self._last, before) in (("word", "$"), ("gap", "<"), ("gap", "(")):
                self._lost = f"after a '{before}' at the end of a continued line"
            return
        self._lost = _LOST.get(kind, "")
        if kind == "hash" and self._fresh:
            self._mode = _Mode.COMMENT
        self._mode = _NEXT.get(kind, self._mode)
        self._fresh = kind in ("gap", "line")
        self._last = kind

    def place(self, written: str) -> tuple[_Place, str]:
        """Where a value stands here, and why if that is unsure; then it has been passed."""
        last, self._last = self._last, "value"
        self._fresh = False
        if last == "dollar":
            raise ValueError(
                f"command: {written} directly after a '$' would be the name of a variable; "
                "put a backslash before the '$' to have a dollar sign there"
            )
        if self._lost:
            return _Place.UNSURE, self._lost
        if last == "backslash":
            return _Place.UNSURE, "after a backslash"
        match self._mode:
            case _Mode.COMMENT:
                return _Place.UNSURE, "in a comment"
            case _Mode.SINGLE:
                return _Place.SINGLE, ""
            case _Mode.DOUBLE:
                return (_Place.GLUED_DOUBLE if last == "name" else _Place.DOUBLE), ""
            case _Mode.BARE:
                return (_Place.GLUED if last == "name" else _Place.BARE), ""


def _quoted(value: str) -> str:
    """`value` as one word of a shell, or a piece of one."""
    return "'" + value.replace("'", "'\"'\"'") + "'"
