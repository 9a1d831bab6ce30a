"""Results and events as text, in clush's form: pure functions from values to bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trioshell._results import Aborted, NotStarted, Outcome, TimedOut, Unreachable

PROGRAM = "trioshell"

_BLUE = b"\x1b[94m"
_RED = b"\x1b[91m"
_GREEN = b"\x1b[92m"
_CYAN = b"\x1b[96m"
_BOLD = b"\x1b[1m"
_PLAIN = b"\x1b[0m"

_RULE = b"---------------"


@dataclass(frozen=True, slots=True)
class Look:
    """How text is to look.

    Attributes:
        label: False to leave the names of the nodes out.
        count: True to count the nodes in the headers of gathered output.
        message_count: the same in messages.
        color: True to colour the names of the nodes.
        out_terminal, err_terminal: the encoding of the terminal that standard output or
            error is; None where it is none, and bytes go out as they came in.
    """

    label: bool = True
    count: bool = True
    message_count: bool = True
    color: bool = False
    out_terminal: str | None = None
    err_terminal: str | None = None

    def out(self, data: bytes) -> bytes:
        """`data` of a node, fit for standard output."""
        return data if self.out_terminal is None else harmless(data, self.out_terminal)

    def err(self, data: bytes) -> bytes:
        """`data` of a node, fit for standard error."""
        return data if self.err_terminal is None else harmless(data, self.err_terminal)


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes with the same output.

    Attributes:
        nodes: their names, folded.
        count: how many they are.
        body: the output, every line with its newline; empty for no output at all.
    """

    nodes: str
    count: int
    body: bytes


# -- harmless text -------------------------------------------------------------------------

_SUSPICIOUS = re.compile(rb"[^\t\n\x20-\x7e]")


