"""The guard against real shells, each as the login shell that an sshd would start."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioshell.transports._base import Command
from trioshell.transports._guard import (
    Answers,
    Ended,
    Opening,
    Ready,
    command_line,
    guard_line,
    say,
    say_end,
)

SHELLS = [
    pytest.param(
        path,
        id=Path(path).name,
        marks=pytest.mark.skipif(not Path(path).exists(), reason="no such shell"),
    )
    for path in ("/bin/sh", "/bin/bash", "/bin/csh", "/usr/bin/fish")
]
every_shell = pytest.mark.parametrize("shell", SHELLS)


EMPTY_HOME: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def _empty_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    EMPTY_HOME[:] = [tmp_path_factory.mktemp("home")]  # fish writes into it


def environment(shell: str, home: Path | None = None) -> dict[str, str]:
    # The mark by which the conftest above finds what is left behind is in there too.
    # Below an sshd, and only there, bash reads its .bashrc for a command.
    under_sshd = {"SHELL": shell, "HOME": str(home or EMPTY_HOME[0]), "SSH_CLIENT": "1 2 3"}
    return {name: value for name, value in os.environ.items() if name != "SHLVL"} | under_sshd


def login(shell: str, line: str, home: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run `line` as an sshd does: by the login shell, in a session of its own."""
    return subprocess.run(
        [shell, "-c", line],
        env=environment(shell, home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        start_new_session=True,
        timeout=30,
    )


def run(
    shell: str, command: Command, merge: bool, home: Path | None = None
) -> tuple[int, bytes, bytes]:
    """Run `command` in its prefix; the exit status, and both streams without the report."""
    token = secrets.token_hex(8)
    done = login(shell, command_line(command, token, merge=merge), home)
    opening = Opening(command, token, merge=merge)
    out = opening.feed("stdout", done.stdout)
    err = opening.feed("stderr", done.stderr)
    assert opening.group is not None
    return done.returncode, out + opening.rest("stdout"), err + opening.rest("stderr")


# -- the line ---------------------------------------------------------------------------


@every_shell
@pytest.mark.parametrize(
    "command",
    [
        "echo hello",
        "exit 7",
        "echo 'it''s' \"quoted\" \\\\ $HOME *",
        "echo one\necho two\n",
        "echo " + "x" * 5000,
        "echo last \\\n and more",
        "nosuchcommand",
        "echo wow\\!",
        "echo \N{SNOWMAN} $SHELL",
        "# nothing",
        "cd /; pwd; echo end",
        "sh -c 'echo a >&2; exit 3'",
    ],
)
def test_a_string_is_run_as_the_login_shell_itself_runs_it(shell: str, command: str) -> None:
    plain = login(shell, command)
    assert run(shell, command, merge=False) == (plain.returncode, plain.stdout, plain.stderr)
    code, out, err = run(shell, command, merge=True)
    assert (code, sorted(out), err) == (plain.returncode, sorted(plain.stdout + plain.stderr), b"")


@pytest.mark.parametrize("shell", [param for param in SHELLS if param.id != "fish"])
@pytest.mark.parametrize("command", ["cat <<EOF\nhere\nEOF\n", "kill -9 $$"])
def test_a_string_that_is_no_fish_is_run_as_well(shell: str, command: str) -> None:
    plain = login(shell, command)
    assert run(shell, command, merge=False) == (plain.returncode, plain.stdout, plain.stderr)


@every_shell
@pytest.mark.parametrize("command", ["echo (", "echo 'a", "end"])
def test_what_the_login_shell_can_not_read_is_its_own_complaint(shell: str, command: str) -> None:
    plain = login(shell, command)
    done = login(shell, command_line(command, "token", merge=False))
    assert done.returncode == plain.returncode
    assert bool(done.stderr) == bool(plain.stderr)


@every_shell
def test_merged_streams_keep_the_order_of_writing(shell: str) -> None:
    command = "sh -c 'for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done'"
    expected = b"".join(b"o%d\ne%d\n" % (i, i) for i in range(1, 6))
    assert run(shell, command, merge=True) == (0, expected, b"")


words = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=6)


@pytest.mark.parametrize("merge", [True, False])
@given(words=words)
@settings(max_examples=25, deadline=None)
def test_a_vector_arrives_word_for_word_through_every_shell(words: list[str], merge: bool) -> None:
    expected = b"".join(word.encode() + b"\0" for word in ["", *words])
    for param in SHELLS:
        shell = str(param.values[0])
        if Path(shell).exists():
            assert run(shell, ("printf", r"%s\0", "", *words), merge) == (0, expected, b"")


@every_shell
def test_a_vector_that_cannot_be_found_exits_with_127(shell: str) -> None:
    code, out, err = run(shell, ("nosuchcommand", "x"), merge=False)
    assert (code, out) == (127, b"")
    assert b"nosuchcommand" in err


