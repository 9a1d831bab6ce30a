"""Whatever parses what others have written: any bytes give a result or a sentence, never a crash.

What has its own such tests beside its other ones (the cutting of lines, messages and their
tree, ssh's log, JSON, node sets) is not repeated here. Each target is tried a little and always
alike by default, and ten times as often, with new examples every time, by ``-m soak``.
"""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.sftp import HostileSftp, fetch, packet
from trioshell._placeholders import Template
from trioshell._results import (
    Aborted,
    Exited,
    NotStarted,
    Outcome,
    Signaled,
    TimedOut,
    Unreachable,
)
from trioshell._targets import check_name
from trioshell.cli import _display as display
from trioshell.cli import _main
from trioshell.cli._config import load_config
from trioshell.cli._options import Options, parse
from trioshell.cli._parser import UsageError, make_parser
from trioshell.cli._settings import ConfigError
from trioshell.cli._ssh_words import SshWords, parse_ssh_words
from trioshell.transports._guard import Answers, Opening
from trioshell.transports._openssh_command import Ending
from trioshell.transports._openssh_sftp_packets import Attributes, Reader, SftpError, SftpLost
from trioshell.transports._said import quoted
from trioshell.transports._ssh_config import SshConfig
from trioshell.transports._ssh_known_hosts import KnownHosts

Target: TypeAlias = Callable[[Any], None]

FEW = settings(settings.default, max_examples=40, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=400, derandomize=False, database=None)
TARGETS: list[tuple[st.SearchStrategy[Any], Target]] = []


def fuzzed(strategy: st.SearchStrategy[Any]) -> Callable[[Target], Any]:
    """The function below is a test over what `strategy` draws, and one of the soak."""

    def enter(target: Target) -> Any:
        TARGETS.append((strategy, target))
        return FEW(given(strategy)(target))

    return enter


@contextmanager
def file_of(data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "file")
        path.write_bytes(data)
        yield path


def pieces(*words: bytes) -> st.SearchStrategy[bytes]:
    """Bytes made of these words and of others: they get further than any bytes would."""
    return st.lists(st.one_of(st.sampled_from(words), st.binary(max_size=6))).map(b"".join)


# -- what a peer sends -----------------------------------------------------------------------

TOKEN = "k3y"
NUMBERS = (b"7", b"99999", b"1" * 10, b"9" * 5000, b"\xd9\xa3")


@fuzzed(st.lists(pieces(b"k3y ", b"ready", b"gone ", b"over ", b"left ", b" ", b"\n", *NUMBERS)))
def test_the_answers_of_a_guard(chunks: list[bytes]) -> None:
    one, other = Answers(TOKEN), Answers(TOKEN)
    apart = [answer for chunk in chunks for answer in one.feed(chunk)]
    assert apart == other.feed(b"".join(chunks))


def test_an_answer_with_more_digits_than_python_reads() -> None:
    assert Answers(TOKEN).feed(b"k3y gone " + b"9" * 5000 + b"\n") == []


@fuzzed(
    st.tuples(
        st.booleans(),
        st.sampled_from(["a string", ("a", "vector")]),
        st.lists(
            st.tuples(
                st.sampled_from(["stdout", "stderr"]),
                pieces(b"k3y ", b"here", b" ", b"\n", *NUMBERS),
            )
        ),
    )
)
def test_the_report_of_a_shell(drawn: tuple[bool, Any, list[tuple[str, bytes]]]) -> None:
    merge, command, chunks = drawn
    opening = Opening(command, TOKEN, merge=merge)
    came = b"".join(opening.feed(sname, data) for sname, data in chunks)
    came += opening.rest("stdout") + opening.rest("stderr")
    assert opening.group is None or 0 <= opening.group < 10**11
    # What looks like a report is taken out, also where the other one never comes.
    if opening.group is None and not re.search(rb"k3y \d", b"".join(data for _, data in chunks)):
        assert sorted(came) == sorted(b"".join(data for _, data in chunks))


@fuzzed(st.lists(pieces(b"k3y", b" over ", b"0", b"255", b"\n", *NUMBERS)))
def test_the_report_of_an_exit_code(chunks: list[bytes]) -> None:
    ending = Ending(TOKEN)
    came = b"".join(map(ending.feed, chunks)) + ending.rest()
    assert ending.status is None or 0 <= ending.status < 1000
    assert len(came) <= len(b"".join(chunks))
    assert isinstance(ending.outcome, Exited | Signaled | None)


READS: tuple[Callable[[Reader], object], ...] = (
    Reader.number,
    Reader.string,
    Reader.attributes,
    lambda reader: reader.raise_unless(0),
)


