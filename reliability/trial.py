"""Tries one case with one tool, and looks at what is left of it."""

from __future__ import annotations

import json
import os
import re
import secrets
import select
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.sshd import no_sshd
from reliability.case import OURS, Case, Plan, Seen
from reliability.marks import MARK, kill_marked, marked, wait_for
from reliability.record import Record
from reliability.servers import Servers, open_servers

ROOT = Path(__file__).parent.parent
START_SECONDS = 60.0
# How long the processes of commands may need to go, once the program says that all is over.
LEFT_SECONDS = 1.0
# The same once the program is gone, and somebody else has to notice it.
KILLED_SECONDS = 10.0
# Long enough for whoever watches over a command to have begun with it.
SETTLED_SECONDS = 2.0
COPY_BYTES = 200_000_000
# What is taken for a reason may be all of a peer's output.
REASON_LETTERS = 300


def try_case(case: Case, tool: str, times: int) -> Record:
    """Try it on `times` nodes at once, in as many programs as the case wants."""
    record = Record(case.name, tool)
    record.note = case.cannot(tool) or (no_sshd() if case.place == "sshd" else "")
    if record.note:
        return record
    seconds = []
    # What a peer does at a signal it does each time.
    for _ in range(case.rounds if tool in OURS else 1):
        count = case.nodes or times
        record.times += count
        with open_servers(case, count) as servers:
            _try_once(case, tool, servers, record)
        seconds.append(record.seconds)
    record.seconds = round(statistics.median(seconds), 1)
    return record


def _try_once(case: Case, tool: str, servers: Servers, record: Record) -> None:
    token = secrets.token_hex(8)
    with tempfile.TemporaryDirectory() as name, _program(token) as program:
        plan = _plan(case, tool, servers, token, Path(name))
        try:
            _send(program, plan)
            if _line(program, START_SECONDS) is None:
                record.note = "the program did not start"
                return
            if case.signal:
                _killed(case, program, token, len(plan.nodes), record)
            else:
                _watch(case, program, token, servers, record)
        finally:
            program.kill()
            kill_marked(token)
    sizes = [(root / plan.dest).stat().st_size for root in servers.roots if _there(root, plan)]
    record.files += sum(size < COPY_BYTES for size in sizes)


def _there(root: Path, plan: Plan) -> bool:
    return bool(plan.dest) and (root / plan.dest).exists()


def _plan(case: Case, tool: str, servers: Servers, token: str, directory: Path) -> Plan:
    argv = case.argv or ("env", f"{MARK}={token}", "sh", "-c", case.script)
    plan = Plan(
        tool=tool,
        command=shlex.join(argv),
        argv=argv,
        nodes=servers.nodes,
        bystander=servers.bystander,
        action=case.action,
        timeout=case.timeout,
        stdin=case.stdin,
        pause=case.pause,
        descriptors=case.descriptors,
        settings=case.settings,
    )
    given = asdict(plan) | servers.files
    if case.action == "copy":
        source = directory / "large"
        source.touch()
        os.truncate(source, COPY_BYTES)
        given |= {"source": str(source), "dest": "large"}
    return Plan(**given)


@contextmanager
def _program(token: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "reliability.program"],
        cwd=ROOT,
        env=os.environ | {"RELIABILITY_PROGRAM": token},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as program:
        yield program


def _send(program: subprocess.Popen[bytes], plan: Plan) -> None:
    assert program.stdin is not None
    program.stdin.write(json.dumps(asdict(plan)).encode() + b"\n")
    program.stdin.flush()


def _line(program: subprocess.Popen[bytes], seconds: float) -> str | None:
    """The next line of the program; None if it does not come, or the program has ended."""
    assert program.stdout is not None
    readable, _, _ = select.select([program.stdout], [], [], seconds)
    line = program.stdout.readline().decode() if readable else ""
    return line or None


def _killed(
    case: Case, program: subprocess.Popen[bytes], token: str, nodes: int, record: Record
) -> None:
    if not wait_for(lambda: len(marked(token)) >= nodes * case.processes, START_SECONDS):
        record.note = "the commands did not start"
        return
    time.sleep(SETTLED_SECONDS)
    begin = time.monotonic()
    program.send_signal(signal.Signals[case.signal])
    try:
        program.wait(case.limit)
        record.outcomes["the program is gone"] = (
            record.outcomes.get("the program is gone", 0) + nodes
        )
    except subprocess.TimeoutExpired:
        record.hangs = True
        program.kill()
    wait_for(lambda: not marked(token), KILLED_SECONDS)
    record.seconds = round(time.monotonic() - begin, 1)
    record.left += len(marked(token))


def _watch(
    case: Case, program: subprocess.Popen[bytes], token: str, servers: Servers, record: Record
) -> None:
    begin = time.monotonic()
    if case.server_signal:
        wanted = len(servers.nodes) * case.processes
        wait_for(lambda: len(marked(token)) >= wanted, START_SECONDS)
        time.sleep(SETTLED_SECONDS)
        begin = time.monotonic()
        servers.signal(signal.Signals[case.server_signal])
    line = _line(program, case.limit)
    if line is None:
        record.hangs = program.poll() is None
        record.note = record.note or ("" if record.hangs else "the program has ended")
        record.seconds = round(time.monotonic() - begin, 1)
        record.left += len(marked(token))
        return
    seen = Seen(**json.loads(line))
    wait_for(lambda: not marked(token), LEFT_SECONDS)
    record.left += len(marked(token))
    record.seconds = round(seen.seconds, 1)
    _add(case, servers, seen, record)


def _add(case: Case, servers: Servers, seen: Seen, record: Record) -> None:
    record.outcomes = dict(Counter(record.outcomes) + Counter(seen.outcomes.values()))
    for reason in seen.reasons.values():
        record.reason = record.reason or plain(reason)
    sizes = [seen.sizes.get(node, 0) for node in servers.nodes]
    if seen.raised:
        record.note = plain(seen.raised)
        sizes = [0] * len(servers.nodes)
    record.lost_bytes += sum(max(0, case.written - size) for size in sizes)
    record.bystander = record.bystander or seen.bystander
    record.grown_bytes = max(record.grown_bytes, seen.grown_bytes)
    for what, count in seen.left.items():
        record.left_in_program[what] = record.left_in_program.get(what, 0) + count


def plain(reason: str) -> str:
    """Without what is another at each run: ports, processes, keys, paths."""
    for pattern, word in {
        r"SHA256:\S*\w": "SHA256:…",
        r"(/[\w.-]+)+/(?=known_hosts|key\b|id_)": "",
        r"(/tmp|/var)(/[\w.-]+)+": "…",
        r"\bport \d+": "port …",
        r"\]:\d+": "]:…",
        r"127\.0\.0\.1:\d+": "127.0.0.1:…",
        r"\bprocess (\d+)": "process …",
        r"reliability-\w{6}": "a user",
    }.items():
        reason = re.sub(pattern, word, reason)
    shown = "".join(letter for letter in " ".join(reason.split()) if letter.isprintable())
    return shown[:REASON_LETTERS]
