"""Proves that `nothing_left_behind` (tests/conftest.py) finds what a test leaves behind.

Each case is a test in a pytest of its own, under a copy of our conftest with another grace.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

# What a test does, and what it is then accused of, line by line.
LEAKS: dict[str, tuple[str, ...]] = {
    "child": (
        "subprocess.Popen(['sleep', '61'])",
        r"process \d+ \(state \w, parent \d+\) .*sleep 61.*",
    ),
    "zombie": (
        "os.waitid(os.P_PID, os.posix_spawn('/bin/true', ['true'], {}), os.WEXITED | os.WNOWAIT)",
        r"process \d+ \(state Z, parent \d+\) without a command",
    ),
    "grandchild_that_is_now_with_init": (
        "subprocess.run(['sh', '-c', 'sleep 62 &'])",
        r"process \d+ \(state \w, parent \d+\) .*sleep 62.*",
    ),
    "grandchild_in_a_session_of_its_own": (
        "subprocess.run(['sh', '-c', 'setsid sleep 63 &'])",
        r"process \d+ \(state \w, parent \d+\) .*sleep 63.*",
    ),
    "child_without_our_environment": (
        "subprocess.Popen(['env', '-i', 'sleep', '64'])",
        r"process \d+ \(state \w, parent \d+\) .*sleep 64.*",
    ),
    "pipe": (
        "os.pipe()",
        r"descriptor \d+, pipe:\[\d+\]",
        r"descriptor \d+, pipe:\[\d+\]",
    ),
    "descriptor_under_the_number_of_another": (
        "os.dup2(os.open('/dev/zero', os.O_RDONLY), 0)",
        "descriptor 0, /dev/zero",
        r"descriptor \d+, /dev/zero",
    ),
    "thread": (
        "threading.Thread(target=time.sleep, args=(60,), name='idler', daemon=True).start()",
        r"thread \d+, idler",
    ),
    "trio_thread_at_work": (
        "trio.lowlevel.start_thread_soon(lambda: time.sleep(60), lambda outcome: None)",
        r"thread \d+, Trio thread \d+",
    ),
    "trio_thread_that_was_idle_before": (
        "trio.run(trio.to_thread.run_sync, bool); "
        "trio.lowlevel.start_thread_soon(lambda: time.sleep(60), lambda outcome: None)",
        r"thread \d+, Trio thread \d+",
    ),
}

CLEAN = {
    "nothing": "pass",
    "child_that_was_waited_for": "subprocess.run(['true'])",
    "grandchild_that_ends_within_the_grace": "subprocess.run(['sh', '-c', 'sleep 0.05 &'])",
    "idle_thread_of_trio": "trio.run(trio.to_thread.run_sync, bool)",
    "descriptor_that_was_closed": "os.close(os.open('/dev/zero', os.O_RDONLY))",
}


def source(bodies: dict[str, str]) -> str:
    tests = [f"def test_{name}():\n    {body}\n" for name, body in bodies.items()]
    return "\n".join(["import os, subprocess, threading, time, trio\n", *tests])


def run_pytest(folder: Path, bodies: dict[str, str], grace: float) -> str:
    """What a pytest of its own says of these tests, one after the other."""
    conftest = (Path(__file__).parent / "conftest.py").read_text()
    before, found, after = conftest.partition("GRACE_SECONDS = 2.0\n")
    assert found
    (folder / "conftest.py").write_text(f"{before}GRACE_SECONDS = {grace}\n{after}")
    (folder / "test_inner.py").write_text(source(bodies))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    ).stdout


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    bodies = {name: body for name, (body, *_) in LEAKS.items()}
    return run_pytest(tmp_path_factory.mktemp("leaking"), bodies, grace=0.2)


def accused(report: str, name: str) -> list[str]:
    section = re.search(rf"ERROR at teardown of test_{name} _.*?(?=\n[_=]|\Z)", report, re.DOTALL)
    return re.findall("^  (.*)$", section[0], re.MULTILINE) if section else []


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_fails_the_test_that_made_it_and_no_other(report: str, name: str) -> None:
    lines = accused(report, name)
    patterns = LEAKS[name][1:]
    assert len(lines) == len(patterns), report
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


def test_every_leaking_test_itself_passed(report: str) -> None:
    assert f"{len(LEAKS)} passed, {len(LEAKS)} errors in" in report


def test_clean_tests_pass(tmp_path: Path) -> None:
    assert f"\n{len(CLEAN)} passed in" in run_pytest(tmp_path, CLEAN, grace=30.0)


def test_leaked_processes_were_killed(report: str) -> None:
    # Not from the whole report: a CI's pytest says each accusation again in its summary.
    lines = [line for name in LEAKS for line in accused(report, name)]
    pids = [line.split()[1] for line in lines if line.startswith("process ")]
    assert len(pids) == 5
    assert [pid for pid in pids if is_alive(pid)] == []


def is_alive(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return ") Z " not in stat  # killed, and init is about to bury it
