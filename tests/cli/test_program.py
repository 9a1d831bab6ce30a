"""The program as a process: its input, its output as it comes, its signals, its exit status.

Every test also proves, by the fixture that watches all of them, that nothing which a command
started has survived the program.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.cli.conftest import Done, Programs, StartTerminal, finish

EXEC = ("trioshell", "-R", "exec")

# It has children, and a grandchild that ignores SIGTERM; it says when all of them run.
TREE = "sh -c 'trap \"\" TERM; exec sleep 1000' & sleep 1000 & echo ready; wait"


def lines(data: bytes) -> list[bytes]:
    return sorted(data.splitlines())


# -- signals -------------------------------------------------------------------------------

ENDED_BY = {
    signal.SIGINT: b"Keyboard interrupt (n[1-2] did not complete).\n",
    signal.SIGTERM: b"Terminated (n[1-2] did not complete).\n",
    signal.SIGHUP: b"Hangup (n[1-2] did not complete).\n",
}


@pytest.mark.parametrize("signum", ENDED_BY)
def test_one_signal_ends_everything(programs: Programs, signum: signal.Signals) -> None:
    process = programs.start(*EXEC, "-w", "n[1-2]", TREE)
    seen = [process.stdout.readline() for _ in range(2)]  # type: ignore[union-attr]  # a pipe
    process.send_signal(signum)
    done = finish(process)
    assert sorted(seen) == [b"n1: ready\n", b"n2: ready\n"]
    assert done == Done(128 + signum, b"", ENDED_BY[signum])


def test_what_was_gathered_before_a_signal_is_shown(programs: Programs) -> None:
    line = "echo out; test %h = n1 || { echo ready >&2; exec sleep 1000; }"
    process = programs.start(*EXEC, "-w", "n[1-3]", "-f", "2", "-b", line)
    assert process.stderr is not None
    ready = [process.stderr.readline() for _ in range(2)]
    assert sorted(ready) == [b"n2: ready\n", b"n3: ready\n"]
    process.send_signal(signal.SIGINT)
    done = finish(process)
    rule = b"-" * 15
    assert done.status == 130
    assert done.out == b"%b\nn1\n%b\nout\n%b\nn[2-3] (2)\n%b\nout\n" % (rule, rule, rule, rule)
    assert done.err == b"Keyboard interrupt (n[2-3] did not complete).\n"


def test_a_signal_that_was_ignored_before_us_is_ignored_by_us(programs: Programs) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does in the background

    process = programs.start(
        *EXEC, "-w", "n1", "echo ready; cat", preexec_fn=ignore, stdin=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"n1: ready\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    assert finish(process, b"still here\n") == Done(0, b"n1: still here\n", b"")


def test_a_reader_that_has_stopped_does_not_hold_up_the_end(programs: Programs) -> None:
    # Nobody reads: the pipe fills up, and the screen with it.
    process = programs.start(*EXEC, "-w", "n1", "echo ready >&2; yes", stdin=subprocess.DEVNULL)
    assert process.stderr is not None
    assert process.stderr.readline() == b"n1: ready\n"
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    finish(process)


# -- a terminal ----------------------------------------------------------------------------


def test_on_a_terminal_there_are_colours_and_nothing_is_obeyed(
    programs: Programs, start_terminal: StartTerminal
) -> None:
    terminal = start_terminal("-R", "exec", "-w", "n1", "printf '\\033[2J\\a\\rx\\n'; echo e >&2")
    assert terminal.end() == (0, b"\x1b[94mn1: \x1b[0m^[[2J^G^Mx\n\x1b[91mn1: \x1b[0me\n")


def test_a_first_interrupt_asks_and_a_second_one_ends(
    programs: Programs, start_terminal: StartTerminal
) -> None:
    terminal = start_terminal("-R", "exec", "-w", "n[1-2]", "-f1", f"{TREE}")
    terminal.wait_for(b"ready\r\n")
    terminal.type(b"\x03")
    terminal.wait_for(
        b"trioshell: interrupt (one more within 1 sec to abort)\r\n"
        b"trioshell: n1: command in progress\r\n"
        b"trioshell: 1 more waiting to start\r\n"
    )
    terminal.type(b"\x03")
    assert terminal.end() == (130, b"Keyboard interrupt (n[1-2] did not complete).\n")


def test_with_gathering_one_interrupt_is_enough(
    programs: Programs, start_terminal: StartTerminal
) -> None:
    line = "echo ready >&2; exec sleep 1000"
    terminal = start_terminal("-R", "exec", "-w", "n1", "-b", "--color=never", line)
    terminal.wait_for(b"n1: ready\r\n")
    terminal.type(b"\x03")
    status, shown = terminal.end()
    assert status == 130
    assert shown.endswith(b"Keyboard interrupt (n1 did not complete).\n")


def test_enter_shows_who_is_running(programs: Programs, start_terminal: StartTerminal) -> None:
    fifos = [programs.place / f"fifo.{node}" for node in ("n1", "n2")]
    for fifo in fifos:
        os.mkfifo(fifo)
    line = f"echo ready; cat {programs.place}/fifo.%h"
    terminal = start_terminal("-R", "exec", "-w", "n[1-2]", line)
    terminal.wait_for(b"ready\r\n")
    terminal.wait_for(b"ready\r\n")
    terminal.type(b"\n")
    terminal.wait_for(b"trioshell: n[1-2] (2): command in progress\r\n")
    for fifo in fifos:
        with open(fifo, "wb"):
            pass
    assert terminal.end() == (0, b"")


def test_progress_is_drawn_and_erased(programs: Programs, start_terminal: StartTerminal) -> None:
    fifo = programs.place / "fifo"
    os.mkfifo(fifo)
    terminal = start_terminal("-R", "exec", "-w", "n[1-2]", "-b", f"test %n = 0 || cat {fifo}")
    terminal.wait_for(b"trioshell: 1/2")
    with open(fifo, "wb"):
        pass
    status, shown = terminal.end()
    assert status == 0
    assert shown.endswith(b" \r")


# -- output --------------------------------------------------------------------------------


def test_a_line_is_out_before_the_command_ends(programs: Programs) -> None:
    process = programs.start(
        *EXEC, "-w", "n1", "echo first; read line; echo $line", stdin=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"n1: first\n"
    assert finish(process, b"second\n").out == b"n1: second\n"


@pytest.mark.parametrize("words", [("-w", "n[1-2]", "yes"), ("-w", "n[1-2]", "-v", "-b", "yes")])
def test_a_reader_that_goes_away_ends_everything_quietly(
    programs: Programs, words: tuple[str, ...]
) -> None:
    process = programs.start(*EXEC, *words)
    assert process.stdout is not None
    assert process.stdout.readline().endswith(b": y\n")
    process.stdout.close()
    assert process.wait(timeout=30) == 1
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_full_disk_is_told(programs: Programs) -> None:
    with open("/dev/full", "wb") as full:
        done = finish(programs.start(*EXEC, "-w", "n1", "yes", stdout=full))
    text = b"trioshell: the output cannot be written: No space left on device\n"
    assert (done.status, done.err) == (1, text)


def test_a_closed_output_is_no_catastrophe(programs: Programs) -> None:
    process = programs.start(
        *EXEC, "-w", "n1", "echo out; echo err >&2", preexec_fn=lambda: os.close(1)
    )
    done = finish(process)
    assert (done.status, done.err) == (0, b"n1: err\n")


def test_a_flood_comes_out_whole(programs: Programs) -> None:
    done = programs.trioshell("-w", "n[1-2]", "seq 1 200000")
    for node in (b"n1: ", b"n2: "):
        numbers = [line[4:] for line in done.out.splitlines() if line.startswith(node)]
        assert numbers == [b"%d" % number for number in range(1, 200001)]


def test_output_without_a_last_newline_and_10_mb_in_one_line(programs: Programs) -> None:
    done = programs.trioshell("-w", "n1", "head -c 10000000 /dev/zero | tr '\\0' x")
    assert done.out == b"n1: " + b"x" * 10_000_000 + b"\n"


# -- input ---------------------------------------------------------------------------------


def test_input_goes_to_every_command(programs: Programs) -> None:
    data = os.urandom(1_000_000)
    done = programs.trioshell("-w", "n[1-3]", "-f", "2", "-b", "cksum", given=data)
    expected = subprocess.run(["cksum"], input=data, capture_output=True, check=True).stdout
    rule = b"-" * 15
    assert done == Done(0, b"%b\nn[1-3] (3)\n%b\n%b" % (rule, rule, expected), b"")


def test_a_command_that_does_not_read_is_not_hurt(programs: Programs) -> None:
    done = programs.trioshell("-w", "n[1-2]", "head -c 3", given=b"abc" * 1_000_000)
    assert lines(done.out) == [b"n1: abc", b"n2: abc"]
    assert done.status == 0


def test_endless_input_ends_with_the_commands(programs: Programs) -> None:
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as yes:
        done = finish(programs.start(*EXEC, "-w", "n1", "head -n 1", stdin=yes.stdout))
        assert yes.stdout is not None
        yes.stdout.close()
    assert done == Done(0, b"n1: y\n", b"")


def test_input_can_be_a_file(programs: Programs) -> None:
    (programs.place / "input").write_bytes(b"from a file\n")
    with open(programs.place / "input", "rb") as file:
        done = finish(programs.start(*EXEC, "-w", "n1", "cat", stdin=file))
    assert done.out == b"n1: from a file\n"


def test_input_is_left_alone_if_so_asked(programs: Programs) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"for somebody else\n")
    done = finish(programs.start(*EXEC, "-w", "n1", "-n", "cat", stdin=reading))
    assert done == Done(0, b"", b"")
    assert os.read(reading, 100) == b"for somebody else\n"
    os.close(reading)
    os.close(writing)


def test_without_a_command_the_input_is_a_script(programs: Programs) -> None:
    done = programs.trioshell("-w", "n[1-2]", "-b", "-S", given=b"x=1\necho $x; exit 3\n")
    rule = b"-" * 15
    assert done.status == 3
    assert done.out == b"%b\nn[1-2] (2)\n%b\n1\n" % (rule, rule)


# -- beyond clush --------------------------------------------------------------------------


# A node that waits for its place in the fanout may still get it from the one that fails.
NEVER_RAN = {"aborted", "not_started"}


def test_fail_fast_ends_the_others_and_exits_with_the_code(programs: Programs) -> None:
    line = "test %h = n2 && exit 7; exec sleep 1000"
    done = programs.trioshell("-w", "n[1-9]", "-f", "2", "--fail-fast", "--json", line)
    told = {made["node"]: made["outcome"] for made in map(json.loads, done.out.splitlines())}
    assert done.status == 7
    assert told.pop("n2") == "exited"
    assert told.pop("n1") == "aborted"
    assert set(told) == {f"n{number}" for number in range(3, 10)}
    assert set(told.values()) <= NEVER_RAN
    assert told["n9"] == "not_started"


def test_fail_fast_tells_what_became_of_the_others(programs: Programs) -> None:
    line = "test %h = n2 && { read line; exit 7; }; echo ready; exec sleep 1000"
    process = programs.start(
        *EXEC, "-w", "n[1-9]", "-f", "2", "--fail-fast", line, stdin=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"n1: ready\n"
    done = finish(process, b"go\n")
    assert done.status == 7
    told = done.err.decode().splitlines()
    assert told[0] == "trioshell: n2: exited with exit code 7"
    assert told[1].startswith(("trioshell: n1: aborted", "trioshell: n[1,3] (2): aborted"))
    assert told[-1].startswith(("trioshell: n[3-9] (7): not ", "trioshell: n[4-9] (6): not "))


def test_fail_fast_counts_a_timeout_as_failure(programs: Programs) -> None:
    line = "test %h = n1 && exec sleep 1000; exec sleep 1001"
    done = programs.trioshell("-w", "n[1-2]", "-f", "1", "-u", "0.2", "--fail-fast", line)
    assert done.status == 255
    assert done.err.startswith(b"trioshell: n1: command timeout\ntrioshell: n2: ")


def test_json_is_one_object_a_node(programs: Programs) -> None:
    line = "echo %h; printf '\\377' >&2; kill -%n $$ 2>/dev/null; exit 2"
    done = programs.trioshell("-w", "n[0-1],n9", "--json", "-S", line.replace("%n", "$((9 * %n))"))
    objects = {made["node"]: made for made in map(json.loads, done.out.splitlines())}
    assert list(map(objects["n1"].get, ("outcome", "rc", "signal"))) == ["signaled", 137, 9]
    assert list(map(objects["n0"].get, ("outcome", "rc", "ok"))) == ["exited", 2, False]
    assert objects["n0"]["stdout"] == "n0\n"
    assert objects["n0"]["stderr_base64"] == "/w=="
    assert set(objects) == {"n0", "n1", "n9"}
    assert (done.status, done.err) == (137, b"")


def test_json_names_nodes_that_never_started(programs: Programs) -> None:
    done = programs.trioshell("-w", "n[1-9]", "-f", "1", "--json", "--fail-fast", "exit 1")
    told = {made["node"]: made["outcome"] for made in map(json.loads, done.out.splitlines())}
    assert list(told) == [f"n{number}" for number in range(1, 10)]
    assert (told["n1"], told["n9"]) == ("exited", "not_started")


def test_version_and_help(programs: Programs) -> None:
    assert programs.run("trioshell", "--version").out.startswith(b"trioshell ")
    assert programs.run("trioshell", "-h").out.startswith(b"Usage: trioshell ")
