"""clush and trioshell on the same command lines: the same output, messages and exit status.

What goes to the two outputs is compared byte for byte, but for the program's name, and for the
order of lines where nodes report as they please. Where trioshell differs on purpose, the
difference is written down here and tested too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from tests.cli.conftest import Done, Programs, make_programs

BOTH = "echo out; echo err >&2"
MANY = "case %h in n[245]) echo a;; n8) exit 3;; n7) echo c; exit 2;; n1) ;; *) echo b;; esac"
LINES = "echo 1; test %h = n2 || echo 2; echo 3; exit 3"

# Every line is one command line; what is shown of it comes in an order that is fixed.
IN_ORDER = [
    ("-w", "n[1-3]", "-b", "echo hello"),
    ("-w", "n[1-3]", "-b", "echo", "hello", "%h"),
    ("-w", "n[8-11]", "-b", "echo %n"),
    ("-w", "n[1-3]", "-B", f"{BOTH}; exit 3"),
    ("-w", "n[1-3]", "-bq", "echo out; exit 2"),
    ("-w", "n[1-3]", "-bS", "echo out; exit %n"),
    ("-w", "n[1-3]", "-bSq", "echo out; exit %n"),
    ("-w", "n[1-3]", "-bN", "echo out"),
    ("-w", "n[1-8]", "-b", MANY),
    ("-w", "n[1-8]", "-L", MANY),
    ("-w", "n[1-8]", "-bL", MANY),
    ("-w", "n[1-8]", "--diff", MANY),
    ("-w", "n[1-4]", "-bL", LINES),
    ("-w", "n[1-8]", "-bL", "echo $((%n / 2)); test %n -gt 4 || echo more; echo $((%n / 3))"),
    ("-w", "n[1-4]", "-L", LINES),
    ("-w", "n[1-4]", "-LN", LINES),
    ("-w", "n[1-4]", "-bLN", LINES),
    ("-w", "n[1-4]", "-BL", LINES),
    ("-w", "n[1-4]", "--diff", LINES),
    ("-w", "n[1-4]", "--diff", "--color=always", LINES),
    ("-w", "n[1-3]", "-b", "--color=always", "echo out; exit 3"),
    ("-w", "n[1-3]", "-L", "--color=always", "echo out; exit 3"),
    ("-w", "n[1-3]", "-bL", "--color=always", "echo out; exit 3"),
    ("-w", "n[1-3]", "-bN", "--color=always", "echo out"),
    ("-w", "n1", "printf 'a\\n\\n\\r\\n\\303\\251'"),
    ("-w", "n[1-2]", "-b", "printf 'no newline'"),
    ("-w", "n[1-2]", "-b", "echo"),
    ("-w", "n1", "nosuchcommand"),
    ("-w", "n1", "kill -9 $$"),
    ("-w", "n1", "-S", "kill -9 $$"),
    ("-w", "n1", "-S", "true"),
    ("-w", "n1", "--", "echo", "-b", "a  b"),
    ("-w", "n1", "-bS", "--", "echo", "--", "-b"),
    ("-w", "n1,n2", "-x", "n1", "-w", "n3", "-x", "n4", "-b", "echo %h"),
    ("-w", "@compute", "-x", "@io", "-b", "echo %h"),
    ("-a", "-b", "true; echo %h"),
    ("-a", "-X", "compute", "-b", "echo"),
    ("-g", "io,compute", "-X", "io", "-b", "echo"),
    ("-g", "io", "-r", "-b", "echo"),
    ("-a", "-r", "-bL", "echo"),
    ("-a", "-r", "-G", "-b", "echo; exit 3"),
    ("-s", "rack", "-g", "io", "-b", "echo"),
    ("-w", "a[1-2]-[1-3]", "-b", "--axis=2", "echo"),
    ("-w", "a[1-2]-[1-3]", "-b", "--axis=1", "echo"),
    ("-w", "n[1-3]", "-m", "very", "-b", "echo"),
    ("-w", "n[1-3]", "--mode=strict", "-b", "echo; exit 1"),
    ("-w", "n[1-2]", "-O", "node_count=no", "-b", "echo; exit 1"),
    ("-w", "n[1-2]", "-O", "maxrc=yes", "-b", "exit 3"),
    ("-w", "n[1-2]", "-O", "command_prefix=echo hi", "-b", "echo x"),
    ("-w", "n[1-4]", "--pick", "7", "-b", "echo"),
    ("-w", "n[1-2]", "-u", "0.3", "-S", "-q", "exec sleep 30"),
    ("-w", "n[1-2]", "-u", "0.3", "-bSq", "exec sleep 30"),
    ("-w", "n[1-2]", "-f", "1", "-bLv", "echo %h"),
    ("--hostfile", "hosts", "-w", "x1", "-x", "n8", "-b", "echo %h"),
    ("-w", "n1"),
    ("-w", "n1", "-n"),
]  # fmt: skip

# Here lines of different nodes may come in any order.
ANY_ORDER = [
    ("-w", "n[1-3]", "echo", "hello", "%h"),
    ("-w", "n[1-3]", f"{BOTH}; exit %n"),
    ("-w", "n[1-3]", "-N", BOTH),
    ("-w", "n[1-3]", "-q", f"{BOTH}; exit %n"),
    ("-w", "n[1-3]", "-Sq", f"{BOTH}; exit %n"),
    ("-w", "n[1-3]", "-v", f"{BOTH}; exit %n"),
    ("-w", "n[1-3]", "-bv", f"{BOTH}; exit %n"),
    ("-w", "n[1-3]", "-Bv", BOTH),
    ("-w", "n[1-3]", "-Lv", BOTH),
    ("-w", "n[1-3]", "--diff", BOTH),
    ("-w", "n[1-3]", "--color=always", f"{BOTH}; exit 2"),
    ("-w", "n[1-3]", "-m", "very", BOTH),
]  # fmt: skip


Pair = tuple[Done, Done]


def normal(done: Done) -> Done:
    """As it would be if clush bore our name."""
    return Done(done.status, done.out, re.sub(rb"(?m)^(clush|Clush\.py):", b"trioshell:", done.err))


def sorted_lines(done: Done) -> Done:
    out, err = (b"".join(sorted(text.splitlines(True))) for text in (done.out, done.err))
    return Done(done.status, out, err)


def run_both(programs: Programs, *words: str, given: bytes | None = None) -> Pair:
    """How clush and how trioshell did."""
    clush, trioshell = (
        programs.run(program, "-R", "exec", *words, given=given)
        for program in ("clush", "trioshell")
    )
    return normal(clush), trioshell


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Pair]:
    """How clush and how trioshell did, on each of the command lines in the tables."""
    programs = make_programs(tmp_path_factory.mktemp("programs"))
    (programs.place / "hosts").write_text("n1 n2\nn[7-9]\n\n")
    command_lines = [*IN_ORDER, *ANY_ORDER, *(words for words, _ in WRONG)]
    done = programs.run_many(*(("-R", "exec", *words) for words in command_lines))
    pairs = zip(map(normal, done["clush"]), done["trioshell"], strict=True)
    return dict(zip(command_lines, pairs, strict=True))


def name(words: Iterable[str]) -> str:
    return " ".join(words)


@pytest.mark.parametrize("words", IN_ORDER, ids=name)
def test_the_same(pairs: dict[tuple[str, ...], Pair], words: tuple[str, ...]) -> None:
    clush, trioshell = pairs[words]
    # clush's exit messages come in the order of its internals; ours in node order.
    assert trioshell.out == clush.out
    assert sorted_lines(trioshell) == sorted_lines(clush)


@pytest.mark.parametrize("words", ANY_ORDER, ids=name)
def test_the_same_in_any_order(pairs: dict[tuple[str, ...], Pair], words: tuple[str, ...]) -> None:
    clush, trioshell = pairs[words]
    assert sorted_lines(trioshell) == sorted_lines(clush)


def test_the_same_input(programs: Programs) -> None:
    for words in (("-b", "cat"), ("-L", "wc -c"), ("-n", "-b", "cat")):
        clush, trioshell = run_both(programs, "-w", "n[1-3]", *words, given=b"foo\nbar\n" * 5000)
        assert trioshell == clush


# Wrong in the same way, with the same exit status, and one line of explanation.
WRONG = [
    ((), b"error: No node to run on"),
    (("echo",), b"error: No node to run on"),
    (("-w", "n1", "-x", "n1", "echo"), b"error: No node to run on"),
    (("-w",), b"error: -w option requires 1 argument"),
    (("-w", "", "echo"), b"error: option -w: invalid value: ''"),
    (("-w", "-x", "echo"), b"error: option -w: invalid value: '-x'"),
    (("-w", "n[1-", "echo"), b"n[1-"),
    (("-w", "@nope", "echo"), b"nope"),
    (("-g", "nope", "echo"), b"nope"),
    (("-w", "n1", "-s", "nope", "echo"), b'unknown group source: "nope"'),
    (("-w", "n1", "-f", "x", "echo"), b"error: option -f: invalid integer value: 'x'"),
    (("-w", "n1", "-u", "x", "echo"), b"error: option -u: invalid floating-point value: 'x'"),
    (("-w", "n1", "--nope", "echo"), b"error: no such option: --nope"),
    (("-w", "n1", "--color=blue", "echo"), b"error: option --color: 'blue' is not"),
    (("-w", "n1", "-L", "--diff", "echo"), b"error: --diff cannot be used together with -L"),
    (("-w", "n1", "-R", "nope", "echo"), b"'nope'"),
    (("-w", "n1", "--copy"), b"error: --copy and --rcopy need"),
    (("-w", "n1", "--copy", "nope"), b"nope"),
    (("-w", "n1", "--hostfile", "nope", "echo"), b"nope: No such file or directory"),
    (("-w", "n1", "-m", "nope", "echo"), b"--mode nope: there is no such run mode"),
    (("-w", "n1", "-O", "fanout=x", "echo"), b"the setting fanout is 'x'"),
    (("-w", "n1", "-O", "fanout", "echo"), b"-O fanout: a setting is given as KEY=VALUE"),
    (("-w", "n1", "echo %x"), b"%"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=repr)
def test_wrong_in_the_same_way(
    pairs: dict[tuple[str, ...], Pair], words: tuple[str, ...], sentence: bytes
) -> None:
    clush, trioshell = pairs[words]
    assert (trioshell.status, trioshell.out) == (clush.status, clush.out)
    assert trioshell.err.startswith(b"trioshell: ")
    assert sentence in trioshell.err
    assert trioshell.err.count(b"\n") == 1


# -- where we differ -----------------------------------------------------------------------


def test_timed_out_nodes_are_counted_and_their_output_is_kept(programs: Programs) -> None:
    line = ("-w", "n[1-3]", "-u", "0.5", "echo out; test %h = n2 || exec sleep 30")
    clush, trioshell = run_both(programs, "-b", *line)
    assert clush.err == b"trioshell: n[1,3]: command timeout\n"
    assert trioshell.err == b"trioshell: n[1,3] (2): command timeout\n"
    rule = b"-" * 15
    assert clush.out == b"%b\nn2\n%b\nout\n" % (rule, rule)
    assert trioshell.out == clush.out + b"%b\nn[1,3] (2)\n%b\nout\n" % (rule, rule)


def test_output_is_bytes_to_us(programs: Programs) -> None:
    clush, trioshell = run_both(programs, "-w", "n1", "printf 'a\\rb\\n\\377\\n'")
    assert b"n1: b\n" in clush.out
    assert "\ufffd".encode() in clush.out
    assert trioshell.out == b"n1: a\rb\nn1: \xff\n"


def test_a_wrong_fanout_runs_nothing_in_clush_and_is_refused_by_us(programs: Programs) -> None:
    clush, trioshell = run_both(programs, "-w", "n1", "-f", "-1", "echo")
    assert clush == Done(0, b"", b"")
    assert trioshell.status == 2
    assert b"option -f: '-1' is not a whole number from 1" in trioshell.err


def test_a_comment_in_a_host_file_is_no_node(programs: Programs) -> None:
    hosts = programs.place / "commented"
    hosts.write_text("n1 # the first\n#n2\n")
    done = programs.trioshell("--hostfile", str(hosts), "-b", "echo %h")
    assert done.out == b"-" * 15 + b"\nn1\n" + b"-" * 15 + b"\nn1\n"


def test_all_nodes_in_one_word_change_nothing_else(programs: Programs) -> None:
    clush, trioshell = run_both(programs, "-w", "n[1-2]", "-b", "echo %hosts")
    assert trioshell.out == b"-" * 15 + b"\nn[1-2] (2)\n" + b"-" * 15 + b"\nn[1-2]\n"
    assert clush.out.count(b"n[1-2]") == 2