@every_shell
@pytest.mark.parametrize("command", ["cat; echo end", ("sh", "-c", "cat; echo end")])
@pytest.mark.parametrize("merge", [True, False])
def test_an_empty_stdin_needs_no_end_of_the_callers(
    shell: str, command: Command, merge: bool
) -> None:
    line = command_line(command, "token", merge=merge, stdin=False)
    with subprocess.Popen(
        [shell, "-c", line],
        env=environment(shell),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read().splitlines()[-1] == b"end"


def test_a_program_whose_name_begins_with_a_dash_is_no_option_of_exec(tmp_path: Path) -> None:
    tool = tmp_path / "-c"
    tool.write_text("#!/bin/sh\necho ran $1\n")
    tool.chmod(0o755)
    line = command_line(("-c", "it"), "token", merge=False)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/bash", "-c", line], env={"PATH": path}, capture_output=True, check=False
    )
    assert done.stdout.endswith(b"ran it\n")


@pytest.mark.parametrize("command", ["echo \0", ("echo", "a\0b")])
def test_a_nul_byte_is_refused(command: Command) -> None:
    with pytest.raises(ValueError, match="NUL"):
        command_line(command, "token", merge=True)


@pytest.mark.parametrize(
    ("shell", "rc"),
    [
        ("/bin/csh", ".cshrc"),
        ("/usr/bin/fish", ".config/fish/config.fish"),
        ("/bin/bash", ".bashrc"),
        ("/bin/sh", ".profile"),
    ],
)
def test_what_a_start_up_file_prints_comes_once(shell: str, rc: str, tmp_path: Path) -> None:
    file = tmp_path / rc
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("echo welcome\nsh -c 'echo grumble >&2'\necho x >> $HOME/times\n")
    times = tmp_path / "times"
    plain = login(shell, "echo ok", tmp_path)
    assert (plain.returncode, plain.stdout[-3:]) == (0, b"ok\n")
    once = times.stat().st_size if times.exists() else 0
    assert once == (0 if shell == "/bin/sh" else 2)
    assert run(shell, "echo ok", False, tmp_path) == (0, plain.stdout, plain.stderr)
    if shell == "/bin/bash":  # the same shell runs the command: it has read its file once
        assert times.stat().st_size == 2 * once
    code, out, err = run(shell, "echo ok", True, tmp_path)
    assert (code, sorted(out + err)) == (0, sorted(plain.stdout + plain.stderr))
    assert run(shell, ("echo", "ok"), False, tmp_path) == (0, plain.stdout, plain.stderr)


# -- the report, taken out ------------------------------------------------------------------

