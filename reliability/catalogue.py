"""The list of all faults that are tried."""

from __future__ import annotations

from dataclasses import replace

from reliability.case import Case, Place
from trioshell.testing import (
    ChangedHostKey,
    DropsBeforeAuth,
    DropsInOutput,
    Fault,
    Floods,
    GoesSilent,
    HangsInAuth,
    HangsInChannel,
    HangsInKex,
    NeverCloses,
    NobodyListens,
    RefusesKey,
    RevokedHostKey,
    SaysNothing,
    SpeaksGarbage,
    UnknownHostKey,
)

# Four processes, of which none minds SIGTERM.
TREE = "trap '' TERM; sleep 1000 & sh -c 'sleep 1000; :' & echo on; wait; wait"
TREE_PROCESSES = 4
KILOBYTE = "head -c 999 /dev/zero | tr '\\0' x; echo"
HOLDER = "env -u RELIABILITY_MARK sleep 5 &"
FLOOD = "i=0; while [ $i -lt 20 ]; do echo $i; i=$((i+1)); head -c 999999 /dev/zero; echo; done"
FLOOD_BYTES = 20 * 1_000_000 + sum(len(f"{i}\n") for i in range(20))

UNREACHABLE = ("Unreachable",)

# What nodes of the embedded cluster do to a client that wants to get in.
_AT_THE_DOOR: dict[str, tuple[str, Fault]] = {
    "nobody-listens": ("nobody listens", NobodyListens()),
    "says-nothing": ("the server accepts and says nothing", SaysNothing()),
    "garbage": ("it greets with something that is not SSH", SpeaksGarbage()),
    "endless-garbage": ("it does so endlessly", SpeaksGarbage(b"hello\n", endless=True)),
    "hangs-in-kex": ("it hangs in the key exchange", HangsInKex()),
    "hangs-in-auth": ("it hangs in authentication", HangsInAuth()),
    "hangs-at-open": ("it never answers the request for a session", HangsInChannel()),
    "hangs-at-exec": ("it never answers the request to run the command", HangsInChannel("exec")),
    "refuses-key": ("it refuses the key", RefusesKey()),
    "drops-always": ("it drops each connection before authentication", DropsBeforeAuth()),
    "changed-key": ("its host key has changed", ChangedHostKey()),
    "unknown-key": ("its host key is unknown", UnknownHostKey()),
    "revoked-key": ("its host key is revoked", RevokedHostKey()),
}


def _at_the_door() -> list[Case]:
    return [
        Case(name, title, "ssh", UNREACHABLE, faults=(fault,))
        for name, (title, fault) in _AT_THE_DOOR.items()
    ]


def _in_the_middle() -> list[Case]:
    """What nodes of the embedded cluster do once they have let the client in."""
    return [
        Case(
            "no-such-name", "the name does not resolve", "ssh", UNREACHABLE, node="nosuch.invalid"
        ),
        Case(
            "drops-once",
            "the server drops the first connection, as MaxStartups does, and serves the next",
            "ssh",
            faults=(DropsBeforeAuth(times=1),),
            script=KILOBYTE,
            written=1000,
        ),
        Case(
            "drops-in-output",
            "the connection breaks in the middle of the output",
            "ssh",
            UNREACHABLE,
            faults=(DropsInOutput(70_000),),
            script="head -c 60000 /dev/zero; sleep 0.5; head -c 20000 /dev/zero; sleep 1000",
            written=60_000,
        ),
        Case(
            "goes-silent",
            "the network goes silent in the middle of the output",
            "ssh",
            UNREACHABLE,
            faults=(GoesSilent(70_000),),
            script="head -c 60000 /dev/zero; sleep 0.5; head -c 20000 /dev/zero; sleep 1000",
            written=60_000,
            settings={"keepalive": 1},
            may_leave=99,
        ),
        Case(
            "floods",
            "the node floods each channel, and its command times out after 1 s",
            "ssh",
            # Our question whether the command has ended is answered by the flood, too.
            ("Unreachable",),
            faults=(Floods(),),
            timeout=1.0,
        ),
        Case(
            "never-closes",
            "the server never closes the channel",
            "ssh",
            faults=(NeverCloses(),),
            script=KILOBYTE,
            written=1000,
        ),
        Case(
            "yes",
            "the command floods us, and times out after 1 s",
            "ssh",
            ("TimedOut",),
            "yes",
            timeout=1.0,
        ),
        Case("exits-255", "the command itself exits with 255", "ssh", script="exit 255"),
    ]


