"""Cases in which ClusterShell and trioshell do the same, written by hand."""

from __future__ import annotations

from tests.differential.cases import Case, Reaction, Work, case

# Long enough for a shell to say something on a machine that is busy with other things.
TIMEOUT = 3.0
HANGS = "exec sleep 60"
BOTH = "echo out; echo err >&2"
EACH = "case %n in 0) echo a;; 1) echo b; exit 3;; 2) exit 4;; 3) kill -9 $$;; *) echo a;; esac"

ALIKE: dict[str, Case] = {
    "one node": case("echo a"),
    "nodes that agree": case("echo a", "n[1-5]"),
    "nodes that differ": case(EACH, "n[1-6]"),
    "names with zeros": case("echo %h", "n[08-11],m[1,01]"),
    "names in two dimensions": case("echo %h", "r[1-2]-n[1-3]"),
    "nodes named twice": case("echo a", "n[1-2],n1,n2"),
    "operators in a node set": case("echo %h", "n[1-5]!n2,n9"),
    "placeholders": case("echo %h %host %n %rank %% %{h}x", "n[1-3]"),
    "a low fanout": case("echo a; exit %n", "n[1-7]", fanout=2),
    "stderr in stdout": case(BOTH, "n[1-2]"),
    "stderr apart": case(BOTH, "n[1-2]", stderr=True),
    "stderr alone": case("echo err >&2", "n[1-2]", stderr=True),
    "no output": case(":", "n[1-2]"),
    "an empty line": case("echo"),
    "empty lines": case(r"printf '\n\na\n\n'"),
    "a last line without newline": case("printf 'a\\nb'"),
    "a carriage return before newlines": case(r"printf 'a\r\n\r\nb\r\n'"),
    "a carriage return at the end": case(r"printf 'a\r'"),
    "bytes of every kind": case(r"printf '\000\377\303\251\033[1m\t\n'"),
    "lines in pieces": case("printf a; sleep 0.1; printf 'b\\nc'; sleep 0.1; echo"),
    "many lines": case("seq 3000", "n[1-2]"),
    "a long line": case("head -c 200000 /dev/zero | tr '\\0' x; echo; echo b"),
    "exit codes": case("exit $((%n * 51))", "n[1-6]"),
    "an end by a signal": case("kill -$((%n + 1)) $$", "n[1-12]"),
    "a command that is not found": case("nosuchcommand"),
    "a command that cannot be executed": case("/etc/passwd"),
    "a command that is no shell code": case("echo 'a"),
    "a command in several lines": case("echo a\necho b\n"),
    "input": case("cat; echo end", "n[1-3]", stdin=("a\n", "b")),
    "empty input": case("cat; echo end"),
    "input without an end": case("head -n 1", stdin=("a\n",), eof=False),
    "input nobody ends, until the timeout": case(
        "cat", stdin=("a\n",), eof=False, timeout=TIMEOUT
    ),
    "much input": case("wc -c", "n[1-2]", stdin=("x" * 300_000, "y" * 300_000)),
    "input written by a handler": case(
        "echo a; cat",
        stdin=(),
        eof=False,
        reactions=(Reaction("read a", "write b"), Reaction("read a", "eof")),
    ),
    "a timeout": case(f"echo a; {HANGS}", "n[1-3]", timeout=TIMEOUT),
    "a timeout of some": case(f"echo a; test %n = 1 || {HANGS}", "n[1-3]", timeout=TIMEOUT),
    "a timeout without output": case(HANGS, timeout=TIMEOUT),
    "a timeout with a low fanout": case(HANGS, "n[1-3]", timeout=0.3, fanout=1),
    "a timeout that is long enough": case("sleep 0.1; echo a", timeout=30.0),
    "SIGTERM that is ignored": case(f"trap '' TERM; echo a; {HANGS}", timeout=TIMEOUT),
    "an abort": case(f"echo a; {HANGS}", reactions=(Reaction("read a", "abort"),)),
    "an abort when all is over": case("echo a", reactions=(Reaction("hup", "abort"),)),
    "an abort at the close": case("echo a", reactions=(Reaction("close", "abort"),)),
    "new work at the end of a node": case("echo a", reactions=(Reaction("hup", "shell echo b"),)),
    "new work at the close": case("echo a", reactions=(Reaction("close", "shell echo b"),)),
    "new work at a line": case("echo a", reactions=(Reaction("read a", "shell echo b"),)),
    "two workers": Case((Work(f"{BOTH}; exit 1", "n[2-3]"), Work("echo out; exit 2", "n[3-4]"))),
    "two workers, one of which times out": Case(
        (Work(f"echo a; {HANGS}", "n[1-2]", timeout=TIMEOUT), Work("echo b; exit 2", "m1"))
    ),
    "the descriptors of a command": case("ls /proc/self/fd | tr '\\n' ' '", "n[1-3]"),
    "a copy of a file": case(nodes="n[1-2]", copy=("PLACE/file", "PLACE/into/%h", False, False)),
    "a copy of a tree": case(nodes="n[1-2]", copy=("PLACE/tree", "PLACE/into/t%h", False, True)),
    "a hundred names that do not fold": case(
        "echo a", ",".join(f"a{n}x{chr(97 + n % 26)}" for n in range(100))
    ),
}  # fmt: skip

# How much a pipe has taken of what nobody reads is chance.
NOT_WRITTEN = {
    "input to a command that has closed it": case("exec <&-; sleep 0.3; echo a", stdin=("a",)),
    "a megabyte to a command that reads nothing": case(":", "n[1-2]", stdin=("x" * 1_000_000,)),
}
ALIKE |= NOT_WRITTEN

# The node of a command without nodes is its key, and ClusterShell does not set `current_node`.
LOCAL: dict[str, Case] = {
    "a command without nodes": case("echo a; exit 3", "", key="k"),
    "a command without nodes, stderr apart": case(BOTH, "", key="k", stderr=True),
    "a command without nodes that times out": case(HANGS, "", key="k", timeout=TIMEOUT),
    "a command without nodes that is fed": case("cat", "", key="k", stdin=("a\n", "b\n")),
}
ALIKE |= LOCAL