TOKEN = "aab0aab1"
COMMANDS: list[Command] = ["date", ("date",)]
pieces = st.binary(max_size=40) | st.sampled_from([b"aab0", b"aab0aab1", b"aab0aab1 12", b"aab"])


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    """`data` in the chunks that end at `places`."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            yield data[start:end]


@given(
    before=pieces,
    after=pieces,
    here=st.booleans(),
    vector=st.booleans(),
    merge=st.booleans(),
    places=st.lists(st.integers(0, 200), max_size=20),
)
def test_the_report_is_found_under_any_chunking(
    before: bytes, after: bytes, here: bool, vector: bool, merge: bool, places: list[int]
) -> None:
    opening = Opening(("date",) if vector else "date", TOKEN, merge=merge)
    report = b"aab0aab1 4711" + (b" here\n" if here else b"\n")
    got = b"".join(opening.feed("stdout", chunk) for chunk in cut(before + report + after, places))
    assert opening.group == 4711
    # Only where a second shell runs the command is it not the same shell that has said this.
    kept = here or vector
    assert got + opening.rest("stdout") == (before if kept else b"") + after
    errors = before if kept or merge else before + report + after
    said = b"".join(opening.feed("stderr", chunk) for chunk in cut(errors, places))
    assert said + opening.rest("stderr") == (before if kept else b"" if merge else after)


@given(before=pieces, after=pieces, merge=st.booleans())
def test_what_a_login_shell_says_on_stderr_first_is_kept_if_it_runs_the_command(
    before: bytes, after: bytes, merge: bool
) -> None:
    opening = Opening("date", TOKEN, merge=merge)
    got = opening.feed("stderr", before) + opening.feed("stdout", b"aab0aab1 7 here\n")
    got += opening.feed("stderr", after) + opening.rest("stderr")
    assert got == before + after


@given(output=pieces, places=st.lists(st.integers(0, 200), max_size=20), data=st.data())
def test_without_a_report_nothing_is_lost(
    output: bytes, places: list[int], data: st.DataObject
) -> None:
    command = data.draw(st.sampled_from(COMMANDS))
    merge = data.draw(st.booleans())
    for sname in ("stdout", "stderr"):
        opening = Opening(command, TOKEN, merge=merge)
        got = b"".join(opening.feed(sname, chunk) for chunk in cut(output, places))
        assert opening.group is None
        assert got + opening.rest(sname) == output


@pytest.mark.parametrize("sname", ["stdout", "stderr"])
@pytest.mark.parametrize("merge", [True, False])
def test_what_is_held_back_is_bounded(sname: str, merge: bool) -> None:
    opening = Opening("cat flood", TOKEN, merge=merge)
    got = sum(len(opening.feed(sname, b"x" * 10_000)) for _ in range(50))
    assert got >= 500_000 - 65_536
    assert got + len(opening.rest(sname)) == 500_000


def test_the_report_after_a_flood_is_still_found() -> None:
    opening = Opening("date", TOKEN, merge=True)
    got = opening.feed("stdout", b"x" * 100_000) + opening.feed("stdout", b"aab0aab1 9\nrest")
    assert (opening.group, got) == (9, b"x" * 100_000 + b"rest")


# -- the answers --------------------------------------------------------------------------


@given(places=st.lists(st.integers(0, 200), max_size=20))
def test_answers_are_parsed_under_any_chunking(places: list[int]) -> None:
    said = (
        b"Welcome!\nhi tok ready\ntok gone 7\ntok lost 8\ntok over 9\ntok left 5 6 7\ntok gone\nto"
    )
    answers = Answers("tok")
    got = [answer for chunk in cut(said, places) for answer in answers.feed(chunk)]
    assert got == [Ready(), Ended(7), Ended(9, by_itself=True), Ended(5, left=(6, 7))]


# -- the guard itself -----------------------------------------------------------------------


class Guard:
    """A real guard under a real login shell, spoken to over its pipes."""

    def __init__(self, shell: str, path: str | None = None) -> None:
        self.answers = Answers("tok")
        self.pending: list[object] = []
        env = environment(shell) | ({"PATH": path} if path is not None else {})
        self.process = subprocess.Popen(
            [shell, "-c", guard_line("tok")],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def tell(self, *words: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(words))
        self.process.stdin.flush()

    def hear(self) -> object:
        """The next answer; None when the guard says no more."""
        assert self.process.stdout is not None
        while not self.pending:
            data = self.process.stdout.readline()
            if not data:
                return None
            self.pending += self.answers.feed(data)
        return self.pending.pop(0)

    def close(self) -> None:
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()
        assert self.process.returncode == 0


@contextmanager
def guard_under(shell: str, path: str | None = None) -> Iterator[Guard]:
    guard = Guard(shell, path)
    try:
        assert guard.hear() == Ready()
        yield guard
    finally:
        guard.close()


def alive(pid: int) -> bool:
    """True unless the process is gone, or dead and not buried yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Victim:
    """A command in a session of its own that prints the process ids of its family."""

    def __init__(self, script: str, pids: int) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
        )
        self.pid = self.process.pid
        out: IO[bytes] | None = self.process.stdout
        assert out is not None
        self.family = [self.pid, *(int(out.readline()) for _ in range(pids))]

    @property
    def living(self) -> list[int]:
        return [pid for pid in self.family if alive(pid)]

    def close(self) -> None:
        for pid in self.living:
            os.kill(pid, signal.SIGKILL)
        with self.process:
            pass


@contextmanager
def victims(*scripts: tuple[str, int]) -> Iterator[list[Victim]]:
    with ExitStack() as stack:
        made = []
        for script, pids in scripts:
            made.append(Victim(script, pids))
            stack.callback(made[-1].close)
        yield made


SIMPLE = ("echo $$; exec sleep 600", 1)
PIPELINE = ("sh -c 'echo $$; exec sleep 601' | sh -c 'echo $$ >&3; exec cat' 3>&1", 1)
TREE = ("sh -c 'echo $$; sleep 602 & echo $!; wait' & echo $!; wait", 3)
STUBBORN = ("trap '' TERM; echo $$; while :; do sleep 603; done", 1)
STUBBORN_CHILD = ("sh -c 'trap \"\" TERM; echo $$; sleep 604; sleep 604' & sleep 605", 1)
OWN_GROUP = ("timeout 600 sh -c 'echo $$; exec sleep 606'", 1)
ORPHAN_IN_OWN_GROUP = ("(timeout 600 sh -c 'echo $$; exec sleep 607' &); sleep 608", 1)
OWN_SESSION = ("setsid sh -c 'echo $$; exec sleep 609' & wait", 1)
STOPPED = ("echo $$; kill -STOP $$; sleep 610", 1)
FAMILIES = {
    "simple": SIMPLE,
    "pipeline": PIPELINE,
    "tree": TREE,
    "stubborn": STUBBORN,
    "stubborn child": STUBBORN_CHILD,
    "own group": OWN_GROUP,
    "orphan in its own group": ORPHAN_IN_OWN_GROUP,
    "own session": OWN_SESSION,
    "stopped": STOPPED,
}


