"""What nodes say, in front of a terminal and through a pipe: harmless there, untouched here."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Programs, Terminal, make_programs
from tests.hostile.server import Attack, Channel, attacked
from trioshell.cli._logs import telling_logs

# Clears the screen, sets the title, makes a link, pastes, moves the cursor, rings, goes back to
# the beginning of the line; the same by 8-bit controls; turns the writing around; no UTF-8.
EVIL = (
    b"\x1b[2J\x1b]0;title\x07\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\\x1b[200~paste\x1b[201~"
    b"\x1b[3A\x1b[1;1H\x1bc\x1bP1$r\x1b\\\a\b\rn2: all is well\x7f\x00"
    b"\x9b2J\xc2\x9b2J\xc2\x85\xe2\x80\xaegnp\xe2\x81\xa6\xe2\x80\xa8\xff\xfe"
)
# What every one of these programs may itself send to a terminal.
OURS = (b"\x1b[94m", b"\x1b[91m", b"\x1b[92m", b"\x1b[96m", b"\x1b[1m", b"\x1b[0m")


def evil(channel: Channel) -> None:
    channel.write(EVIL + b"\n")
    channel.write_stderr(EVIL + b"\n")
    channel.exit(0)


def refusing(channel: Channel) -> None:
    from tests.hostile.server import DISCONNECT, String, UInt32

    reason = EVIL.replace(b"\xff\xfe", b"").replace(b"\x9b2J\xc2", b"\xc2", 1)
    channel._conn.send_packet(DISCONNECT, UInt32(2), String(reason + b"\nn2: fine"), String(b""))


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = make_programs(tmp_path)
    yield made
    made.clear_away()


def on_terminal(programs: Programs, *words: str) -> bytes:
    terminal = Terminal(programs, *words)
    try:
        return terminal.end()[1]
    finally:
        terminal.close()


def dangers(shown: bytes) -> list[str]:
    """What a terminal would obey, in what it was shown, apart from our own colours."""
    for own in OURS:
        shown = shown.replace(own, b"")
    text = shown.decode("utf-8", "surrogateescape")
    return [c for c in text if not (c.isprintable() or c in "\t\n")]


def raw(bytes_: bytes) -> str:
    """A shell command that prints these bytes, and those again as errors."""
    octal = "".join(f"\\{byte:03o}" for byte in bytes_)
    return f"printf '{octal}\\n'; printf '{octal}\\n' >&2"


FORMS = [
    (),
    ("-b",),
    ("-B",),
    ("-L",),
    ("-bL",),
    ("-q",),
    ("-v", "-b"),
    ("-N",),
    ("--color=always",),
]


@pytest.mark.parametrize("form", [("-b",), ("-bL", "--color=always")])
def test_local_output_on_a_terminal(programs: Programs, form: tuple[str, ...]) -> None:
    shown = on_terminal(programs, "-R", "exec", "-w", "n[1-2]", *form, raw(EVIL))
    assert dangers(shown.replace(b"\r\n", b"\n")) == []
    assert b"^[[2J^[]0;title^G" in shown
    assert b"\\x9b2J\\x9b2J\\x85\\u202egnp\\u2066\\u2028\\xff\\xfe" in shown


@pytest.mark.soak
@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_every_form_on_a_terminal(programs: Programs, form: tuple[str, ...]) -> None:
    shown = on_terminal(programs, "-R", "exec", "-w", "n[1-2]", *form, raw(EVIL))
    assert dangers(shown.replace(b"\r\n", b"\n")) == []


@pytest.mark.soak
def test_differences_on_a_terminal(programs: Programs) -> None:
    shown = on_terminal(
        programs, "-R", "exec", "-w", "n[1-2]", "--diff", f"echo %h; {raw(EVIL)}; true"
    )
    assert dangers(shown.replace(b"\r\n", b"\n")) == []


def test_through_a_pipe_into_a_file_and_as_json_every_byte_stays(programs: Programs) -> None:
    place = programs.place
    line = ("-R", "exec", "-w", "n1")
    done = programs.run("trioshell", *line, "--outdir", "out", "--errdir", "err", raw(EVIL))
    assert done == Done(0, b"n1: " + EVIL + b"\n", b"n1: " + EVIL + b"\n")
    assert (place / "out" / "n1").read_bytes() == EVIL + b"\n"
    assert (place / "err" / "n1").read_bytes() == EVIL + b"\n"
    done = programs.run("trioshell", *line, "--json", raw(EVIL))
    told = json.loads(done.out)
    assert base64.b64decode(told["stdout_base64"]) == EVIL + b"\n"
    assert dangers(done.out) == []


def test_a_node_over_ssh_and_its_reasons(programs: Programs) -> None:
    attacks = {"n1": Attack(run=evil), "n2": Attack(run=refusing)}
    with attacked(programs.place, attacks) as config:
        words = ("-w", "n[1-2]", "-R", "ssh", "-o", f"-F {config}", "true")
        shown = on_terminal(programs, *words)
        done = programs.run("trioshell", *words)
    assert dangers(shown.replace(b"\r\n", b"\n")) == []
    assert b"^[[2J" in shown
    assert b"unreachable" in shown
    # Whoever reads a pipe reads lines, so the reason is one; what is in it stays as it is.
    assert b"n1: " + EVIL + b"\n" in done.out
    [reason] = [line for line in done.err.split(b"\n") if b"unreachable" in line]
    assert b"\x1b[2J\x1b]0;title\x07" in reason
    assert not [line for line in done.err.split(b"\n") if line.startswith(b"n2: fine")]


def test_names_of_files_in_what_a_copy_says(programs: Programs) -> None:
    from tests.hostile.sftp import HostileSftp

    server = HostileSftp(lambda: iter([[EVIL.replace(b"\0", b"") + b"/x", b"fine"]]))
    attacks = {"n1": Attack(subsystem=lambda: server.answer)}
    with attacked(programs.place, attacks) as config:
        shown = on_terminal(
            programs, "-v", "-w", "n1", "-R", "ssh", "-o", f"-F {config}", "--rcopy", "root"
        )
    assert dangers(shown.replace(b"\r\n", b"\n")) == []
    assert b"not a name that a file here may have" in shown


def test_what_a_library_logs_on_a_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.isatty", lambda fd: True)
    logger = logging.getLogger("nobody.hears.this")
    logger.propagate = False
    with telling_logs():
        logger.warning("an error: %s", "\x1b[2J\u202e")
    assert capfd.readouterr().err == "trioshell: an error: ^[[2J\\u202e\n"
