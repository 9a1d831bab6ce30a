"""Tries every fault with every tool, and writes down what came of it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from reliability.case import Case
from reliability.catalogue import CASES
from reliability.record import Record, Records, complaints, load
from reliability.trial import try_case

DATA = Path(__file__).parent.parent / "docs" / "reliability" / "faults.json"
# Most of a trial is waiting.
AT_ONCE = 6


def installed(tool: str) -> bool:
    """Whether a tool can be tried here at all."""
    return tool != "parallel-ssh" or importlib.util.find_spec("pssh") is not None


def about() -> dict[str, str]:
    """Of what, and where."""
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "Python": platform.python_version(),
        "Linux": platform.release(),
        "cores": str(os.cpu_count()),
    }
    for package in ("trioshell", "trio", "asyncssh", "ClusterShell", "parallel-ssh"):
        try:
            found[package] = version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
        found["OpenSSH"] = re.sub(r"OpenSSH_(\S+).*", r"\1", said.strip()).rstrip(",")
    except FileNotFoundError:
        pass
    return found


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="reliability faults", description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="on how many nodes at once (5)")
    parser.add_argument("--only", metavar="PATTERN", default="", help="cases whose name matches")
    parser.add_argument("--tool", action="append", help="with this tool only; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write to FILE, not to the data")
    parser.add_argument("--list", action="store_true", help="show the cases, and try none")
    given = parser.parse_args(argv)
    cases = [case for case in CASES if re.search(given.only, case.name)]
    if given.list:
        for case in cases:
            print(f"{case.name:<24}{case.title}")
        return 0
    if given.times < 1:
        parser.error(f"--times must be 1 or more, not {given.times}")
    trials = [
        (case, tool)
        for case in cases
        for tool in (*case.ours, *case.peers)
        if installed(tool) and (not given.tool or tool in given.tool)
    ]
    begin = time.monotonic()
    records = _try_all(trials, given.times)
    _keep(records, given.json or DATA)
    bad = {
        f"{case.name} with {record.tool}": found
        for (case, _), record in zip(trials, records, strict=True)
        if (found := complaints(case, record))
    }
    for where, what in bad.items():
        print(f"NOT AS PROMISED: {where}: {'; '.join(what)}")
    print(f"{len(records)} trials in {time.monotonic() - begin:.0f} s, {len(bad)} not as promised")
    return 1 if bad else 0


def _try_all(trials: list[tuple[Case, str]], times: int) -> list[Record]:
    def one(trial: tuple[Case, str]) -> Record:
        case, tool = trial
        record = try_case(case, tool, times)
        outcomes = ", ".join(f"{count} {what}" for what, count in record.outcomes.items())
        left = f", {record.left} left" if record.left else ""
        what = "hangs" if record.hangs else outcomes
        print(f"{case.name:<24}{tool:<14}{record.seconds:6.1f} s  {what}{left} {record.note}")
        sys.stdout.flush()
        return record

    # SIGTERM, as `timeout` sends it, must not leave servers and commands behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            return list(pool.map(one, trials))
        finally:
            pool.shutdown(cancel_futures=True)


def _keep(records: list[Record], file: Path) -> None:
    """Write them down, beside what is there of other cases; in the order of the catalogue."""
    known = load(file)
    fresh = {(record.case, record.tool): record for record in [*known.records, *records]}
    order = [(case.name, tool) for case in CASES for tool in (*case.ours, *case.peers)]
    file.parent.mkdir(exist_ok=True)
    Records(about(), [fresh[key] for key in order if key in fresh]).save(file)