@fuzzed(
    st.tuples(
        pieces(b"\0\0\0\1", b"\0\0\0\5", b"\xff\xff\xff\xff", b"\0\0\0\x0f"),
        st.lists(st.sampled_from(READS)),
    )
)
def test_the_packets_of_sftp(drawn: tuple[bytes, list[Callable[[Reader], object]]]) -> None:
    body, reads = drawn
    reader = Reader(body)
    try:
        for read in reads:
            got = read(reader)
            assert isinstance(got, int | bytes | Attributes | None)
    except (SftpLost, SftpError) as exc:
        assert len(str(exc)) < 600  # noqa: PT017  # either of these two, and it is short


@fuzzed(
    st.dictionaries(
        st.sampled_from([1, 3, 4, 5, 7, 11, 12, 16, 17]),
        st.tuples(
            st.sampled_from([2, 101, 102, 103, 104, 105, 201]),
            pieces(b"\0\0\0\0", b"\0\0\0\1", b"\0\0\0\1f", b"\0\0\0\2..", b"\xff\xff\xff\xff"),
        ),
        max_size=3,
    )
)
def test_a_copy_from_a_server_that_answers_anything(
    replies: dict[int, tuple[int, bytes]],
) -> None:
    served = 0

    def reply(kind: int, body: bytes, number: int) -> bytes:
        nonlocal served
        served += 1
        # A file may be as long as a server likes, and this one would never end.
        return packet(kind, number, body) if served < 300 else packet(250, number, b"")

    server = HostileSftp(lambda: iter([[b"a", b"b"]]))
    server.reply = {
        asked: functools.partial(reply, kind, body) for asked, (kind, body) in replies.items()
    }
    with tempfile.TemporaryDirectory() as place:
        dest = Path(place, "dest")
        dest.mkdir()
        fetched = trio.run(fetch, server, dest)
        assert [path.name for path in Path(place).iterdir()] == ["dest"]
        assert not [path for path in dest.rglob("*") if ".trioshell-" in path.name]
    assert isinstance(fetched.lost, str)


@fuzzed(st.text())
def test_what_a_peer_says_in_a_reason(text: str) -> None:
    assert len(quoted(text)) <= 303
    assert len(quoted(text).splitlines()) <= 1


# -- files -----------------------------------------------------------------------------------

KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJu2T8n8Xz4b8k5HqK8wW2m1wB5q3yq1WvUo8rjWmH2v"
HOSTS = (b"host", b"[host]:22", b"|1|", b"|", b"!", b"*", b",", b" ", b"\n", b"\0", KEY)


@fuzzed(pieces(b"@revoked ", b"@cert-authority ", b"@", b"#", b"AAAA=", *HOSTS))
def test_known_hosts(data: bytes) -> None:
    with file_of(data) as path:
        known = KnownHosts([path])
        for host in ("host", "[", "!*", "\u20ac"):
            found, _ = known.lookup_readable(host, 22)
            assert all(key.place for key in (*found, *known.lookup(host, 2222)))
        known.has("host", 22, KEY.decode())
        assert all(isinstance(kind, str) for kind in known.hashed_types())


WORDS = (b"Host ", b"Match ", b"all", b"host ", b"user ", b"Port ", b"22", b"Include ", b"*", b"!")
MORE = (b"HostName ", b"%h", b"%", b'"', b"=", b" ", b"\n", b"\\", b"#", b"ProxyJump ", b"a@b:1")


@fuzzed(pieces(b"IdentityFile ", b"~/", b"${HOME}", b"SetEnv ", b"Ciphers ", *WORDS, *MORE))
def test_ssh_config(data: bytes) -> None:
    with file_of(data) as path:
        try:
            config = SshConfig(files=[path])
            if not config.has_exec:  # nobody here runs what is drawn
                config.lookup("host", None, "me").tokens("host", "me")
        except ValueError as exc:
            assert str(path) in str(exc)  # noqa: PT017  # the one error that there may be


@fuzzed(pieces(b"[Main]\n", b"[mode:x]\n", b"fanout", b": ", b"=", b"%(x)s", b"\n", b" ", b"1"))
def test_clush_conf(data: bytes) -> None:
    with file_of(data) as path:
        for mode in (None, "x"):
            try:
                found = load_config(str(path), mode)
                assert all(isinstance(value, str) for value in found.values())
            except ConfigError as exc:
                assert "\n" not in str(exc)  # noqa: PT017  # the one error that there may be


# -- what users type -------------------------------------------------------------------------

