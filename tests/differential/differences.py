"""All that trioshell does otherwise than ClusterShell 1.10.1, each with a case that shows it.

Whatever is not in these tables is the same, as far as the tests that compare both can see.
docs/differences.md is made from here: run this file to write it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tests.cli.conftest import Done
from tests.differential.alike import HANGS, TIMEOUT
from tests.differential.cases import Case, Reaction, Seen, Work, case

Given = TypeVar("Given")
Got = TypeVar("Got")

PAGE = Path(__file__).parent.parent.parent / "docs" / "differences.md"
BEGIN, END = "<!-- from here on made by tests/differential/differences.py -->", "<!-- to here -->"


@dataclass(frozen=True)
class Difference(Generic[Given, Got]):
    """One thing that the two do differently.

    Attributes:
        name: what it is about.
        peer: what ClusterShell, or clush, does.
        ours: what we do.
        why: why we do.
        given: where it shows.
        peer_shows: whether the peer did what is said of it. (The CPU time that it is shown is
            in multiples of the other's.)
        ours_shows: whether we did.
        slow: whether it takes long to show, and is left to the soak.
    """

    name: str
    peer: str
    ours: str
    why: str
    given: Given
    peer_shows: Callable[[Got], bool]
    ours_shows: Callable[[Got], bool]
    slow: bool = False


InLibrary = Difference[Case, Seen]
InProgram = Difference[tuple[str, ...], Done]


def on(event: str, do: str) -> tuple[Reaction]:
    return (Reaction(event, do),)


def raises(error: str) -> Callable[[Seen], bool]:
    return lambda seen: seen.error.startswith(error)


def hups(seen: Seen, node: str = "n1") -> list[int | None]:
    """The return codes that the handler was told for that node."""
    return [event[1] for event in seen.told("hup", node)]


def starts_in_order(seen: Seen) -> bool:
    return list(seen.histories[0]) == [f"n{number}" for number in range(1, 41)]


# What the peer loses, or leaves behind.
LOSSES: tuple[InLibrary, ...] = (
    Difference(
        "a lone carriage return in a line",
        "drops what comes before it, and the last time shows it after everything else",
        "cuts lines at newlines only, and takes one carriage return away before each",
        "progress bars, curl and Windows programs write such lines",
        case(r"printf 'a\rb\nc\rd\ne\r\n'"),
        lambda peer: peer.lines() == ["b", "d", "e", "c\r"],
        lambda ours: ours.lines() == ["a\rb", "c\rd", "e"],
    ),
    Difference(
        "a command that closes its output and goes on",
        "stands still until it ends, and so do all others, whose timeouts go on",
        "waits for the end of the process, and for nobody else",
        "one command must not disturb another",
        # The first ends only some time after the second has said something, which it does some
        # time after the first has closed its output. Who is alive when that is told?
        Case(
            (
                Work(
                    "exec >&- 2>&-; touch PLACE/closed; until [ -e PLACE/said ]; do sleep 0.1; "
                    "done; sleep 3.25",
                    "a1",
                ),
                Work(
                    "until [ -e PLACE/closed ]; do sleep 0.1; done; sleep 3; echo b; "
                    "touch PLACE/said",
                ),
            ),
            reactions=on("read b", "look"),
        ),
        lambda peer: "sleep 3.25" not in str(peer.alive) and peer.task["key_buffer of n1"] == "b",
        lambda ours: "sleep 3.25" in str(ours.alive) and ours.task["key_buffer of n1"] == "b",
        slow=True,
    ),
    Difference(
        "what a command that times out has started",
        "kills the first process only; its children live on",
        "ends the whole process group, and its other groups",
        "nothing is left behind",
        case("echo a; sleep 60 & wait", timeout=TIMEOUT),
        lambda peer: peer.survivors == ["sleep 60"],
        lambda ours: ours.survivors == [],
    ),
    Difference(
        "what a command that is aborted has started",
        "kills the first process only; its children live on",
        "ends the whole process group, and its other groups",
        "nothing is left behind",
        case("sleep 60 & echo a; wait", reactions=on("read a", "abort")),
        lambda peer: peer.survivors == ["sleep 60"],
        lambda ours: ours.survivors == [],
    ),
    Difference(
        "a last word before the end",
        "kills at once by SIGKILL, on a timeout and an abort",
        "sends SIGTERM, keeps what is said then, and sends SIGKILL after `kill_grace`",
        "commands clean up after themselves when they are told to end",
        case("trap 'echo bye; exit' TERM; echo a; sleep 60 & wait", timeout=TIMEOUT),
        lambda peer: peer.lines() == ["a"],
        lambda ours: ours.lines() == ["a", "bye"],
    ),
    Difference(
        "a grandchild in the background that holds the output open",
        "waits until the grandchild ends",
        "is over when the command is, after a tenth of a second in which more may come",
        "`daemon &` must not hold up everything; ssh has the same fault",
        case("sleep 7 & echo a", reactions=on("hup", "look")),
        lambda peer: "sleep 7" not in peer.alive and peer.lines() == ["a"],
        lambda ours: "sleep 7" in ours.alive and ours.lines() == ["a"],
        slow=True,
    ),
    Difference(
        "`ev_hup` on a timeout",
        "is left out",
        "comes for each `ev_pickup`, with the return code None",
        "who counts the nodes that run needs to be told of each end",
        case(f"echo a; {HANGS}", timeout=TIMEOUT),
        lambda peer: hups(peer) == [],
        lambda ours: hups(ours) == [None],
    ),
    Difference(
        "`ev_hup` on an abort",
        "is left out",
        "comes for each `ev_pickup`, with the return code None",
        "who counts the nodes that run needs to be told of each end",
        case(f"echo a; {HANGS}", reactions=on("read a", "abort")),
        lambda peer: hups(peer) == [],
        lambda ours: hups(ours) == [None],
    ),
    Difference(
        "the last line before a timeout, without its newline",
        "is dropped",
        "is told and kept",
        "it is often the prompt at which the command hangs",
        case(f"echo a; printf 'password: '; {HANGS}", timeout=TIMEOUT),
        lambda peer: peer.lines() == ["a"],
        lambda ours: ours.lines() == ["a", "password: "],
    ),
    Difference(
        "`task.abort()`",
        "forgets what has been gathered",
        "keeps it",
        "output that has come is never lost",
        case(f"echo a; {HANGS}", reactions=on("read a", "abort task")),
        lambda peer: peer.worker("buffers") == [],
        lambda ours: ours.worker("buffers") == [["a", "n1"]],
    ),
    Difference(
        "`task.abort()` while nodes wait for their place in the fanout",
        "leaves `ev_close` out",
        "tells everything to its end",
        "each worker that starts is closed",
        case(f"echo a; {HANGS}", "n[1-3]", fanout=1, reactions=on("read a", "abort task")),
        lambda peer: peer.events == [[["start"]]],
        lambda ours: ours.events == [[["start"], ["close", False]]],
    ),
    Difference(
        "out of descriptors",
        "ends the run with OSError, and does not report most nodes",
        "starts a node when another one has ended, and reports all",
        "a local command takes up to four descriptors, and a limit of 1024 is common",
        case("echo a", "n[1-30]", descriptors=40),
        lambda peer: "Errno 24" in peer.error and len(peer.worker("node_retcodes")) < 30,
        lambda ours: ours.error == "" and len(ours.worker("node_retcodes")) == 30,
    ),
    Difference(
        "SIGPIPE",
        "is ignored in commands, so that a pipeline complains when a reader has ended",
        "is at its default",
        "commands must find what they would find in a shell",
        case("yes | head -1", stderr=True),
        lambda peer: "Broken pipe" in peer.worker("node_errors").get("n1", ""),
        lambda ours: ours.worker("node_errors") == {} and ours.lines() == ["y"],
    ),
    Difference(
        "`%h` in a shell command line",
        "puts the name in as it is: a name with a semicolon in it is a command",
        "quotes it",
        "names may come from somebody else",
        case("echo %h", "x;echo"),
        lambda peer: peer.lines("x;echo") == ["x", ""],
        lambda ours: ours.lines("x;echo") == ["x;echo"],
    ),
    Difference(
        "a node whose name begins with a dash",
        "is handed to ssh as an option, of which `-oProxyCommand=…` runs a command here",
        "is a ValueError before anything starts; the user's ssh is given `--` before the name",
        "names may come from somebody else",
        case("uname", "-oProxyCommand=id", ssh="PLACE/ssh"),
        lambda peer: "-oProxyCommand=id" in peer.lines("-oProxyCommand=id"),
        lambda ours: ours.error.startswith("ValueError: nodes: the name '-oProxyCommand=id'"),
    ),
    Difference(
        "a very long line",
        "is searched anew from its beginning at each read: 8 MB take several times the CPU",
        "is searched once",
        "the cost grows with the square of the length",
        case("head -c 8000000 /dev/zero | tr '\\0' x"),
        lambda peer: peer.lines()[0].startswith("8000000 bytes") and peer.cpu > 2.5,
        lambda ours: ours.lines()[0].startswith("8000000 bytes") and ours.cpu < 1 / 2.5,
    ),
    Difference(
        "`abort` in `ev_start`",
        "ends the run with AssertionError",
        "is an abort",
        "everything may be called from every method",
        case("echo a", "n[1-2]", fanout=1, reactions=on("start", "abort")),
        raises("AssertionError"),
        lambda ours: ours.error == "" and ours.events == [[["start"], ["close", False]]],
    ),
    Difference(
        "`abort` in `ev_pickup`",
        "ends the run with AssertionError",
        "is an abort",
        "everything may be called from every method",
        case("echo a", "n[1-2]", fanout=1, reactions=on("pickup", "abort")),
        raises("AssertionError"),
        lambda ours: ours.error == "" and ours.events == [[["start"], ["close", False]]],
    ),
    Difference(
        "new work in `ev_start`",
        "ends the run with RuntimeError, and the worker loses its output",
        "is run",
        "everything may be called from every method",
        case("echo a", reactions=on("start", "shell echo b")),
        lambda peer: peer.error.startswith("RuntimeError") and peer.worker("buffers") == [],
        lambda ours: ours.task["buffers"] == [["a", "n1"], ["b", "new"]],
    ),
    Difference(
        "a handler that raises",
        "leaves what runs to itself, and tells of it no more",
        "has everything aborted and told to its end; then it comes out of the Task's block",
        "nothing is left behind",
        case(f"echo a; {HANGS}", "n[1-2]", reactions=on("read a", "raise")),
        lambda peer: hups(peer, "n1") + hups(peer, "n2") == [],
        lambda ours: hups(ours, "n1") + hups(ours, "n2") == [None, None] and ours.survivors == [],
    ),
)

# What is nobody's loss, but otherwise all the same.
CHOICES: tuple[InLibrary, ...] = (
    Difference(
        "the order of nodes",
        "nodes start, and results come, in the order of the library's internals",
        "in the order of the node set, and groups in that of their first node",
        "the same command prints the same text twice",
        case(":", "n[1-40]"),
        lambda peer: not starts_in_order(peer),
        starts_in_order,
    ),
    Difference(
        "`%hosts`",
        "makes the worker run its command once, for all nodes",
        "is the node set, and changes nothing else",
        "a word in a command does not decide how often it runs; a command without nodes runs once",
        case("echo %hosts $$", "n[1-2]"),
        lambda peer: len(peer.worker("buffers")) == 1,
        lambda ours: len(ours.worker("buffers")) == 2,
    ),
    Difference(
        "a placeholder that does not exist",
        "is a WorkerError when the worker starts",
        "is a ValueError at the call",
        "a wrong argument is told before anything starts",
        case("echo %x"),
        raises("WorkerError"),
        raises("ValueError: command: '%x' is no placeholder"),
    ),
    Difference(
        "a fanout below 1",
        "is accepted, and nothing runs",
        "is a ValueError",
        "a wrong argument is told before anything starts",
        case("echo a", fanout=0),
        lambda peer: peer.error == "" and peer.worker("node_retcodes") == {},
        raises("ValueError: fanout"),
    ),
    Difference(
        "a negative timeout",
        "is none",
        "is a ValueError; None and infinity are none",
        "it is the result of a subtraction that went wrong",
        case("echo a", timeout=-1.0),
        lambda peer: hups(peer) == [0],
        raises("ValueError: timeout"),
    ),
    Difference(
        "an empty command",
        "is run, and succeeds",
        "is a ValueError",
        "it is a variable that nobody has set",
        case(" "),
        lambda peer: hups(peer) == [0],
        raises("ValueError: command must not be empty"),
    ),
    Difference(
        "a name with white space or control characters in it",
        "is a node",
        "is a ValueError before anything starts",
        "it cannot be one, and it would be shown on terminals",
        case("echo a", "n1\tn2"),
        lambda peer: hups(peer, "n1\tn2") == [0],
        raises("ValueError: nodes: 'n1\\tn2' contains white space"),
    ),
    Difference(
        "a group that does not exist",
        "is no nodes at all in a library call, and nothing runs",
        "is a ValueError",
        "a wrong name must not look like success",
        case("echo a", "@nosuchgroup"),
        lambda peer: peer.error == "" and peer.worker("node_retcodes") == {},
        raises("ValueError: nodes: '@nosuchgroup'"),
    ),
    Difference(
        "`node_buffer` of a node that has written nothing",
        "is None",
        "is an empty message",
        "who reads output need not ask first whether there is any",
        case(":"),
        lambda peer: peer.worker("node_buffer of n1") == "TypeError",
        lambda ours: ours.worker("node_buffer of n1") == "",
    ),
    Difference(
        "`node_buffer` and `key_buffer` of a node that there is not",
        "is None, or empty",
        "is a KeyError, as with `node_retcode`",
        "a wrong name must not look like a node that has written nothing",
        case("echo a", "n2"),
        lambda peer: peer.task["key_buffer of n1"] == "",
        lambda ours: ours.task["key_buffer of n1"] == "KeyError",
    ),
    Difference(
        "`key_buffer` of a key that several workers have",
        "joins their outputs without a newline between them, equal ones only once",
        "joins them all, as lines",
        "the last line of one is not the first of the next",
        Case((Work("echo a"), Work("echo b"), Work("echo a"))),
        lambda peer: sorted(peer.task["key_buffer of n1"]) == ["a", "b"],
        lambda ours: ours.task["key_buffer of n1"] == "a\nb\na",
    ),
    Difference(
        "a message of one empty line",
        "is false",
        "is true; a message without lines is false",
        "an empty line is something",
        case("echo"),
        lambda peer: peer.worker("truths") == [False],
        lambda ours: ours.worker("truths") == [True],
    ),
    Difference(
        "`current_node` of a command without nodes",
        "is not set",
        "is its key",
        "it is set before each call, for every worker",
        case("echo a", "", key="k"),
        lambda peer: peer.told("pickup", "k") == [["pickup", False]],
        lambda ours: ours.told("pickup", "k") == [["pickup", True]],
    ),
    Difference(
        "a copy of what is not there",
        "fails on each node",
        "is a ValueError at the call",
        "a wrong argument is told before anything starts",
        case(copy=("/nosuch/file", "/nosuch/place", False, False)),
        lambda peer: hups(peer) == [1],
        raises("ValueError: source must be there to be copied"),
    ),
    Difference(
        "`rcopy` here, without a network",
        "copies the destination over the source",
        "copies the source to `NAME.NODE` in the destination, as over a network",
        "a program that is tried here does the same there",
        case(copy=("PLACE/file", "PLACE/into", True, False)),
        lambda peer: "cannot overwrite non-directory 'PLACE/file'" in str(peer.lines()),
        lambda ours: hups(ours) == [0] and ours.lines() == [],
    ),
)

RULE = b"-" * 15 + b"\n"

COMMAND_LINE: tuple[InProgram, ...] = (
    Difference(
        "output before a timeout, with `-b` and `-L`",
        "is not shown",
        "is shown",
        "output that has come is never lost",
        ("-w", "n[1-3]", "-u", "1.5", "-b", "echo out; test %h = n2 || exec sleep 60"),
        lambda peer: peer.out == RULE + b"n2\n" + RULE + b"out\n",
        lambda ours: ours.out.endswith(RULE + b"n[1,3] (2)\n" + RULE + b"out\n"),
    ),
    Difference(
        "`command timeout`",
        "names the nodes",
        "names the nodes and says how many, as exit codes do",
        "asked for by clush's users",
        ("-w", "n[1-2]", "-u", "1.5", "-b", "exec sleep 60"),
        lambda peer: peer.err.endswith(b"clush: n[1-2]: command timeout\n"),
        lambda ours: ours.err == b"trioshell: n[1-2] (2): command timeout\n",
    ),
    Difference(
        "how far it has come, with gathered output",
        "is shown after a while on standard error, whatever that is",
        "is shown if that is a terminal, or with `-P`",
        "a file is no place for what is written over again and again",
        ("-w", "n[1-2]", "-b", "sleep 2"),
        lambda peer: b"clush: 0/2\r" in peer.err,
        lambda ours: ours.err == b"",
    ),
    Difference(
        "bytes that are not UTF-8",
        "are replaced",
        "go to a pipe or a file as they came; on a terminal they are shown as `\\xff`",
        "output is bytes until the screen",
        ("-w", "n1", r"printf '\377\n'"),
        lambda peer: peer.out == "n1: \N{REPLACEMENT CHARACTER}\n".encode(),
        lambda ours: ours.out == b"n1: \xff\n",
    ),
    Difference(
        "a lone carriage return",
        "has what comes before it dropped, or shown after everything else",
        "is kept in a pipe or a file; on a terminal it is shown as `^M`",
        "nothing is lost",
        ("-w", "n1", r"printf 'a\rb\n'"),
        lambda peer: peer.out == b"n1: b\nn1: a\r\n",
        lambda ours: ours.out == b"n1: a\rb\n",
    ),
    Difference(
        "a fanout below 1",
        "runs nothing, or all at once, without a word",
        "is a wrong command line",
        "a wrong value must not look like success",
        ("-w", "n1", "-f", "-1", "echo"),
        lambda peer: (peer.status, peer.out, peer.err) == (0, b"", b""),
        lambda ours: ours.status == 2 and b"option -f: '-1'" in ours.err,
    ),
    Difference(
        "a negative timeout, a negative `--pick`",
        "is taken as none",
        "is a wrong command line",
        "a wrong value must not look like success",
        ("-w", "n1", "-u", "-3", "echo"),
        lambda peer: (peer.status, peer.out) == (0, b"n1: \n"),
        lambda ours: ours.status == 2 and b"option -u: '-3.0'" in ours.err,
    ),
    Difference(
        "a wrong command line",
        "shows the usage, a blank line and what is wrong",
        "says what is wrong, in one line, with the same exit status",
        "that line is what is looked for",
        ("-w", "n1", "--nosuchoption"),
        lambda peer: peer.err.startswith(b"Usage: ") and peer.err.count(b"\n") == 3,
        lambda ours: ours.err == b"trioshell: error: no such option: --nosuchoption\n",
    ),
    Difference(
        "`%hosts` with `-R exec`",
        "runs the command once",
        "runs it for each node",
        "a word in a command does not decide how often it runs",
        ("-w", "n[1-2]", "-b", "echo %hosts $$"),
        lambda peer: peer.out.count(RULE) == 2,
        lambda ours: ours.out.count(RULE) == 4,
    ),
    Difference(
        "`--outdir` and `--errdir` in one directory",
        "writes both streams of a node into one file, over each other",
        "is a wrong command line",
        "both would have the same names",
        ("-w", "n1", "--outdir", "into", "--errdir", "into", "echo a"),
        lambda peer: peer.status == 0,
        lambda ours: ours.status == 2 and b"must be two directories" in ours.err,
    ),
    Difference(
        "`--rcopy` with `-R exec`",
        "copies the destination over the source",
        "copies to `NAME.NODE` in the destination",
        "as over a network",
        ("-w", "n1", "--rcopy", "file", "--dest", "into"),
        lambda peer: b"cannot overwrite non-directory" in peer.err,
        lambda ours: (ours.status, ours.out, ours.err) == (0, b"", b""),
    ),
    Difference(
        "what a copy with `-R exec` complains of",
        "is the destination",
        "is a file beside it, `NAME.partial.PID`",
        "nothing that is written partly stands under its final name",
        ("-w", "n1", "--copy", "file", "--dest", "/nosuch/place"),
        lambda peer: b"'/nosuch/place'" in peer.err,
        lambda ours: b"'/nosuch/place.partial." in ours.err,
    ),
    Difference(
        "`-d`",
        "shows how the library works inside",
        "shows what `-v` shows, and how the command is run",
        "its insides are not ours",
        ("-w", "n1", "-d", "echo a"),
        lambda peer: b"EXECCLIENT" in peer.out,
        lambda ours: b"transport=exec" in ours.err and ours.out == b"n1: a\n",
    ),
)


@dataclass(frozen=True)
class Fault:
    """A fault that engines of this kind have had, and where it is looked for.

    Attributes:
        what: the fault.
        peer: what is known of ClusterShell 1.10.1 here.
        names: the differences, or the cases in which both are right, that are about it.
        tests: files with more tests of ours; alone where it cannot be run with the peer.
    """

    what: str
    peer: str
    names: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


HAS_IT, HAS_IT_NOT = "has it", "has it no more"
NOT_RUN = "not run: "

FAULTS: tuple[Fault, ...] = (
    Fault("lines are cut at a lone carriage return", HAS_IT, ("a lone carriage return in a line",)),
    Fault(
        "a command that closes its output freezes the engine",
        HAS_IT,
        ("a command that closes its output and goes on",),
        ("tests/real/test_output.py",),
    ),
    Fault(
        "only the first process of a command is killed",
        HAS_IT,
        (
            "what a command that times out has started",
            "what a command that is aborted has started",
        ),
        ("tests/real/test_end.py", "tests/ssh/test_ssh_end.py"),
    ),
    Fault(
        "a background process that holds the output delays the end",
        HAS_IT,
        ("a grandchild in the background that holds the output open",),
        ("tests/real/test_output.py",),
    ),
    Fault(
        "no end is reported, and output is dropped, on a timeout",
        HAS_IT,
        (
            "`ev_hup` on a timeout",
            "`ev_hup` on an abort",
            "the last line before a timeout, without its newline",
            "`task.abort()`",
            "`task.abort()` while nodes wait for their place in the fanout",
        ),
    ),
    Fault(
        "a limit of descriptors ends the whole run",
        HAS_IT,
        ("out of descriptors",),
        ("tests/real/test_limits.py",),
    ),
    Fault("commands inherit an ignored SIGPIPE", HAS_IT, ("SIGPIPE",)),
    Fault(
        "names of nodes are read as options or as shell code",
        HAS_IT,
        ("a node whose name begins with a dash", "`%h` in a shell command line"),
    ),
    Fault("long lines cost the square of their length", HAS_IT, ("a very long line",)),
    Fault(
        "input to a command that has ended blocks, or breaks the run",
        HAS_IT_NOT,
        ("a megabyte to a command that reads nothing", "input to a command that has closed it"),
        ("tests/real/test_input.py",),
    ),
    Fault(
        "the look-up of a group eats the input",
        HAS_IT_NOT,
        (),
        ("tests/differential/test_command_line.py",),
    ),
    Fault(
        "calls from inside a handler method break the engine",
        HAS_IT,
        (
            "`abort` in `ev_start`",
            "`abort` in `ev_pickup`",
            "new work in `ev_start`",
            "a handler that raises",
        ),
        ("tests/real/test_handlers.py", "tests/real/test_timers.py"),
    ),
    Fault(
        "descriptors leak into later commands",
        HAS_IT_NOT,
        ("the descriptors of a command",),
        ("tests/real/test_output.py",),
    ),
    Fault(
        "ssh's background master keeps the run from ending",
        NOT_RUN + "a matter of how ssh is set up",
        (),
        ("tests/ssh/test_openssh_share.py",),
    ),
    Fault(
        "names that do not fold take minutes",
        HAS_IT_NOT,
        ("a hundred names that do not fold",),
    ),
    Fault("a target that is named twice loses its output", HAS_IT_NOT, ("nodes named twice",)),
    Fault(
        "a byte that is not UTF-8 ends a session, or breaks the display",
        "the library is right, clush shows it replaced",
        ("bytes of every kind", "bytes that are not UTF-8"),
    ),
    Fault(
        "servers that push back (MaxStartups, MaxSessions) fail nodes",
        NOT_RUN + "it has one ssh for each command, and leaves it to that",
        (),
        ("tests/ssh/test_cluster_faults.py", "tests/ssh/test_ssh_faults.py"),
    ),
    Fault(
        "asyncssh and cancellation: exceptions that nobody retrieves, hangs",
        NOT_RUN + "it does not use asyncssh",
        (),
        ("tests/ssh/test_ssh_soak.py", "tests/ssh/test_ssh_end.py"),
    ),
    Fault(
        "a thread, or a task, for each of many commands that wait",
        NOT_RUN + "it has neither",
        (),
        ("tests/test_properties.py", "tests/real/test_limits.py"),
    ),
)


def render() -> str:
    """The tables of the page, in Markdown."""
    lines: list[str] = []
    for title, peer, differences in (
        ("What ClusterShell loses, or leaves behind", "ClusterShell", LOSSES),
        ("What we do otherwise on purpose", "ClusterShell", CHOICES),
        ("On the command line", "clush", COMMAND_LINE),
    ):
        lines += [f"## {title}", "", f"| | {peer} | trioshell | why |", "| --- | --- | --- | --- |"]
        lines += [row(one.name, one.peer, one.ours, one.why) for one in differences]
        lines.append("")
    lines += ["## Faults that engines have had", ""]
    lines += ["| fault | ClusterShell 1.10.1 | shown in |", "| --- | --- | --- |"]
    lines += [row(fault.what, fault.peer, shown_in(fault)) for fault in FAULTS]
    return "\n".join(lines)


def shown_in(fault: Fault) -> str:
    names = [f"“{name}”" for name in fault.names]
    return "; ".join([*names, *(f"`{test}`" for test in fault.tests)])


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def parts(page: str) -> tuple[str, str, str]:
    """What of the page is written by hand, what is made, and what is by hand again."""
    before, _, rest = page.partition(BEGIN)
    made, _, after = rest.partition(END)
    return before, made.strip(), after


def names(differences: Iterable[InLibrary | InProgram]) -> Sequence[str]:
    return [one.name for one in differences]


if __name__ == "__main__":
    before, _, after = parts(PAGE.read_text())
    PAGE.write_text(f"{before}{BEGIN}\n\n{render()}\n\n{END}{after}")
    sys.exit(0)