def _ends(place: Place, user: str = "root") -> list[Case]:
    """A tree of processes that ignores SIGTERM, and all that is to end it."""
    at = {"local": "local", "ssh": "ssh", "sshd": f"sshd-{user}"}[place]
    tree = "a tree of processes that ignores SIGTERM"
    # ClusterShell's clock counts the login, which takes its time at a real sshd.
    seconds = 3.0 if place == "sshd" else 1.0
    cases = [
        Case(
            f"{at}-timeout",
            f"{tree} times out after {seconds:g} s",
            place,
            ("TimedOut",),
            TREE,
            timeout=seconds,
            written=3,
            user=user,
        ),
        Case(
            f"{at}-abort",
            f"{tree} is aborted",
            place,
            ("Aborted",),
            TREE,
            action="abort",
            written=3,
            user=user,
        ),
    ]
    if user != "root":
        return cases
    cases += [
        Case(
            f"{at}-{name}",
            title,
            place,
            (),
            TREE,
            signal=name,
            processes=TREE_PROCESSES,
            rounds=3,
            user=user,
        )
        for name, title in {
            "SIGINT": f"{tree}, and Ctrl-C for the program",
            "SIGTERM": f"{tree}, and SIGTERM for the program, which does not handle it",
            "SIGKILL": f"{tree}, and SIGKILL for the program",
        }.items()
    ]
    if place == "sshd":
        return cases
    return [
        *cases,
        Case(
            f"{at}-cancel",
            f"{tree}, and what surrounds the Task is cancelled",
            place,
            ("Aborted",),
            TREE,
            action="cancel",
            written=3,
        ),
        Case(
            f"{at}-raise",
            f"{tree}, and a handler raises",
            place,
            ("Aborted",),
            TREE,
            action="raise",
            written=3,
        ),
    ]


def _real_server() -> list[Case]:
    broken = "of a tree of processes that ignores SIGTERM is killed"
    silent = "stops in the middle of it, and answers nobody"
    return [
        Case(
            "sshd-killed",
            f"the sshd process {broken}",
            "sshd",
            UNREACHABLE,
            TREE,
            server_signal="SIGKILL",
            processes=TREE_PROCESSES,
            written=3,
        ),
        Case(
            "sshd-stopped",
            f"the sshd process {silent}",
            "sshd",
            UNREACHABLE,
            TREE,
            server_signal="SIGSTOP",
            processes=TREE_PROCESSES,
            written=3,
            settings={"keepalive": 1},
        ),
    ]


def _anywhere(place: Place) -> list[Case]:
    """What commands do, wherever they run."""
    cases = [
        Case(
            "carriage-return",
            "lines with a lone carriage return",
            place,
            written=8,
            script=r"printf 'a\rb\nc\rd\n'",
        ),
        Case(
            "not-utf-8",
            "output that is not UTF-8",
            place,
            written=5,
            script=r"printf '\377\376x\200\n'",
        ),
        Case(
            "long-line",
            "a line of 4 MB",
            place,
            written=4_000_001,
            script="head -c 4000000 /dev/zero | tr '\\0' x; echo",
        ),
        Case(
            "background",
            "a process in the background holds the output open for 5 s",
            place,
            script=f"{KILOBYTE}; {HOLDER}",
            written=1000,
        ),
        Case(
            "closes-early",
            "the command closes its output, and goes on for 3 s",
            place,
            script=f"{KILOBYTE}; exec >&- 2>&-; sleep 3",
            written=1000,
        ),
        Case(
            "partial-line",
            "a last line without its end, before a timeout of 1 s",
            place,
            ("TimedOut",),
            "printf 'on\\nPassword: '; exec sleep 1000",
            timeout=1.0,
            written=13,
        ),
        Case(
            "killed",
            "SIGKILL by somebody else",
            place,
            ("Signaled",),
            f"{KILOBYTE}; kill -KILL $$",
            written=1000,
        ),
        Case(
            "stopped",
            "the command stops itself (SIGSTOP), timeout 1 s",
            place,
            ("TimedOut",),
            f"{KILOBYTE}; kill -STOP $$; exit",
            written=1000,
            timeout=1.0,
        ),
        Case(
            "own-groups",
            "the command makes process groups of its own, timeout 1 s",
            place,
            ("TimedOut",),
            "timeout 1000 sleep 1000 & timeout 1000 sleep 1000",
            timeout=1.0,
        ),
        Case(
            "own-session",
            "a process of it leaves the session (setsid), timeout 1 s",
            place,
            ("TimedOut",),
            "setsid sleep 20 & sleep 1000",
            timeout=1.0,
            may_leave=1,
        ),
        Case(
            "unread-input",
            "1 MB of input to a command that exits at once",
            place,
            script="exit 0",
            stdin=1_000_000,
        ),
        Case(
            "slow-handler",
            "20 MB through a handler that is slow",
            place,
            written=FLOOD_BYTES,
            script=FLOOD,
            pause=0.1,
            limit=40.0,
        ),
    ]
    return [_at(place, case) for case in cases]


def _at(place: Place, case: Case) -> Case:
    return replace(case, name=f"{place}-{case.name}")


def _local() -> list[Case]:
    return [
        Case(
            "not-found",
            "a command that there is not (an argument vector)",
            "local",
            ("NotStarted",),
            argv=("/nonexistent/command",),
        ),
        Case(
            "descriptors",
            "a limit of 40 descriptors, fanout 64",
            "local",
            script=KILOBYTE,
            written=1000,
            descriptors=40,
            nodes=60,
        ),
    ]


def _copies() -> list[Case]:
    return [
        Case(
            "copy-aborted",
            "a copy of 200 MB is aborted in the middle",
            "ssh",
            ("Aborted", "NotStarted"),
            action="copy",
            rounds=1,
        ),
    ]


CASES: tuple[Case, ...] = (
    *_anywhere("local"),
    *_local(),
    *_ends("local"),
    *_at_the_door(),
    *_in_the_middle(),
    *_anywhere("ssh"),
    *_ends("ssh"),
    *_copies(),
    *_ends("sshd"),
    *_ends("sshd", "user"),
    *_real_server(),
)
