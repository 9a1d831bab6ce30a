"""The command line that ssh(1) is given, and the command's exit code in what comes back.

ssh(1) tells the exit code only when the connection's channel is closed, which whoever holds
the output open can put off for ever, and tells 255 for its own failures as well. So here the
shell that the guard's line starts stays in place as the command's parent: it reports the
exit code on the output, the moment it has it, and `Ending` takes that report out again. It
costs one process on the target, and no round trip.

What this cannot tell: whether a code above 128 was an exit or a signal, for to a shell they
are the same. It is taken for the signal, which it nearly always is; 255 is never one.

Pure: text and bytes in, text and bytes out.
"""

from __future__ import annotations

import re

from trioshell._results import Exited, Signaled
from trioshell.transports._base import Command
from trioshell.transports._guard import command_line as guarded_line

# The shell in place survives what it can, to report what has become of the command; its own
# words about that ("Terminated") do not get into the command's stderr.
_BEFORE = "trap : HUP INT QUIT USR1 USR2 PIPE ALRM TERM;exec 3>&2 2>/dev/null;"
_AFTER = ';s=$?;echo "$t over $s";exit $s'
_LINE = '(exec "${SHELL:-sh}" -c "$1" 2>&3 3>&-)'
_VECTOR = '(exec "$@" 2>&3 3>&-)'

_LAST_SIGNAL = 64


def command_line(command: Command, token: str, *, merge: bool) -> str:
    """The line to send for `command`, whatever the login shell of the target is.

    Arguments and errors are those of the guard's `command_line`. Its `Opening`, made for a
    string, finds the report of the process group, and `Ending` that of the exit code.
    """
    report = "" if merge else "echo $t $$ >&2;"
    words: tuple[str, ...] = (command,) if isinstance(command, str) else command
    if isinstance(command, str):
        script = _LINE
    else:
        # With a hyphen in front it would be an option of exec to some shells.
        script = _VECTOR
        if words[0].startswith("-"):
            words = ("env", "--", *words)
    script = f"t={token};{report}{_BEFORE}{script}{_AFTER}"
    return guarded_line(("sh", "-c", script, "sh", *words), token, merge=merge)


class Ending:
    """The end of a command's output, from which it takes the report of the exit code.

    Attributes:
        status: the exit code as a shell has it, once it has been reported.
    """

    def __init__(self, token: str) -> None:
        self.status: int | None = None
        self._token = token.encode()
        self._report = re.compile(re.escape(self._token) + rb" over (\d{1,3})\n")
        self._longest = len(token) + len(" over 255\n")
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take a chunk of stdout; return what of it is the command's own."""
        if self.status is not None:
            return data  # of somebody whom the command has left behind
        data = self._held + data
        self._held = b""
        if self._token in data and (found := self._report.search(data)):
            self.status = int(found[1])
            return data[: found.start()] + data[found.end() :]
        keep = self._partial(data)
        if keep:
            self._held = data[-keep:]
            data = data[:-keep]
        return data

    def rest(self) -> bytes:
        """What was held back, and was not the beginning of a report after all."""
        held, self._held = self._held, b""
        return held

    @property
    def outcome(self) -> Exited | Signaled | None:
        """How the command ended, once it has been reported."""
        if self.status is None:
            return None
        signum = self.status - 128
        return Signaled(signum) if 0 < signum <= _LAST_SIGNAL else Exited(self.status)

    def _partial(self, data: bytes) -> int:
        """The length of the end of `data` that may be the beginning of the report."""
        start = max(0, len(data) - self._longest)
        while (at := data.find(self._token[:1], start)) >= 0:
            tail = data[at:]
            size = len(self._token)
            if self._token.startswith(tail[:size]) and b" over ".startswith(tail[size : size + 6]):
                return len(tail)
            start = at + 1
        return 0
