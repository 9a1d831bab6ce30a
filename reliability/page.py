"""Makes docs/reliability.md anew from what the faults and the soak have written down."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reliability import gauge, plots
from reliability.case import CONNECT_SECONDS, GRACE_SECONDS, OURS, PEERS, Case, Place
from reliability.catalogue import CASES
from reliability.record import Record, Records, complaints, load

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reliability.md"
DATA = ROOT / "docs" / "reliability"
PLOT = DATA / "soak.svg"
COMMAND = "scripts/reliability page"

TITLES: dict[Place, str] = {
    "local": "Commands on this machine",
    "ssh": "Over SSH, on the embedded cluster",
    "sshd": "Over SSH, on a real sshd",
}
HEAD = (
    "| fault | with | times | how it ended | seconds | left running | left in the program | lost |"
)
REASON_LENGTH = 160


def faults_text(records: Records) -> str:
    """The sums, and a table for each place."""
    parts = [summary(records)]
    for place, title in TITLES.items():
        rows = [
            row for case in CASES if case.place == place for row in _rows(case, records.records)
        ]
        if rows:
            parts.append(f"### {title}")
            parts.append("\n".join([HEAD, "|" + " --- |" * (HEAD.count("|") - 1), *rows]))
    return "\n\n".join(parts)


def summary(records: Records) -> str:
    """What it comes to, in a table of who and how often."""
    about = ", ".join(f"{name} {what}" for name, what in records.about.items() if name != "date")
    lines = [
        f"Measured on {records.about.get('date', '?')} ({about}); commands get "
        f"{CONNECT_SECONDS:g} s to connect and a grace of {GRACE_SECONDS:g} s.",
        "",
        "| | faults | hung | left something | lost output | let a healthy node feel it |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for who, tools in {"trioshell": OURS, **{peer: (peer,) for peer in PEERS}}.items():
        own = [record for record in records.records if record.tool in tools and record.times]
        counts = [
            len(own),
            sum(record.hangs for record in own),
            sum(bool(record.left or record.files) for record in own),
            sum(bool(record.lost_bytes) for record in own),
            sum(bool(record.bystander) for record in own),
        ]
        lines.append(f"| {who} | {' | '.join(map(str, counts))} |")
    by_name = {case.name: case for case in CASES}
    bad = [
        f"{record.case} with {record.tool}"
        for record in records.records
        if record.case in by_name and complaints(by_name[record.case], record)
    ]
    kept = "every promise was kept" if not bad else f"**not as promised: {', '.join(bad)}**"
    lines += ["", f"A fault counts once for each transport. Of ours, {kept}."]
    return "\n".join(lines)


def _rows(case: Case, records: list[Record]) -> Iterator[str]:
    """A row for each tool; ours share one where they did the same."""
    own = [record for record in records if record.case == case.name]
    groups: dict[str, list[Record]] = {}
    for record in own:
        same = _cells(record)
        groups.setdefault(f"{record.tool in OURS} {same}", []).append(record)
    title = case.title
    for group in groups.values():
        first = group[0]
        tools = "; ".join(record.tool for record in group)
        times = str(first.times or "") + (" each" if first.times and len(group) > 1 else "")
        ended, *rest = _cells(first)
        reason = next((record.reason for record in group if record.reason), "")
        if reason:
            ended += f" “{_cut(reason)}”"
        cells = [title, tools, times, ended, _seconds(group), *rest]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        title = ""


def _cells(record: Record) -> list[str]:
    """How it ended, and what it has left; not how long it took."""
    ended = ", ".join(sorted(record.outcomes))
    if record.hangs:
        ended = "hangs, and was stopped"
    if record.note:
        ended = f"not tried: {record.note}" if not record.times else f"{ended} {record.note}"
    if record.bystander:
        ended += f"; a healthy node felt it ({record.bystander})"
    if not record.times:
        return [ended.strip(), "", "", ""]
    left = str(record.left)
    if record.files:
        left += f", and {record.files} partly written files"
    program = ", ".join(f"{count} {what}" for what, count in record.left_in_program.items())
    return [ended.strip(), left, program or "0", f"{record.lost_bytes} B"]


def _seconds(group: list[Record]) -> str:
    low, high = min(r.seconds for r in group), max(r.seconds for r in group)
    if not any(record.times for record in group):
        return ""
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _cut(text: str) -> str:
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"


def soak_text(report: dict[str, Any]) -> str:
    """What the soak has run, and what it holds at the end."""
    if not report:
        return "No soak has been run."
    outcomes = ", ".join(f"{count} {name}" for name, count in report["outcomes"].items())
    minutes = report["seconds"] / 60
    wrong = (
        "Nothing was wrong." if not report["wrong"] else f"**Wrong: {'; '.join(report['wrong'])}.**"
    )
    unsure = ""
    if report["unconfirmed"]:
        unsure = f" Of {report['unconfirmed']} nobody could say in time that all had ended."
    lines = [
        f"The run of {report['date']} took {minutes:g} minutes and ended {report['commands']} "
        f"commands ({outcomes}). {wrong}{unsure}",
        "",
        "| at quiet moments | median of the first third | of the last third | most, at work |",
        "| --- | --- | --- | --- |",
    ]
    for what, (first, last) in report["medians"].items():
        name = what.replace("rss_mb", "memory, MB")
        lines.append(f"| {name} | {first:g} | {last:g} | {report['most'][what]:g} |")
    lines += ["", f"![what the service held](reliability/{PLOT.name})"]
    return "\n".join(lines)


def made(page: str) -> str:
    """`page` with what stands between each pair of its marks made anew."""
    soak_file = DATA / "soak.json"
    report = json.loads(soak_file.read_text()) if soak_file.exists() else {}
    makers: dict[str, Callable[[], str]] = {
        "faults": lambda: faults_text(load(DATA / "faults.json")),
        "soak": lambda: soak_text(report),
    }
    for name, make in makers.items():
        opening, _, rest = page.partition(f"<!-- {name}: made -->\n")
        _, _, closing = rest.partition("<!-- end -->")
        if not rest or not closing:
            raise ValueError(f"the page must have the marks of {name!r}")
        page = f"{opening}<!-- {name}: made -->\n\n{make()}\n\n<!-- end -->{closing}"
    return page


def main(argv: list[str]) -> int:
    argparse.ArgumentParser(prog="reliability page", description=__doc__).parse_args(argv)
    PAGE.write_text(made(PAGE.read_text()))
    samples = DATA / "soak.csv"
    if samples.exists():
        try:
            plots.soak(gauge.read(samples), PLOT)
        except ModuleNotFoundError as exc:
            print(f"{PLOT.name} stays as it is: {exc.name} is not installed (extra bench)")
    return 0