@every_shell
def test_everything_of_a_command_is_ended_whatever_it_did(shell: str) -> None:
    with guard_under(shell) as guard, victims(*FAMILIES.values()) as ended, victims(SIMPLE) as kept:
        guard.tell(*(say_end(victim.pid, 0.2) for victim in ended))
        answers = [guard.hear() for _ in ended]
        assert sorted(answers, key=repr) == sorted((Ended(v.pid) for v in ended), key=repr)
        assert [victim.living for victim in ended] == [[] for _ in ended]
        assert kept[0].living == kept[0].family


def test_politely_first() -> None:
    script = "trap 'echo 0; exit 0' TERM; echo $$; while :; do sleep 0.01; done"
    with guard_under("/bin/sh") as guard, victims((script, 1)) as [victim]:
        guard.tell(say_end(victim.pid, 30))
        assert guard.hear() == Ended(victim.pid)
        assert victim.process.stdout is not None
        assert victim.process.stdout.read() == b"0\n"
        assert victim.process.wait() == 0


def test_without_grace_it_is_killed_at_once() -> None:
    script = "trap 'echo polite; exit 0' TERM; echo $$; while :; do sleep 0.01; done"
    with guard_under("/bin/sh") as guard, victims((script, 1)) as [victim]:
        guard.tell(say_end(victim.pid, 0))
        assert guard.hear() == Ended(victim.pid)
        assert victim.process.stdout is not None
        assert victim.process.stdout.read() == b""
        assert victim.process.wait() == -signal.SIGKILL


def test_a_command_that_is_over_is_not_touched_nor_what_it_left_on_purpose() -> None:
    with guard_under("/bin/sh") as guard, victims(("sleep 611 & echo $!", 1)) as [victim]:
        victim.process.wait()
        guard.tell(say("know", victim.pid), say_end(victim.pid, 1))
        assert guard.hear() == Ended(victim.pid, by_itself=True)
        assert victim.living == victim.family[1:]


@every_shell
def test_the_end_of_its_input_ends_all_that_it_still_knows(shell: str) -> None:
    scripts = (SIMPLE, STUBBORN, SIMPLE, ("sleep 612 & echo $!", 1), SIMPLE)
    with victims(*scripts) as [one, stubborn, forgotten, over, unknown]:
        with guard_under(shell) as guard:
            known = (one, stubborn, forgotten, over)
            guard.tell(*(say("know", victim.pid) for victim in known))
            guard.tell(say("forget", forgotten.pid), say("forget", 12345))
            # over is over by now or soon: its leader has nothing more to do
            over.process.wait()
        assert one.living == stubborn.living == []
        assert forgotten.living == forgotten.family
        assert unknown.living == unknown.family
        assert over.living == over.family[1:]


@pytest.mark.parametrize("tools", [["sleep"], []])
def test_it_needs_neither_ps_nor_fractions_of_a_sleep(tools: list[str], tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    for tool in tools:  # as POSIX has it: whole seconds only
        script = 'case $1 in *.*) exit 1 ;; *) exec /bin/sleep "$1" ;; esac'
        (tmp_path / tool).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / tool).chmod(0o755)
    with guard_under("/bin/sh", str(tmp_path)) as guard, victims(TREE, ORPHAN_IN_OWN_GROUP) as both:
        guard.tell(*(say_end(victim.pid, 1) for victim in both))
        assert {guard.hear(), guard.hear()} == {Ended(victim.pid) for victim in both}
        assert [victim.living for victim in both] == [[], []]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start what others may not kill")
def test_what_may_not_be_killed_is_named() -> None:
    import pwd

    nobody = pwd.getpwnam("nobody")
    with victims(SIMPLE) as [victim]:
        guard = subprocess.run(
            ["/bin/sh", "-c", guard_line("tok")],
            input=say_end(victim.pid, 0.1),
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            capture_output=True,
            check=False,
        )
        left = Answers("tok").feed(guard.stdout)[1:]
        assert left == [Ended(victim.pid, left=(victim.pid,))]
        assert victim.living == victim.family


def test_nonsense_is_ignored() -> None:
    with guard_under("/bin/sh") as guard, victims(SIMPLE) as [victim]:
        guard.tell(b"\n", b"x\n", b"x 0 5\n", b"x 1 5\n", b"x -1 5\n", b"+ $(id)\n", b"? 5\n")
        guard.tell(say_end(victim.pid, 1))
        assert guard.hear() == Ended(victim.pid)
