"""Ending everything that a remote command started, with nothing there but a POSIX shell.

How it works. A command is sent behind a short prefix. The shell that is going to run it, or to
*become* it, first reports its process id on the output (`Opening` takes the report out again).
This number leads the command's process group, session and family tree. To end it,
a **guard** (one `sh` beside the commands, which `guard_line` starts) is told that number:
it sends SIGTERM to the group and to whatever else belongs to the command, waits, sends
SIGKILL, looks at what is left and says so. A guard that was told about commands beforehand
ends all of them when its input ends, which is what happens when the connection dies. A
command that ends by itself costs no guard and no round trip.

What belongs to a command: its process group, its session, and the living descendants of
its leader, whatever group or session these are in. A process that has left all three (a
daemon that forked twice and called setsid) has been let go on purpose and is left alone.

Login shells differ, so every line made here means the same to sh, csh, tcsh and fish: it
is made of ``sh -c``, ``exec``, ``eval``, ``&&`` and quoted words, which hold nothing that any of
them would read. (fish before 3.0 does not know ``&&``.)

Pure: bytes and text in, bytes and text out; the caller moves them.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Literal, TypeAlias

from trioshell.transports._base import Command

# csh refuses words beyond 1 kB (tcsh of old) or 8 kB (bsd-csh): longer ones go in pieces.
_PIECE_CHARS = 800

# How much output may come before the report before we stop holding it back.
_MAX_HELD_BYTES = 65536

# After the number, in the report of a login shell that runs the command itself.
_HERE = "here"

_LONGEST_REPORT = 10 + 1 + len(_HERE) + 1  # the number, and the rest of its line

# A line holds a command twice, once for each kind of shell, and must not become too long for
# the kernel. A longer command is run by a shell of its own in any case.
_MOST_CHARS_TWICE = 16_384

# csh reads a newline even inside quotes, so it travels as an escape of printf's %b.
_ESCAPES = str.maketrans({"\\": "\\0134", "\n": "\\0012"})

# How long the guard gives the commands of a connection that died, in milliseconds.
_ORPHAN_GRACE_MS = 2000


def command_line(command: Command, token: str, *, merge: bool, stdin: bool = True) -> str:
    """The line to send for `command`, whatever the login shell of the target is.

    A string is run by that login shell as ssh would have it run: by the very one that reads
    this line, if it is a kind of sh, by another one of its kind if it is a csh or a fish
    (which then read what they read at their start twice: `Opening` drops what the first one
    says). A vector is run as it is; no shell looks at its words.

    Args:
        command: a shell command line, or an argument vector.
        token: a few random letters and digits, by which `Opening` knows the report.
        merge: True to send stderr where stdout goes, in the order of writing.
        stdin: False to give the command an empty stdin, whatever the caller's end of it does.

    Raises:
        ValueError: `command` holds a NUL byte, which no shell can take.
    """
    if "\0" in (command if isinstance(command, str) else "".join(command)):
        raise ValueError("the command contains a NUL byte; no shell on the target accepts one")
    redirections = (" 2>&1" if merge else "") + ("" if stdin else " </dev/null")
    redirect = f"exec{redirections};" if redirections else ""
    if isinstance(command, str):
        return _string_line(command, token, redirect, merge=merge)
    report = f"echo {token} $$;{redirect}"
    if command[0].startswith("-"):  # which some shells would take for an option of exec
        command = ("env", "--", *command)
    if any("\n" in word or len(word) > _PIECE_CHARS for word in command):
        return _sh(report, 'eval "exec $c"', shlex.join(command))
    return f"exec sh -c '{report}exec \"$@\"' sh {' '.join(map(_quote, command))}"


# Run by the login shell, to find out what that is; true if it is one that has a syntax of its
# own, and has not been told who it is then. (What SHELL says is right, but can be changed.)
_WHICH_SHELL = (
    "sh -c '{{ read c </proc/$PPID/comm;}} 2>/dev/null||c=${{SHELL##*/}};"
    "case $c in *csh|*fish)exit 0;esac;echo {token} $PPID {here};exit 1'"
)


def _string_line(command: str, token: str, redirect: str, *, merge: bool) -> str:
    # Its stderr carries a report of its own unless it is merged: see `Opening`.
    report = f"echo {token} $$;" + ("" if merge else f"echo {token} $$ >&2;")
    anew = _sh(report + redirect, 'exec "${SHELL:-sh}" -c "$c"', command)
    if len(command) > _MOST_CHARS_TWICE:
        return anew
    here = f"eval '{redirect}:';"
    # On one line, so that a shell counts the lines of the command from 1.
    return f"{_WHICH_SHELL.format(token=token, here=_HERE)}&&{anew};{here}{command}"


def _sh(before: str, then: str, text: str) -> str:
    """A line that has sh run `before`, then put `text` into ``$c``, then run `then`."""
    if "\n" not in text and len(text) <= _PIECE_CHARS:
        return f"exec sh -c '{before}c=$0;{then}' {_quote(text)}"
    # The dot keeps the newlines at the end, which a command substitution would eat.
    decode = 'for p;do c=$c$p;done;c=$(printf %b "$c.");c=${c%.};'
    escaped = text.translate(_ESCAPES)
    pieces = [escaped[at : at + _PIECE_CHARS] for at in range(0, len(escaped), _PIECE_CHARS)]
    return f"exec sh -c '{before}c=;{decode}{then}' sh {' '.join(map(_quote, pieces))}"


def _quote(word: str) -> str:
    """`word` (without newlines) as one word of sh, csh and fish alike.

    Three characters may not stand inside single quotes: ``'`` itself, ``!`` (csh's
    history) and ``\\`` (fish's escape). Outside, behind a backslash, all agree on them.
    """
    return "'" + re.sub(r"([!'\\])", r"'\\\1'", word) + "'"


class Opening:
    """The beginning of a command's output, from which it takes the report of its shell.

    Feed it every chunk of both streams, then call `rest` for each stream when the command
    is over. What it returns is the command's own output, and nothing of it is lost,
    whatever the chunking. If no report ever comes (a forced command, no shell at all),
    everything that came is returned.

    What a shell prints at its start, before the report, counts as output, as with ssh. But
    where a second shell of its kind runs the command, it prints the same again, so that what
    the first one has printed is dropped.

    Attributes:
        group: the process id that leads the command, once it has been reported.
    """

    def __init__(self, command: Command, token: str, *, merge: bool) -> None:
        self.group: int | None = None
        self._token = token.encode() + b" "
        self._held = {"stdout": b"", "stderr": b""}
        self._waiting = True  # for the report, on stdout
        # With a vector no second shell comes. With a string, the report says whether one does;
        # until then what has been printed may have to be dropped.
        self._is_string = isinstance(command, str)
        # If one does: merged, all that still comes on stderr was said by the first shell. Kept
        # apart, stderr bears a report of its own behind what that has said.
        self._mute_stderr = self._is_string and merge
        self._stderr_reports = self._is_string and not merge

    def feed(self, sname: str, data: bytes) -> bytes:
        """Take a chunk of the stream `sname`; return what of the output may be passed on."""
        if sname == "stdout":
            return self._feed_stdout(data) if self._waiting else data
        if self._stderr_reports:
            return self._feed_stderr(data)
        if self._mute_stderr and not self._waiting:
            return b""
        held, self._held["stderr"] = self._held["stderr"] + data, b""
        if self._mute_stderr and len(held) <= _MAX_HELD_BYTES:
            self._held["stderr"] = held
            return b""
        return held

    def rest(self, sname: str) -> bytes:
        """What was held back of the stream `sname` and belongs to the output after all."""
        held, self._held[sname] = self._held[sname], b""
        return held

    def _feed_stdout(self, data: bytes) -> bytes:
        held = self._held["stdout"] + data
        found = self._find(held)
        if found is None:
            # Of a string all is held back: it may turn out to be what a first shell has said.
            whole = self._is_string and len(held) <= _MAX_HELD_BYTES
            keep = len(held) if whole else self._partial(held)
            self._held["stdout"] = held[len(held) - keep :]
            return held[: len(held) - keep]
        start, end, self.group, here = found
        self._waiting = False
        self._held["stdout"] = b""
        if here or not self._is_string:
            self._mute_stderr = self._stderr_reports = False
            return held[:start] + held[end:]
        if self._mute_stderr:
            self._held["stderr"] = b""
        return held[end:]

    def _feed_stderr(self, data: bytes) -> bytes:
        """Drop what comes on stderr up to the report that the first shell has put there."""
        held, self._held["stderr"] = self._held["stderr"] + data, b""
        found = self._find(held)
        if found is None and len(held) <= _MAX_HELD_BYTES:
            self._held["stderr"] = held
            return b""
        self._stderr_reports = False
        return held if found is None else held[found[1] :]

    def _find(self, data: bytes) -> tuple[int, int, int, bool] | None:
        """Where the report begins and ends, its number, and whether no other shell follows."""
        start = -1
        # No regular expression: one would have to be compiled for each command's token.
        while (start := data.find(self._token, start + 1)) >= 0:
            digits = start + len(self._token)
            end = data.find(b"\n", digits, digits + _LONGEST_REPORT)
            words = data[digits:end].split(b" ")
            if end > digits and words[0].isdigit() and words[1:] in ([], [_HERE.encode()]):
                return start, end + 1, int(words[0]), len(words) > 1
        return None

    def _partial(self, data: bytes) -> int:
        """The length of the end of `data` that may be the beginning of a report."""
        longest = len(self._token) + _LONGEST_REPORT
        for start in range(max(0, len(data) - longest), len(data)):
            tail = data[start:]
            if self._token.startswith(tail[: len(self._token)]) and b"\n" not in tail:
                return len(tail)
        return 0


@dataclass(frozen=True, slots=True)
class Ready:
    """The guard has started and listens."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The guard has ended the group, or tried to.

    Attributes:
        group: the number that it was told.
        by_itself: True if the command was over already; then nothing was touched.
        left: the process ids that would not die, or that we may not kill; usually none.
    """

    group: int
    by_itself: bool = False
    left: tuple[int, ...] = ()


Answer: TypeAlias = Ready | Ended


class Answers:
    """What a guard says, parsed from its stdout, whatever else its login shell prints."""

    def __init__(self, token: str) -> None:
        word = re.escape(token.encode())
        self._line = re.compile(word + rb" (ready|over|gone|left)((?: \d{1,10})*)$")
        self._rest = b""

    def feed(self, data: bytes) -> list[Answer]:
        """Take a chunk; return the answers that are complete with it."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_MAX_HELD_BYTES:]
        return [answer for line in lines if (answer := self._parse(line)) is not None]

    def _parse(self, line: bytes) -> Answer | None:
        found = self._line.search(line)
        if found is None:
            return None
        numbers = [int(number) for number in found[2].split()]
        if found[1] == b"ready":
            return Ready()
        if not numbers:
            return None
        return Ended(numbers[0], found[1] == b"over", tuple(numbers[1:]))


def guard_line(token: str) -> str:
    """The line that starts a guard, which then reads `say` from its stdin.

    It answers on its stdout, for `Answers` with the same token: `Ready` once, then one
    `Ended` for each group that it was told to end. When its stdin ends it ends what it
    still knows, finishes what it is doing, and exits.
    """
    text = _GUARD.replace("TOKEN", token).replace("ORPHAN", str(_ORPHAN_GRACE_MS))
    return _sh("", 'eval "$c"', text)


def say(what: Literal["know", "forget"], group: int) -> bytes:
    """What to write to a guard when a command comes (``"know"``) or has ended (``"forget"``)."""
    return b"%s %d\n" % (b"+" if what == "know" else b"-", group)


def say_end(group: int, grace: float) -> bytes:
    """What to write to a guard to have a command ended: SIGKILL after `grace` seconds."""
    return b"x %d %d\n" % (group, max(0, round(min(grace, 1e6) * 1000)))


# Written for the smallest shell (dash, busybox): no local, no arrays, no $'..'. Functions
# that change variables run in the subshell of one `ending`, so they disturb nobody.
_GUARD = r"""
exec 2>/dev/null
trap '' HUP PIPE

# Lines of: pid, parent, group, session, state. ps prints nothing that a process could have
# chosen, which its name in /proc/PID/stat is; there only the numbers behind it are believed.
table() {
    ps -A -o pid= -o ppid= -o pgid= -o sid= -o stat= && return
    for d in /proc/[0-9]*; do
        read -r s <$d/stat || continue
        set -- ${s##*) }
        echo ${d#/proc/} $2 $3 $4 $1
    done
    [ -r /proc/self/stat ] && return
    ps -A -o pid= -o ppid= -o pgid= -o pgid= -o stat=
}

# When a process began (in Linux; elsewhere nothing): tells it from a later one of its number.
born() {
    b=
    read -r s </proc/$1/stat || return
    set -- ${s##*) }
    shift 19
    b=$1
}

# Sets live to all living processes of group $g, others to those outside of the group itself.
look() {
    t=$(table)
    if [ -z "$t" ]; then
        live=' '
        kill -0 -- -$g || kill -0 $g && live=" $g "
        return
    fi
    family=" $g $others "
    n=
    while [ "$n" != "$family" ]; do
        n=$family
        live=' '
        others=
        set -- $t
        while [ $# -ge 5 ]; do
            m=
            [ "$3" = $g ] || [ "$4" = $g ] && m=1
            case $family in *" $1 "*|*" $2 "*) m=1 ;; esac
            case $m$5 in
            1[ZX]*) ;;
            1*)
                live="$live$1 "
                [ "$3" = $g ] || others="$others $1"
                case $family in *" $1 "*) ;; *) family="$family$1 " ;; esac
                ;;
            esac
            shift 5
        done
    done
}

# Waits until all are gone, for $1 milliseconds. kill -0 is cheap, but counts the dead whom
# nobody has buried yet, and does not see what we may not touch: so now and then, look.
gone_within() {
    nap=20
    slept=0
    while :; do
        [ $nap -ge 80 ] && look
        case $live in ' ') return 0 ;; esac
        if [ $nap -lt 80 ]; then
            kill -0 -- -$g $others || { look; [ "$live" = ' ' ] && return 0; }
        fi
        [ $slept -ge $1 ] && return 1
        [ $nap -gt $(($1 - slept)) ] && nap=$(($1 - slept))
        case $nap in ?) f=00$nap ;; ??) f=0$nap ;; *) f=$nap ;; esac
        if sleep 0.$f; then slept=$((slept + nap)); else sleep 1; slept=$((slept + 1000)); fi
        nap=$((nap * 2))
        [ $nap -gt 320 ] && nap=320
    done
}

# Ends the group $1 within $2 milliseconds, if it still is the one that began at $3.
ending() {
    g=$1
    others=
    look
    born $g
    case $live in *" $g "*) ;; *) echo TOKEN over $g; return ;; esac
    [ -z "$3" ] || [ "$3" = "$b" ] || { echo TOKEN over $g; return; }
    if [ $2 -gt 0 ]; then
        kill -s TERM -- -$g $others
        gone_within $2 && { echo TOKEN gone $g; return; }
        look
    fi
    for again in 1 2 3; do
        kill -s KILL -- -$g $others
        gone_within 320 && { echo TOKEN gone $g; return; }
    done
    echo TOKEN left $g $live
}

known=' '
forget() {
    found=
    case $known in
    *" $1:"*)
        found=${known#*" $1:"}
        known="${known%%" $1:"*} ${found#* }"
        found=${found%% *}
        ;;
    esac
}

echo TOKEN ready
while read -r what g ms; do
    case $g in ''|*[!0-9]*|0|1) continue ;; esac
    case $what in
    +) born $g; known="$known$g:$b " ;;
    -) forget $g ;;
    x) forget $g; ending $g $ms $found & ;;
    esac
done
for one in $known; do
    ending ${one%%:*} ORPHAN ${one#*:} &
done
wait
"""
