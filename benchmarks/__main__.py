"""The command line of the benchmarks; `scripts/bench` makes the environment and calls it."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from benchmarks import guard, machine
from benchmarks.measure import Plan, measure
from benchmarks.results import Results, load
from benchmarks.table import report
from benchmarks.workload import Workload
from benchmarks.works import WORKLOADS

QUICK_SECONDS = 100.0
QUICK_ROUNDS = 3
ROUNDS = 5

_EPILOG = """\
The figures of docs/performance.md are made by

    scripts/bench --json docs/performance/results.json
    scripts/bench --write-docs docs/performance/results.json

With --only, a results file that is there keeps its other workloads.
"""


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures trioshell beside its peers, in turn, and compares them round by "
        "round. Takes about an hour.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="small amounts, within two minutes")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="only this workload; repeatable"
    )
    parser.add_argument("--list", action="store_true", help="say which workloads there are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures to FILE")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds at most ({ROUNDS})")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="begin no round that would end later, and no workload after it",
    )
    parser.add_argument("--seed", type=int, default=1, help="what the orders are drawn from (1)")
    parser.add_argument(
        "--write-docs",
        type=Path,
        metavar="FILE",
        help="measure nothing; make docs/performance.md and its plots from a results file",
    )
    parser.add_argument(
        "--guard",
        action="store_true",
        help="measure nothing but whether something got slower by a third; under a minute",
    )
    parser.add_argument(
        "--renew", action="store_true", help="with --guard: take what is measured as the reference"
    )
    options = parser.parse_args(words)
    if unknown := [name for name in options.only if name not in WORKLOADS]:
        parser.error(f"--only: there is no {', '.join(unknown)}; see --list")
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds: at least 1, not {options.rounds}")
    if options.renew and not options.guard:
        parser.error("--renew: only together with --guard")
    return options


def main(words: list[str] | None = None) -> int:
    options = parse(sys.argv[1:] if words is None else words)
    # Whoever ends us by SIGTERM, as timeout(1) does, ends the servers too.
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    if options.guard:
        return guard.renew() if options.renew else guard.check()
    if options.list:
        for workload in WORKLOADS.values():
            print(f"{workload.name:22} {workload.title}")
        return 0
    if options.write_docs is not None:
        from benchmarks import page

        for file in page.write(load(options.write_docs)):
            print(file)
        return 0
    return _measure(options)


def _measure(options: argparse.Namespace) -> int:
    chosen: list[Workload] = [
        workload
        for workload in WORKLOADS.values()
        if not options.only or workload.name in options.only
    ]
    results = Results(machine.machine(), machine.versions(), {})
    if options.json is not None and options.only and options.json.exists():
        earlier = load(options.json)
        results.workloads, results.samples = earlier.workloads, earlier.samples
    results.options = {"quick": options.quick, "only": options.only, "seed": options.seed}
    plan = Plan(
        workloads=chosen,
        rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        quick=options.quick,
        seconds=options.seconds or (QUICK_SECONDS if options.quick else float("inf")),
        seed=options.seed,
        tell=lambda text: print(text, file=sys.stderr, flush=True),
        keep=lambda found: found.save(options.json) if options.json is not None else None,
    )
    measure(plan, results)
    print(report(results))
    return 0 if any(sample.who for sample in results.samples) else 1


if __name__ == "__main__":
    sys.exit(main())
