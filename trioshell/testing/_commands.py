"""The commands by which the contract of a transport is checked, and a script that plays them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Mapping
from functools import cache

from trioshell.testing._script import (
    CloseOutput,
    ListProcesses,
    ReadStdin,
    Script,
    Step,
)
from trioshell.transports._base import Command, Copy

# Stands in a command for a number that no other process has among its arguments, so that
# it can be found in a list of processes. In each text it comes early, for a `ps` that cuts.
MARK = "MARK"

# No per cent sign in any of them: a transport may read it as a placeholder. No new line
# and no exclamation mark: a csh that is the target's login shell cannot be given them.
NUMBERS = "".join(f"{number}\n" for number in range(1_000_000, 1_400_000)).encode()
ALL_BYTES = bytes(range(256)) * 32
FLOOD_BYTES = 512 * 65536
ODD_ARGUMENT = "two  words; $HOME `id` \"quoted\" 'too' \\ * # ~ & | < > ( ) { } [ ] \t end"


def _octal(start: int, stop: int) -> str:
    return "".join(f"\\{code:03o}" for code in range(start, stop))


def _sh(text: str) -> Command:
    return ("sh", "-c", text)


# 045 is the per cent sign, which printf itself would read as more than a character.
_PRINT_ALL_BYTES = (
    "i=0; while [ $i -lt 32 ]; do "
    f"printf '{_octal(0, 0o45)}'; printf x | tr x '\\045'; printf '{_octal(0o46, 256)}'; "
    "i=$((i+1)); done"
)
_LEAF = "(echo ready >&2; exec sleep MARK)"

COMMANDS: Mapping[str, Command] = {
    "numbers": _sh("awk 'BEGIN { for (i = 1000000; i < 1400000; i++) print i }'"),
    "all_bytes": _sh(_PRINT_ALL_BYTES),
    "both_streams": _sh("echo one; echo two >&2; echo three"),
    "shell": "echo one; (echo two) | cat",
    "vector": ("awk", "BEGIN { print ARGV[1] }", ODD_ARGUMENT),
    "exit_0": _sh("exit 0"),
    "exit_1": _sh("exit 1"),
    "exit_3": _sh("exit 3"),
    "exit_127": _sh("exit 127"),
    "exit_255": _sh("exit 255"),
    "not_found": _sh("command-that-nobody-has-MARK 2>/dev/null"),
    # exec: the signal must end the process that the transport watches, not a child of it.
    "killed": "exec sh -c 'kill -KILL $$'",
    "cat": _sh("exec cat"),
    "until_eof": _sh(": MARK; cat >/dev/null; echo done"),
    "flood": _sh(": MARK; dd if=/dev/zero bs=65536 count=512 2>/dev/null; :"),
    "close_early": _sh("echo open; exec >&- 2>&-; cat >/dev/null; exit 3"),
    "background": _sh("sleep MARK & echo $!"),
    "sleep": _sh("echo ready; exec sleep MARK"),
    "polite": _sh("trap 'echo bye; exit 0' TERM; echo ready; sleep MARK & wait"),
    "stubborn": _sh("trap '' TERM; echo ready; sleep MARK; sleep MARK"),
    "pipeline": _sh(f"{_LEAF} | {_LEAF} | cat"),
    "tree": _sh(
        f"({_LEAF} & wait) & (trap '' TERM; {_LEAF} & {_LEAF} & wait; sleep MARK) & wait; :"
    ),
    "processes": _sh(
        "ps -A -ww -o args= 2>/dev/null || ps -A -o args= 2>/dev/null || "
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    ),
}

_HANGS: Step = math.inf


@cache
def _acts() -> Mapping[str, Script]:
    """What a simulated node does for each of the commands, by their names."""
    echo = ReadStdin(echo=True)
    zeros: tuple[Step, ...] = (bytes(65536),) * 512
    return {
        "numbers": Script(tuple(NUMBERS[i : i + 30_000] for i in range(0, len(NUMBERS), 30_000))),
        "all_bytes": Script((bytes(range(256)),) * 32),
        "both_streams": Script((b"one\n", ("stderr", b"two\n"), b"three\n")),
        "shell": Script((b"one\n", 0.001, b"two\n")),
        "vector": Script(ODD_ARGUMENT.encode() + b"\n"),
        "exit_0": Script(),
        "exit_1": Script(rc=1),
        "exit_3": Script(rc=3),
        "exit_127": Script(rc=127),
        "exit_255": Script(rc=255),
        "not_found": Script(rc=127),
        "killed": Script(signum=9),
        "cat": Script(echo),
        "until_eof": Script((ReadStdin(), b"done\n")),
        "flood": Script(zeros),
        "close_early": Script((b"open\n", CloseOutput(), ReadStdin()), rc=3),
        "background": Script(b"4242\n", holds_output=60.0),
        # A while to connect: it is the command whose opening is cancelled.
        "sleep": Script((b"ready\n", _HANGS), connect=0.005),
        "polite": Script((b"ready\n", _HANGS), on_term=(b"bye\n",)),
        "stubborn": Script((b"ready\n", _HANGS), on_term=None),
        "pipeline": Script((("stderr", b"ready\nready\n"), _HANGS)),
        "tree": Script((("stderr", b"ready\nready\nready\n"), _HANGS), on_term=None),
        "processes": Script(ListProcesses()),
    }


_MARKER = re.compile(r"\b7\d{8}\b")


def marked(command: Command, marker: str) -> Command:
    """`command` with `marker`, a number of nine digits that begins with 7, for each MARK."""
    if isinstance(command, str):
        return command.replace(MARK, marker)
    return tuple(part.replace(MARK, marker) for part in command)


def posix_like(*, unreachable: str | None = None) -> Callable[[Hashable, Command | Copy], Script]:
    """Scripts for a `SimulatedTransport` that acts like a POSIX machine in `check_transport`.

    It knows exactly the commands of that suite, by their text; any other one is not found
    (rc 127), as a shell would say. The node named `unreachable` cannot be reached.
    """
    names = {command: name for name, command in COMMANDS.items()}

    def script(node: Hashable, command: Command | Copy) -> Script:
        if node == unreachable and unreachable is not None:
            return Script(unreachable=f"{node} is simulated to be unreachable", connect=0.125)
        if isinstance(command, Copy):
            return Script(("stderr", b"cannot copy\n"), rc=1)
        if isinstance(command, str):
            known = names.get(_MARKER.sub(MARK, command))
        else:
            known = names.get(tuple(_MARKER.sub(MARK, part) for part in command))
        return Script(rc=127) if known is None else _acts()[known]

    return script
