"""What the programs behind docs/reliability.md find fault with, and that the page is theirs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reliability import gauge, page
from reliability.case import OURS, Case
from reliability.catalogue import CASES
from reliability.record import Record, Records, complaints, load
from reliability.trial import plain
from trioshell.testing import _cluster_faults

ROOT = Path(__file__).parent.parent
CASE = Case("one", "a fault", "ssh", ("TimedOut",))
FINE = Record("one", "ssh", times=5, outcomes={"TimedOut": 5})


def test_the_page_is_made_from_the_data() -> None:
    text = page.PAGE.read_text()
    assert page.made(text) == text, f"run `{page.COMMAND}`"


def test_what_the_page_shows_is_whole_and_as_promised() -> None:
    records = load(page.DATA / "faults.json").records
    tried = {(record.case, record.tool): record for record in records}
    for case in CASES:
        for tool in case.ours:
            assert complaints(case, tried[case.name, tool]) == []
            assert tried[case.name, tool].times


def test_each_fault_of_the_cluster_is_in_the_catalogue() -> None:
    there = {type(fault).__name__ for case in CASES for fault in case.faults}
    # By name: a class with slots is made twice.
    assert there == {kind.__name__ for kind in _cluster_faults.Fault.__subclasses__()}
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"outcomes": {"TimedOut": 4, "Exited(0)": 1}}, "the outcomes are"),
        ({"outcomes": {}}, "the outcomes are"),
        ({"hangs": True, "seconds": 9.0}, "not over after 9 s"),
        ({"left": 1}, "1 processes are left"),
        ({"left_in_program": {"threads": 1}}, "the program keeps"),
        ({"files": 1}, "partly written"),
        ({"lost_bytes": 7}, "7 bytes are lost"),
        ({"bystander": "rc 1, 0 bytes"}, "a healthy node was disturbed: rc 1, 0 bytes"),
        ({"note": "the program has ended"}, "the program has ended"),
    ],
)
def test_what_is_not_as_promised_is_found(change: dict[str, object], complaint: str) -> None:
    assert complaints(CASE, FINE) == []
    (found,) = complaints(CASE, replace(FINE, **change))  # type: ignore[arg-type]
    assert complaint in found


def test_a_program_that_grows_in_a_flood_is_found() -> None:
    grown = replace(FINE, grown_bytes=200_000_000)
    assert complaints(CASE, grown) == []  # where results are kept
    assert len(complaints(replace(CASE, pause=0.1), grown)) == 1


def test_peers_promise_nothing() -> None:
    assert complaints(CASE, replace(FINE, tool="ClusterShell", left=9)) == []


def test_what_may_be_left_is_a_limit_and_no_more() -> None:
    case = replace(CASE, may_leave=1)
    assert complaints(case, replace(FINE, left=5)) == []
    assert complaints(case, replace(FINE, left=6))
    killed = replace(CASE, signal="SIGKILL", processes=4, expected=())
    assert complaints(killed, replace(FINE, tool="openssh", left=20)) == []
    assert complaints(killed, replace(FINE, tool="openssh, shared", left=1))


def test_reasons_are_shown_without_what_changes_at_each_run() -> None:
    reason = "node1 (127.0.0.1 port 4711): SHA256:Qm+x/9= is not in /tmp/x-1/known_hosts line 2"
    shown = "node1 (127.0.0.1 port …): SHA256:…= is not in known_hosts line 2"
    assert plain(reason) == shown


def samples(last: float = 50.0, quiet: int = 1) -> list[gauge.Sample]:
    """A hundred, of which those from the eightieth on have another size."""
    first = gauge.Sample(0.0, quiet, 50.0, 20, 3, 1, 0, 10, 0, 0)
    return [
        replace(first, seconds=float(at), rss_mb=last if at >= 80 else 50.0) for at in range(100)
    ]


def test_what_grows_is_found() -> None:
    assert gauge.grown(samples()) == []
    assert gauge.grown(samples(57.0)) == []
    assert gauge.grown(samples(60.0)) == ["rss_mb grew from 50 to 60"]
    zombies = [replace(one, zombies=int(one.seconds > 60)) for one in samples()]
    assert gauge.grown(zombies) == ["zombies grew from 0 to 1"]


def test_the_warm_up_is_not_looked_at_and_peaks_are_no_growth() -> None:
    cold = [replace(one, rss_mb=20.0) if one.seconds < 20 else one for one in samples()]
    assert gauge.grown(cold) == []
    peaks = [replace(one, rss_mb=500.0) if one.seconds % 10 == 9 else one for one in samples()]
    assert gauge.grown(peaks) == []


def test_too_few_quiet_moments_are_no_proof() -> None:
    with pytest.raises(ValueError, match="0 quiet samples are too few"):
        gauge.growth(samples(quiet=0))


def test_samples_can_be_read_again(tmp_path: Path) -> None:
    gauge.write(samples(), tmp_path / "soak.csv")
    assert gauge.read(tmp_path / "soak.csv") == samples()


def test_records_can_be_read_again(tmp_path: Path) -> None:
    records = Records({"date": "today"}, [FINE])
    records.save(tmp_path / "faults.json")
    assert load(tmp_path / "faults.json") == records
    assert load(tmp_path / "none.json") == Records()


def test_ours_share_a_row_where_they_did_the_same() -> None:
    case = next(case for case in CASES if case.name == "ssh-timeout")
    records = [
        Record(case.name, tool, 5, {"TimedOut": 5}, seconds=number)
        for number, tool in enumerate((*OURS[1:], "ClusterShell"))
    ]
    records[-1].left = 20
    first, second = page._rows(case, records)
    assert "| ssh; openssh; openssh, shared | 5 each | TimedOut | 0 to 2 | 0 | 0 | 0 B |" in first
    assert second == "|  | ClusterShell | 5 | TimedOut | 3 | 20 | 0 | 0 B |"


def run(*arguments: object, timeout: float) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "reliability", *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_cases_are_listed() -> None:
    assert len(run("faults", "--list", timeout=60).splitlines()) == len(CASES)


@pytest.mark.soak
def test_some_faults_anew(tmp_path: Path) -> None:
    only = "^(local-(timeout|abort|SIGKILL)|drops-in-output|ssh-(timeout|SIGKILL)|copy-aborted)$"
    tools = [word for tool in OURS for word in ("--tool", tool)]
    file = tmp_path / "faults.json"
    out = run("faults", "--times", 2, "--only", only, *tools, "--json", file, timeout=200)
    assert "0 not as promised" in out
    assert len(load(file).records) == 15


@pytest.mark.soak
def test_a_short_soak(tmp_path: Path) -> None:
    files = ["--csv", tmp_path / "soak.csv", "--json", tmp_path / "soak.json"]
    run("soak", "--seconds", 80, *files, timeout=200)
    assert len(gauge.read(tmp_path / "soak.csv")) > 30
