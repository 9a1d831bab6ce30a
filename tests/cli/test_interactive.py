"""The interactive mode, in front of a terminal."""

from __future__ import annotations

import signal

from tests.cli.conftest import Programs, StartTerminal, Terminal

PROMPT = b"trioshell> "


def start(start_terminal: StartTerminal, *words: str) -> Terminal:
    terminal = start_terminal("-R", "exec", "--color=never", "-w", "n[1-2]", *words)
    terminal.wait_for(b"Enter 'quit' to leave this interactive mode\r\n")
    terminal.wait_for(b"Working with nodes: n[1-2]\r\n" + PROMPT)
    return terminal


def say(terminal: Terminal, line: bytes) -> list[bytes]:
    """Type a line, wait for the next prompt, and return what has been shown in between."""
    terminal.type(line + b"\n")
    return terminal.wait_for(PROMPT).replace(b"\r\n", b"\n").splitlines()


def test_commands_run_one_after_the_other(start_terminal: StartTerminal) -> None:
    terminal = start(start_terminal)
    assert sorted(say(terminal, b"echo %h")) == [b"n1: n1", b"n2: n2"]
    assert say(terminal, b"exit 3 #%n | grep -v 1")[0].endswith(b"exited with exit code 3")
    assert say(terminal, b"") == []
    terminal.type(b"quit\n")
    assert terminal.end()[0] == 0


def test_the_output_format_can_be_changed(start_terminal: StartTerminal) -> None:
    terminal = start(start_terminal)
    assert say(terminal, b"=") == [b"Switching to gathered output format"]
    assert say(terminal, b"echo hi") == [b"-" * 15, b"n[1-2] (2)", b"-" * 15, b"hi"]
    assert say(terminal, b"=") == [b"Switching to standard output format"]
    assert say(terminal, b"echo hi")[0] in (b"n1: hi", b"n2: hi")


def test_the_nodes_can_be_changed(start_terminal: StartTerminal) -> None:
    terminal = start(start_terminal)
    assert say(terminal, b"+n7") == [b"Working with nodes: n[1-2,7]"]
    assert say(terminal, b"-n1") == [b"Working with nodes: n[2,7]"]
    assert say(terminal, b"@ m[1-3],m9") == [b"Working with nodes: m[1-3,9]"]
    assert say(terminal, b"?") == [b"Working with nodes: m[1-3,9]"]
    assert say(terminal, b"-m[1-9]") == [b"trioshell: no node would be left"]
    assert b"'m['" in say(terminal, b"+m[")[0]
    assert sorted(say(terminal, b"echo"))[0] == b"m1: "


def test_a_command_can_run_here(start_terminal: StartTerminal) -> None:
    terminal = start(start_terminal)
    assert say(terminal, b"!echo 50%") == [b"LOCAL: 50%"]


def test_an_interrupted_command_leads_back_to_the_prompt(start_terminal: StartTerminal) -> None:
    terminal = start(start_terminal, "-b")
    terminal.type(b"echo ready >&2; exec sleep 1000\n")
    terminal.wait_for(b"n1: ready")
    terminal.type(b"\x03")
    terminal.wait_for(b"Keyboard interrupt (n[1-2] did not complete).\r\n" + PROMPT)
    assert say(terminal, b"echo hi")[-1] == b"hi"
    terminal.type(b"\x04")
    assert terminal.end()[0] == 0


def test_an_interrupt_at_the_prompt_ends_it(start_terminal: StartTerminal) -> None:
    terminal = start(start_terminal)
    terminal.type(b"half a li\x03")
    status, shown = terminal.end()
    assert status == 130
    assert shown.endswith(b"Keyboard interrupt.\n")


def test_a_hangup_ends_it_and_what_runs(start_terminal: StartTerminal) -> None:
    terminal = start(start_terminal)
    terminal.type(b"echo ready; exec sleep 1000\n")
    terminal.wait_for(b"n1: ready")
    terminal.process.send_signal(signal.SIGHUP)
    assert terminal.end()[0] == 128 + signal.SIGHUP


def test_the_status_is_that_of_the_last_command_if_asked_for(
    start_terminal: StartTerminal,
) -> None:
    terminal = start(start_terminal, "-S")
    say(terminal, b"exit 3")
    say(terminal, b"exit 2")
    terminal.type(b"\x04")
    assert terminal.end()[0] == 2


def test_lines_are_remembered(programs: Programs, start_terminal: StartTerminal) -> None:
    terminal = start(start_terminal)
    say(terminal, b"echo once")
    terminal.type(b"\x04")
    assert terminal.end()[0] == 0
    again = start(start_terminal)
    again.type(b"\x10\n")  # the line before
    again.wait_for(b"n1: once")
    assert (programs.place / ".trioshell_history").stat().st_size > 0


def test_it_needs_a_terminal_and_an_input(
    programs: Programs, start_terminal: StartTerminal
) -> None:
    status, shown = start_terminal("-R", "exec", "-w", "n1", "-n").end()
    assert status == 2
    assert b"trioshell: error: -n leaves nothing to read commands from" in shown


def test_a_password_is_asked_for_and_handed_on(
    programs: Programs, start_terminal: StartTerminal
) -> None:
    asked = ("-R", "exec", "--color=never", "-w", "n1", "-O", "password_prompt=yes")
    terminal = start_terminal(*asked, "read word; echo $word; cat")
    terminal.wait_for(b"Password: ")
    terminal.type(b"secret\n")
    status, shown = terminal.end()
    assert (status, shown.strip()) == (0, b"n1: secret")
