"""Draws the diagrams of docs/lifecycle.md from the tables; `python -m tests.lifecycle_page`."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from trioshell._lifecycle import OUTCOMES, STEPS, WORKER_STEPS, State, WorkerState

PAGE = Path(__file__).parent.parent / "docs" / "lifecycle.md"
COMMAND = "python -m tests.lifecycle_page"

OUTCOME_NAMES = sorted({kind.__name__ for kinds in OUTCOMES.values() for kind in kinds})


def arrow(before: Enum, after: Enum, label: str) -> str:
    return f"    {before.name} --> {after.name}: {label}"


def mermaid(first: Enum, last: Enum, arrows: list[str]) -> str:
    lines = ["stateDiagram-v2", f"    [*] --> {first.name}", *arrows, f"    {last.name} --> [*]"]
    return "```mermaid\n" + "\n".join(lines) + "\n```"


def run_diagram() -> str:
    """Every step of a run, and every outcome where it is possible."""
    arrows = [
        arrow(state, after, step.name.lower())
        for state, steps in STEPS.items()
        for step, after in steps.items()
    ]
    arrows += [
        arrow(state, State.OVER, ", ".join(kind.__name__ for kind in kinds))
        for state, kinds in OUTCOMES.items()
        if kinds
    ]
    return mermaid(State.WAITING, State.OVER, arrows)


def outcome_table() -> str:
    """Where a run can be when it ends in which way."""
    rows = ["| a run that is | " + " | ".join(OUTCOME_NAMES) + " |"]
    rows.append("| --- |" + " :-: |" * len(OUTCOME_NAMES))
    for state, kinds in OUTCOMES.items():
        possible = {kind.__name__ for kind in kinds}
        cells = ["yes" if name in possible else "" for name in OUTCOME_NAMES]
        rows.append(f"| {state.name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def worker_diagram() -> str:
    arrows = [
        arrow(state, after, step.name.lower())
        for state, steps in WORKER_STEPS.items()
        for step, after in steps.items()
    ]
    return mermaid(WorkerState.NEW, WorkerState.CLOSED, arrows)


DRAWN = {"run": run_diagram, "outcomes": outcome_table, "worker": worker_diagram}


def drawn(page: str) -> str:
    """`page` with what stands between each pair of its marks drawn anew."""
    for name, draw in DRAWN.items():
        marks = rf"(<!-- {name}: drawn -->\n)(?:.*?\n)??(<!-- end -->)"
        page, count = re.subn(marks, rf"\g<1>{draw()}\n\g<2>", page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"the page must have the marks of {name!r} once, not {count} times")
    return page


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