def _visible() -> Mapping[int, str]:
    """From what a terminal may obey, or must not be shown, to something that can be seen."""
    shown = {code: f"^{chr(code ^ 0x40)}" for code in [*range(0x20), 0x7F]}
    del shown[ord("\t")], shown[ord("\n")]
    shown |= {code: f"\\x{code:02x}" for code in range(0x80, 0xA0)}
    # What was no UTF-8 arrives as a surrogate; one of these bytes alone can be a control
    # character of an 8-bit terminal.
    shown |= {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
    # These reorder or break what stands beside them on the screen, our labels included.
    reordering = [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
    shown |= {code: f"\\u{code:04x}" for code in reordering}
    return shown


_VISIBLE = _visible()


def harmless(data: bytes, encoding: str = "utf-8") -> bytes:
    """`data` with everything made visible that could steer a terminal of this encoding.

    Tabs and newlines stay, printable text stays (as far as the terminal has it); control
    characters come out as ``^[`` or ``\\x9b``, bytes that are not UTF-8 as ``\\xff``, and
    characters that the terminal's encoding lacks as ``\\u20ac``.
    """
    if _SUSPICIOUS.search(data) is None:
        return data
    text = data.decode("utf-8", "surrogateescape").translate(_VISIBLE)
    return text.encode(encoding, "backslashreplace")


# -- lines and blocks ----------------------------------------------------------------------


def text_bytes(text: str) -> bytes:
    """Text as bytes: those that it was read from, if it was read as file names are."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that no file name has
        return text.encode("utf-8", "backslashreplace")


def out_label(name: object, look: Look) -> bytes:
    """What stands before a line of a node's standard output."""
    return _label(look.out(text_bytes(str(name))), _BLUE, look)


def err_label(name: object, look: Look) -> bytes:
    """What stands before a line of a node's standard error."""
    return _label(look.err(text_bytes(str(name))), _RED, look)


def _label(name: bytes, color: bytes, look: Look) -> bytes:
    if not look.label:
        return b""
    label = name + b": "
    return color + label + _PLAIN if look.color else label


def labelled(group: Group, look: Look) -> bytes:
    """The group's output with the label before every line (``-L``)."""
    label = out_label(group.nodes, look)
    body = look.out(group.body)
    return label + body[:-1].replace(b"\n", b"\n" + label) + b"\n" if body else b""


def block(group: Group, look: Look) -> bytes:
    """The group's output under a header with its nodes (``-b``); nothing for no output."""
    if not group.body:
        return b""
    body = look.out(group.body)
    if not look.label:
        return body
    header = b"\n".join((_RULE, _headline(group, look), _RULE))
    if look.color:
        header = _BLUE + header + _PLAIN
    return header + b"\n" + body


def _headline(group: Group, look: Look) -> bytes:
    return look.out(text_bytes(counted(group.nodes, group.count, look.count)))


def counted(nodes: str, count: int, show: bool = True) -> str:
    """Folded names, with their number if it is more than one."""
    return f"{nodes} ({count})" if show and count > 1 else nodes


def order(groups: Iterable[tuple[str, Group]]) -> list[Group]:
    """Groups in the order in which they are shown: the largest first, then by first node.

    Args:
        groups: pairs of the name of a group's first node and the group.
    """
    return [group for _, group in sorted(groups, key=lambda pair: (-pair[1].count, pair[0]))]


# -- differences ---------------------------------------------------------------------------


def diff(groups: Sequence[Group], look: Look) -> Iterator[bytes]:
    """How the outputs of all other groups differ from that of the first one (``--diff``)."""
    for group in groups[1:]:
        lines = list(_diff_lines(groups[0].body, group.body))
        if lines:
            yield _painted(b"--- " + _headline(groups[0], look), _BOLD, look)
            yield _painted(b"+++ " + _headline(group, look), _BOLD, look)
            yield from (_painted(look.out(line), _DIFF_COLORS[line[:1]], look) for line in lines)


_DIFF_COLORS = {b"@": _CYAN, b"-": _RED, b"+": _GREEN, b" ": b""}


def _painted(line: bytes, color: bytes, look: Look) -> bytes:
    return (color + line + _PLAIN if look.color and color else line) + b"\n"


def _diff_lines(before: bytes, after: bytes) -> Iterator[bytes]:
    import difflib  # not at the top: slow to import, and seldom asked for

    # Latin-1 has a character for every byte, and every byte for its character.
    was, now = (body.decode("latin-1").split("\n")[:-1] for body in (before, after))
    lines = difflib.unified_diff(was, now, lineterm="")
    for number, line in enumerate(lines):
        if number >= 2:  # the first two would name the files
            yield line.encode("latin-1")


# -- messages ------------------------------------------------------------------------------


def message(text: str, look: Look) -> bytes:
    """One line from us to standard error. What it quotes may come from anywhere."""
    data = text_bytes(f"{PROGRAM}: {text}")
    return look.err(data.replace(b"\n", b" ")) + b"\n"


def end_message(outcome: Outcome, nodes: str, count: int, look: Look) -> bytes:
    """How the runs of these nodes ended, none of them well."""
    return message(f"{counted(nodes, count, look.message_count)}: {_how(outcome)}", look)


def _how(outcome: Outcome) -> str:
    match outcome:
        case TimedOut():
            return "command timeout"
        case Unreachable() | NotStarted() | Aborted():
            return str(outcome)
        case _:
            return f"exited with exit code {outcome.rc}"


def truncated_message(missing: Sequence[int], nodes: str, look: Look) -> bytes:
    """That so many bytes of the output of each of these nodes have been left out."""
    total = sum(missing)
    text = f"output truncated, {total} byte{'s' * (total != 1)} missing"
    if len(missing) > 1:
        text += " in all"
    return message(f"{counted(nodes, len(missing), look.message_count)}: {text}", look)


def copied_message(source: str, dest: str, nodes: str, *, reverse: bool, look: Look) -> bytes:
    """That a file or a tree has been copied (``-v``)."""
    here, there = f"`{source}'", f"`{dest}'"
    text = f"{nodes}:{here} -> {there}" if reverse else f"{here} -> {nodes}:{there}"
    return look.out(text_bytes(text)) + b"\n"
