"""Wrong arguments: refused at the call, by one sentence that names them, before anything starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import trioshell
from tests.real.probes import Mark
from trioshell import CopyWorker, ExecWorker, Task

NAN = math.nan

TASKS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"fanout": 0}, ValueError, "fanout must be 1 or more, not 0"),
    ({"fanout": -3}, ValueError, "fanout .*-3"),
    ({"fanout": 1.5}, TypeError, "fanout .*1.5"),
    ({"fanout": "8"}, TypeError, "fanout .*'8'"),
    ({"fanout": True}, TypeError, "fanout .*True"),
    ({"fanout": None}, TypeError, "fanout .*None"),
    ({"transport": "no-such"}, ValueError, "transport must be one of .*'exec'.*'no-such'"),
    ({"transport": None}, TypeError, "transport .*None"),
    ({"transport": 3}, TypeError, "transport .*3"),
    ({"connect_timeout": -1}, ValueError, "connect_timeout .*-1"),
    ({"connect_timeout": NAN}, ValueError, "connect_timeout .*nan"),
    ({"connect_timeout": "1"}, TypeError, "connect_timeout .*'1'"),
    ({"command_timeout": -0.1}, ValueError, "command_timeout .*-0.1"),
    ({"command_timeout": NAN}, ValueError, "command_timeout .*nan"),
    ({"command_timeout": True}, TypeError, "command_timeout .*True"),
    ({"stderr": 1}, TypeError, "stderr .*1"),
    ({"keep_results": None}, TypeError, "keep_results .*None"),
    ({"kill_grace": -1}, ValueError, "kill_grace .*-1"),
    ({"kill_grace": NAN}, ValueError, "kill_grace .*nan"),
    ({"kill_grace": math.inf}, ValueError, "kill_grace .*inf"),
    ({"kill_grace": None}, ValueError, "kill_grace .*None"),
    ({"max_output_bytes": 0}, ValueError, "max_output_bytes must be 1 byte or more, not 0"),
    ({"max_output_bytes": 1e6}, TypeError, "max_output_bytes .*1000000.0"),
    ({"max_line_bytes": -1}, ValueError, "max_line_bytes .*-1"),
    ({"max_line_bytes": "64K"}, TypeError, "max_line_bytes .*'64K'"),
    ({"no_such": 1}, TypeError, "no_such"),
]


@pytest.mark.parametrize(("options", "error", "words"), TASKS, ids=str)
def test_a_task(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        Task(**options)
    assert "\n" not in str(caught.value)


COMMANDS: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ("", {}, ValueError, "command must not be empty.*''"),
    (" \t\n", {}, ValueError, "command must not be empty"),
    ([], {}, ValueError, r"command must not be empty.*\[\]"),
    (["", "x"], {}, ValueError, "command must not be empty"),
    ("a\0b", {}, ValueError, "command .*NUL"),
    (["a", "b\0"], {}, ValueError, "command .*NUL"),
    (b"echo x", {}, TypeError, "command must be a string or a sequence of strings, not b'echo x'"),
    (["echo", 3], {}, TypeError, "command .*3"),
    (["echo", b"x"], {}, TypeError, "command .*b'x'"),
    (None, {}, TypeError, "command .*None"),
    (7, {}, TypeError, "command .*7"),
    ({"echo"}, {}, TypeError, "command .*echo"),
    ("x", {"timeout": -1}, ValueError, "timeout must be 0 seconds or more, not -1"),
    ("x", {"timeout": NAN}, ValueError, "timeout .*nan"),
    ("x", {"timeout": "5"}, TypeError, "timeout .*'5'"),
    ("x", {"timeout": True}, TypeError, "timeout .*True"),
    ("x", {"fanout": 0}, ValueError, "fanout .*0"),
    ("x", {"fanout": 2.0}, TypeError, "fanout .*2.0"),
    ("x", {"stdin": None}, TypeError, "stdin .*None"),
    ("x", {"max_output_bytes": True}, TypeError, "max_output_bytes .*True"),
    ("x", {"max_line_bytes": NAN}, TypeError, "max_line_bytes .*nan"),
    ("x", {"max_line_bytes": 0, "nodes": "n1"}, ValueError, "max_line_bytes .*0"),
    ("x", {"stderr": "no"}, TypeError, "stderr .*'no'"),
    ("x", {"autoclose": 1}, TypeError, "autoclose .*1"),
    ("x", {"transport": "no-such"}, ValueError, "transport .*'no-such'"),
    ("x", {"transport": "no-such", "nodes": "n1"}, ValueError, "transport .*'no-such'"),
    ("x", {"transport": 5, "nodes": "n1"}, TypeError, "transport .*5"),
    ("x", {"transport": "ssh"}, ValueError, "transport 'ssh' needs nodes"),
    ("x", {"nodes": "n1", "key": "k"}, ValueError, "key .*'k'.*nodes.*'n1'"),
    ("x", {"nodes": "n[1-", "transport": "exec"}, ValueError, r"nodes.*n\[1-"),
    ("x", {"nodes": "n[b-a]", "transport": "exec"}, ValueError, "nodes.*n.b-a"),
    ("x", {"nodes": "", "transport": "exec"}, ValueError, "nodes.*''"),
    ("x", {"nodes": 5, "transport": "exec"}, TypeError, "nodes.*5"),
    ("x", {"nodes": [1, 2], "transport": "exec"}, TypeError, "nodes.*1"),
    ("x", {"nodes": b"n1", "transport": "exec"}, TypeError, "nodes.*b'n1'"),
    ("x", {"nodes": ["-oProxyCommand=id"], "transport": "exec"}, ValueError, "-oProxyCommand=id"),
    ("x", {"nodes": ["n1", "a b"], "transport": "exec"}, ValueError, "'a b'"),
    ("x", {"nodes": ["n1", "a\nb"], "transport": "exec"}, ValueError, r"a\\nb"),
    ("x", {"nodes": ["a\x1b[31m"], "transport": "exec"}, ValueError, r"\\x1b"),
    ("x", {"nodes": ["a\x00"], "transport": "exec"}, ValueError, r"\\x00"),
    ("echo %z", {"nodes": "n1", "transport": "exec"}, ValueError, "%z"),
    (["echo", "50%"], {"nodes": "n1", "transport": "exec"}, ValueError, "%"),
    ("x", {"no_such": 1}, TypeError, "no_such"),
]


@pytest.mark.parametrize(("command", "options", "error", "words"), COMMANDS, ids=str)
async def test_a_command(
    command: Any, options: dict[str, Any], error: type[Exception], words: str, mark: Mark
) -> None:
    async with Task() as task:
        with pytest.raises(error, match=words) as caught:
            task.shell(command, **options)
        assert "\n" not in str(caught.value)
        assert task.statistics().open_workers == 0
        with pytest.raises(error, match=words):
            await trioshell.run(command, **options)
        await trio.testing.wait_all_tasks_blocked()
        assert mark.living() == []
    assert list(task.iter_retcodes()) == []


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"check": 1}, TypeError, "check .*1"),
        ({"fanout": 0}, ValueError, "fanout .*0"),
        ({"kill_grace": -1}, ValueError, "kill_grace .*-1"),
        ({"connect_timeout": NAN}, ValueError, "connect_timeout .*nan"),
        ({"no_such": 1}, TypeError, "no_such"),
    ],
)
async def test_run(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        await trioshell.run("true", **options)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda w, t: w.write("text"), TypeError, "data must be bytes, not 'text'"),
        (lambda w, t: w.write(None), TypeError, "data .*None"),
        (lambda w, t: w.write([1]), TypeError, r"data .*\[1\]"),
        (lambda w, t: w.write(b"x", "stdout"), ValueError, "sname .*'stdin'.*'stdout'"),
        (lambda w, t: w.write(b"x", 3), ValueError, "sname .*3"),
        (lambda w, t: w.set_write_eof("stderr"), ValueError, "sname .*'stderr'"),
        (lambda w, t: w.iter_buffers("n1"), TypeError, "match_keys .*'n1'"),
        (lambda w, t: w.iter_buffers(5), TypeError, "match_keys .*5"),
        (lambda w, t: t.iter_retcodes(b"n1"), TypeError, "match_keys .*b'n1'"),
        (lambda w, t: t.schedule("echo"), TypeError, "worker must be a Worker, not 'echo'"),
        (lambda w, t: t.schedule(None), TypeError, "worker .*None"),
        (lambda w, t: setattr(t, "fanout", 0), ValueError, "fanout .*0"),
        (lambda w, t: setattr(t, "fanout", "3"), TypeError, "fanout .*'3'"),
        (lambda w, t: t.timer(-1, object()), ValueError, "fire .*-1"),
        (lambda w, t: t.timer(NAN, object()), ValueError, "fire .*nan"),
        (lambda w, t: t.timer(math.inf, object()), ValueError, "fire .*inf"),
        (lambda w, t: t.timer(None, object()), ValueError, "fire .*None"),
        (lambda w, t: t.timer("1", object()), TypeError, "fire .*'1'"),
        (lambda w, t: t.timer(1, object(), 0), ValueError, "interval .*0"),
        (lambda w, t: t.timer(1, object(), -2), ValueError, "interval .*-2"),
        (lambda w, t: t.timer(1, object(), autoclose=None), TypeError, "autoclose .*None"),
        (lambda w, t: t.timer(1, object()).set_nextfire(-1), ValueError, "fire .*-1"),
    ],
)
async def test_methods(
    call: Callable[[Any, Any], object], error: type[Exception], words: str
) -> None:
    async with Task(transport="exec") as task:
        worker = task.shell("cat", nodes="n1")
        with pytest.raises(error, match=words):
            call(worker, task)
        assert task.fanout == 64
        worker.set_write_eof()
        await worker.wait()
        task.abort()  # a timer that was made
    assert worker.results()["n1"].stdout == b""


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"source": "/no/such", "dest": "/tmp/x"}, ValueError, "source .*'/no/such'"),
        ({"source": "", "dest": "/tmp/x"}, ValueError, "source .*''"),
        ({"source": "a\0b", "dest": "/tmp/x"}, ValueError, "source .*NUL"),
        ({"source": 5, "dest": "/tmp/x"}, TypeError, "source .*5"),
        ({"source": "/etc/passwd", "dest": None}, TypeError, "dest .*None"),
        ({"source": "/etc/passwd", "dest": b"x"}, TypeError, "dest .*b'x'"),
        ({"source": "x", "dest": "/no/such", "reverse": True}, ValueError, "dest .*'/no/such'"),
        ({"source": "x", "dest": "/etc/passwd", "reverse": True}, ValueError, "dest .*directory"),
        ({"source": "/etc/passwd", "dest": "x", "preserve": 1}, TypeError, "preserve .*1"),
        ({"source": "/etc/passwd", "dest": "x", "reverse": None}, TypeError, "reverse .*None"),
        ({"source": "/etc/passwd", "dest": "x", "timeout": -1}, ValueError, "timeout .*-1"),
        ({"source": "/etc/passwd", "dest": "%z"}, ValueError, "%z"),
    ],
)
def test_a_copy(
    options: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        CopyWorker("n1", transport="exec", **options)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (("n1",), {}, TypeError, "command"),
        (("n1",), {"command": ""}, ValueError, "command"),
        ((None,), {"command": "x"}, TypeError, "nodes.*None"),
        (("n[1",), {"command": "x"}, ValueError, r"nodes.*n\[1"),
        (("n1", None, -1), {"command": "x"}, ValueError, "timeout .*-1"),
        (("n1",), {"command": "x", "transport": "ssh"}, TypeError, "transport"),
        (("n1",), {"command": "echo %q"}, ValueError, "%q"),
    ],
)
def test_a_built_worker(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ExecWorker(*arguments, **options)


async def test_a_hostile_name_is_not_run_by_the_shell(tmp_path: Path) -> None:
    marker = tmp_path / "pwned"
    names = [
        f"x;touch${{IFS}}{marker}",
        f"$(touch${{IFS}}{marker})",
        f"`touch${{IFS}}{marker}`",
        "a'b",
    ]
    for name in names:
        try:
            worker = await trioshell.run("echo %h; echo 'in %h'", [name], transport="exec")
        except ValueError:
            continue  # refusing it is as good
        (result,) = worker.results().values()
        assert result.stdout.splitlines()[0] == name.encode()
    assert not marker.exists()