OPTIONS = sorted({name for option in make_parser().option_list for name in option._short_opts}) + [
    name for option in make_parser().option_list for name in option._long_opts
]
VALUES = [
    "",
    "1",
    "-1",
    "1e9",
    "nan",
    "inf",
    "n[1-3]",
    "n[",
    "@x",
    "=",
    "--",
    "-",
    "'",
    "a=b",
    "%h",
]
ARGV = st.lists(
    st.one_of(
        st.sampled_from([*OPTIONS, *VALUES, "fanout=0", "command_prefix='", "node_count=perhaps"]),
        st.text(max_size=8).filter(lambda text: "\0" not in text),
    ),
    max_size=8,
)


@fuzzed(ARGV)
def test_a_command_line(argv: list[str]) -> None:
    try:
        options = parse(argv, lambda conf, mode: {})
        assert isinstance(options, Options)
        words = parse_ssh_words(options.ssh_options)
        assert isinstance(words, SshWords)
    except (UsageError, ConfigError) as exc:
        assert str(exc).strip()  # noqa: PT017  # either of these two, and it says something
    except ValueError as exc:  # which the program tells as it is
        assert str(exc).strip()  # noqa: PT017  # as above
    except SystemExit as exc:
        assert not exc.code  # noqa: PT017  # --help and --version


@fuzzed(ARGV)
def test_a_program_ends_with_a_status(argv: list[str]) -> None:
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        # What it would run, and the limits of this process, are not to be tried here.
        patch.setattr(_main, "_run_on", lambda options, nodes: 0)
        patch.setattr(_main, "_raise_descriptor_limit", lambda options: None)
        patch.setattr(_main, "tell", told.append)
        status = _main.main([word for word in argv if word != "demo"])
    assert status in (0, 1, 2)
    assert told or status == 0


@fuzzed(st.tuples(st.text(alphabet="%hosnrak{}$'\"\\ab` #<&;(\n*", max_size=12), st.text()))
def test_placeholders(drawn: tuple[str, str]) -> None:
    text, value = drawn
    for command in (text, (text, "x")):
        try:
            template = Template(command)
            template.check([value], value)
            assert isinstance(template.render(value, value, 3), type(command))
        except ValueError as exc:
            assert "command" in str(exc)  # noqa: PT017  # the one error that there may be


@fuzzed(st.text())
def test_a_name_that_is_taken_is_harmless(name: str) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    assert name.isprintable()
    assert not name.startswith("-")


# -- the display -----------------------------------------------------------------------------

OWN = re.compile(rb"\x1b\[(0|1|91|92|94|96)m")
REASONS = st.one_of(st.text(), st.sampled_from(["\ud800", "\udc9b2J", "\x1b]0;x\x07\nn2: fine"]))
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Unreachable, REASONS),
    st.builds(NotStarted, REASONS),
    st.builds(Exited, st.integers(0, 1 << 32)),
    st.builds(Signaled, st.integers(1, 64)),
    st.builds(TimedOut, st.floats(0, allow_nan=False)),
    st.just(Aborted()),
)
LOOKS = st.builds(
    display.Look,
    label=st.booleans(),
    count=st.booleans(),
    message_count=st.booleans(),
    color=st.booleans(),
    out_terminal=st.sampled_from(["utf-8", "latin-1", "ascii", "iso8859-15", "koi8-r"]),
    err_terminal=st.sampled_from(["utf-8", "latin-1", "ascii", "iso8859-15", "koi8-r"]),
)
BODIES = st.lists(st.binary(max_size=8).map(lambda line: line.replace(b"\n", b"") + b"\n"))
DRAWN = st.tuples(LOOKS, REASONS, BODIES.map(b"".join), BODIES.map(b"".join), OUTCOMES)


@fuzzed(DRAWN)
def test_nothing_shown_on_a_terminal_is_obeyed(
    drawn: tuple[display.Look, str, bytes, bytes, Outcome],
) -> None:
    look, text, body, other, outcome = drawn
    group, second = display.Group(text, 2, body), display.Group("n", 1, other)
    out = [
        display.out_label(text, look),
        display.labelled(group, look),
        display.block(group, look),
        display.copied_message(text, text, text, reverse=False, look=look),
        *display.diff([group, second], look),
    ]
    err = [
        display.err_label(text, look),
        display.message(text, look),
        display.end_message(outcome, text, 2, look),
    ]
    for encoding, shown in ((look.out_terminal, out), (look.err_terminal, err)):
        assert encoding is not None
        for data in shown:
            # An 8-bit terminal obeys these bytes, others the characters of these numbers.
            text = OWN.sub(b"", data).decode(encoding)
            assert not [c for c in text if (ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160]
            assert not set(text) & set("\u202e\u2066\u200f\u2028")
    assert display.message(text, look).count(b"\n") == 1


# -- more of all of them ---------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize(
    ("strategy", "target"), TARGETS, ids=[target.__name__ for _, target in TARGETS]
)
def test_for_long(strategy: st.SearchStrategy[Any], target: Target) -> None:
    MANY(given(strategy)(target))()
