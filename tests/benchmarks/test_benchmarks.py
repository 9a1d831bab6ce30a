"""The benchmarks' own arithmetic: spreads, ratios of one round, the page, and the guard."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import guard, page
from benchmarks.budgets import BUDGETS, budget_table
from benchmarks.measure import Plan, measure
from benchmarks.meter import Figures, Meter
from benchmarks.probes import PROBES, Probe
from benchmarks.results import Results, Sample, load
from benchmarks.spread import fit, spread
from benchmarks.table import duration, exponent, number, report, workload_table
from benchmarks.workload import OURS, Contender, Workload
from benchmarks.works import WORKLOADS

ROOT = Path(__file__).parents[2]


# -- statistics --------------------------------------------------------------------------------


@given(st.lists(st.floats(0.001, 1000), min_size=1))
def test_a_median_lies_between_its_quartiles(values: list[float]) -> None:
    found = spread(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert found.count == len(values)


def test_the_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="values: at least one"):
        spread([])


@given(st.floats(0.2, 3), st.floats(0.001, 100))
def test_a_slope_is_found_again(slope: float, factor: float) -> None:
    found = fit([(amount, factor * amount**slope) for amount in (10.0, 100.0, 1000.0)])
    assert found.exponent == pytest.approx(slope)
    assert found.factor == pytest.approx(factor)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (1.0, "1"), (1234567, "1,230,000"), (999.6, "1,000")],
)
def test_three_digits_count(value: float, text: str) -> None:
    assert number(value) == text


def test_a_duration_has_a_handy_unit() -> None:
    assert [duration(s) for s in (2.5, 0.0025, 2.5e-6, 2.5e-9, 0)] == [
        "2.5 s",
        "2.5 ms",
        "2.5 µs",
        "2.5 ns",
        "0",
    ]


# -- results -----------------------------------------------------------------------------------


def sample(who: str, round: int, seconds: float, amount: int = 10, size: int = 10) -> Sample:
    figures = Figures(seconds=seconds, cpu=seconds / 2, cpu_children=seconds / 4, amount=amount)
    return Sample("work", who, size, round, 0, figures)


def results(*samples: Sample) -> Results:
    about = {
        "title": "some work",
        "what": "Some work.",
        "unit": "piece",
        "counts": "seconds",
        "settings": {OURS: "ours", "peer": "theirs"},
        "left_out": {"other": "not installed"},
        "quick": False,
        "when": "2026-01-01 00:00",
        "load_before": 0.0,
    }
    return Results({"cores": "2"}, {"Python": "3"}, {}, {"work": about}, list(samples))


def test_a_ratio_is_of_one_round_and_of_one_piece() -> None:
    # The machine is ten times slower in the second round; the peer does half of the work.
    found = results(
        sample(OURS, 0, 1.0),
        sample("peer", 0, 1.5, amount=5),
        sample(OURS, 1, 10.0),
        sample("peer", 1, 15.0, amount=5),
        sample("peer", 2, 99.0),  # of a round in which we failed
    )
    ratio = found.ratio("work", "peer", OURS, "seconds")
    assert ratio is not None
    assert [ratio.low, ratio.median, ratio.high] == pytest.approx([3, 3, 3])
    assert ratio.count == 2
    assert found.ratio("work", "nobody", OURS, "seconds") is None


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    found = results(sample(OURS, 0, 1.0), sample("peer", 0, 2.0))
    found.save(tmp_path / "results.json")
    assert load(tmp_path / "results.json") == found
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0}', '{"format": 1}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json is not a file of results"):
        load(file)


def test_a_report_names_who_was_left_out_and_what_was_compared() -> None:
    text = report(results(sample(OURS, 0, 1.0), sample("peer", 0, 2.0)))
    assert "without other: not installed" in text
    assert re.search(r"\| peer \| 5 \| 2 . \|", text)


def test_growth_is_told_with_its_exponent() -> None:
    found = results(*[sample(OURS, 0, n / 100, amount=n, size=n) for n in (10, 100, 1000)])
    assert exponent(found, "work", OURS) == pytest.approx(1.0)
    assert "| 1.00 |" in workload_table(found, "work")


# -- measuring ---------------------------------------------------------------------------------


def spin(amount: int, meter: Meter) -> None:
    with meter:
        subprocess.run(["true"], check=True)
        meter.note(numbers=sum(range(amount)))


def test_a_meter_counts_children_too() -> None:
    meter = Meter()
    spin(10, meter)
    assert meter.figures.cpu_children > 0
    assert meter.figures.seconds > 0
    assert meter.figures.peak_bytes > meter.figures.grown_bytes >= 0
    assert meter.figures.more == {"numbers": 45}


def test_a_program_is_told_from_its_children() -> None:
    meter = Meter()
    busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    meter.program(["sh", "-c", f"sh -c '{busy}'; :"])
    assert meter.figures.cpu_children > meter.figures.cpu
    with pytest.raises(RuntimeError, match="sh ended with 3"):
        meter.program(["sh", "-c", "exit 3"])


def test_a_round_is_measured_apart_and_kept(tmp_path: Path) -> None:
    said: list[str] = []
    kept: list[int] = []
    plan = Plan(
        [replace(WORKLOADS["names"], quick=(20,))],
        rounds=1,
        quick=True,
        seconds=60,
        tell=said.append,
        keep=lambda found: kept.append(len(found.samples)),
    )
    found = Results({}, {}, {})
    measure(plan, found)
    assert kept == [len(found.names("names"))]
    ours = found.cost("names", OURS, "own")
    assert ours is not None
    assert ours.median > 0


def test_who_fails_or_is_missing_is_left_out_with_a_word() -> None:
    def fails(amount: int, meter: Meter) -> None: ...

    contenders = (
        Contender("nobody knows", fails, "is in no workload, so that its process fails"),
        Contender("missing", fails, "", lacks=lambda: "not installed"),
    )
    said: list[str] = []
    work = Workload("names", "", "", "node", (1,), (1,), contenders)
    plan = Plan([work], 1, quick=True, seconds=9, tell=said.append, keep=lambda found: None)
    found = Results({}, {}, {})
    measure(plan, found)
    assert found.samples == []
    assert "names: without missing: not installed" in said
    assert any(text.startswith("names: nobody knows failed: ") for text in said)


# -- the page ----------------------------------------------------------------------------------


def markers() -> list[str]:
    return re.findall(r"<!-- bench:(\S+) -->", page.PAGE.read_text())


def test_the_page_shows_every_workload_and_every_block() -> None:
    shown = markers()
    works = {name.removeprefix("work:") for name in shown if name.startswith("work:")}
    assert works == set(WORKLOADS) - {"breakdown"}  # which is a block of its own
    assert {name for name in shown if not name.startswith("work:")} == set(page.BLOCKS)


def test_an_unknown_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="'nothing'"):
        page.fill("<!-- bench:nothing -->\n<!-- /bench -->", results())


def test_filling_twice_is_filling_once() -> None:
    found = results(sample(OURS, 0, 1.0), sample("peer", 0, 2.0))
    text = "before\n<!-- bench:work:work -->\nold\n<!-- /bench -->\nafter"
    once = page.fill(text, found)
    assert "| peer | 5 | 2 " in once
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter")
    assert page.fill(once, found) == once


def test_the_page_is_made_from_the_results_that_lie_beside_it() -> None:
    found = load(page.PLOTS / "results.json")
    for block in ("headline", "limits", "breakdown", "budgets", "settings", "machine"):
        assert page.BLOCKS[block](found) in page.PAGE.read_text(), f"{block}: --write-docs"


def test_a_budget_that_was_not_measured_is_not_called_met() -> None:
    table = budget_table(results())
    assert table.count("not measured") == len(BUDGETS)


# -- the guard ---------------------------------------------------------------------------------


def probes(ours: list[float], bare: list[float]) -> Probe:
    left, right = iter(ours), iter(bare)
    return Probe("probe", lambda: next(left), lambda: next(right), "nothing")


def test_a_disturbed_probe_is_given_more_goes() -> None:
    # Twenty goes of which one is quiet: that one counts.
    noisy = probes([3.0] * 15 + [1.0] * 5, [1.0] * 20)
    found = guard.race(noisy, limit=1.3, goes=5, most=20)
    assert (found.ratio, len(found.ours)) == (1.0, 20)


def test_what_is_within_the_limit_is_believed_at_once() -> None:
    found = guard.race(probes([1.0] * 5, [1.0] * 5), limit=1.3, goes=5, most=20)
    assert len(found.ours) == 5


@pytest.mark.parametrize(("slower", "status"), [(1.0, 0), (1.25, 0), (1.4, 1)])
def test_the_guard_fails_when_something_is_slower_by_a_third(
    slower: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def make() -> Iterator[Probe]:
        yield Probe("probe", lambda: 2.0 * slower, lambda: 1.0, "nothing")

    monkeypatch.setattr(guard, "PROBES", [make])
    monkeypatch.setattr(guard, "REFERENCE", tmp_path / "guard.json")
    guard.REFERENCE.write_text(json.dumps({"made": {"Python": "3"}, "ratios": {"probe": 2.0}}))
    said: list[str] = []
    assert guard.check(said.append) == status
    assert bool(status) == any("SLOWER BY A THIRD" in text for text in said)


def test_the_reference_of_the_guard_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def make() -> Iterator[Probe]:
        yield Probe("probe", lambda: 3.0, lambda: 1.0, "nothing")

    monkeypatch.setattr(guard, "PROBES", [make])
    monkeypatch.setattr(guard, "REFERENCE", tmp_path / "guard.json")
    assert guard.renew(lambda text: None) == 0
    assert json.loads(guard.REFERENCE.read_text())["ratios"] == {"probe": 3.0}
    assert guard.check(lambda text: None) == 0


def test_a_probe_without_a_reference_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def make() -> Iterator[Probe]:
        yield Probe("new", lambda: 1.0, lambda: 1.0, "nothing")

    monkeypatch.setattr(guard, "PROBES", [make])
    monkeypatch.setattr(guard, "REFERENCE", tmp_path / "guard.json")
    guard.REFERENCE.write_text(json.dumps({"made": {"Python": "3"}, "ratios": {}}))
    assert guard.check(lambda text: None) == 1


def test_every_probe_has_a_reference() -> None:
    known = json.loads((ROOT / "benchmarks" / "guard.json").read_text())["ratios"]
    assert len(known) == len(PROBES)
    assert all(ratio > 0 for ratio in known.values())


# -- the command -------------------------------------------------------------------------------


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_list_names_every_workload() -> None:
    done = bench("--list")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(WORKLOADS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "nothing"), "--only: there is no nothing"),
        (("--rounds", "0"), "--rounds: at least 1, not 0"),
        (("--renew",), "--renew: only together with --guard"),
    ],
)
def test_a_wrong_word_is_refused(words: tuple[str, ...], said: str) -> None:
    done = bench(*words)
    assert done.returncode == 2
    assert said in done.stderr
