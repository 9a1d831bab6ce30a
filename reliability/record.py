"""What came of one case with one tool, how it is kept, and whether it is what we promise."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from reliability.case import OURS, Case

# What a program may need beyond what it had, while 100 MB run through a slow handler.
GROWN_BYTES = 100_000_000


@dataclass
class Record:
    """What came of it.

    Attributes:
        case: the name of the case.
        tool: who did it.
        times: how many commands met the fault.
        outcomes: how often they ended in which way.
        reason: what was said about one of them.
        seconds: until all were over; where the program is killed, until nothing was left.
        left: how many processes of the commands were there a second later, in all.
        left_in_program: descriptors, threads and children of the program, a second later.
        files: partly written files that stand under their final name.
        lost_bytes: how many of the bytes that were surely sent did not arrive, in all.
        bystander: what happened to a healthy node's command beside it; "" if nothing.
        grown_bytes: how much more memory the program needed at the most.
        note: why it was not tried, or what came out of the library that should not.
        hangs: true if it was not over, and had to be stopped.
    """

    case: str
    tool: str
    times: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0
    left: int = 0
    left_in_program: dict[str, int] = field(default_factory=dict)
    files: int = 0
    lost_bytes: int = 0
    bystander: str = ""
    grown_bytes: int = 0
    note: str = ""
    hangs: bool = False


def complaints(case: Case, record: Record) -> list[str]:
    """What of it is not as it must be; only for what is ours."""
    if record.tool not in OURS or not record.times:
        return []
    found = []
    if record.hangs:
        found.append(f"it was not over after {record.seconds:g} s")
    kinds = {outcome.partition("(")[0] for outcome in record.outcomes}
    if case.expected and not record.hangs and (not kinds or kinds - {*case.expected}):
        found.append(f"the outcomes are {record.outcomes}, and not {' or '.join(case.expected)}")
    if record.left > case.may_keep(record.tool) * record.times:
        found.append(f"{record.left} processes are left")
    if record.left_in_program:
        found.append(f"the program keeps {record.left_in_program}")
    if record.files:
        found.append(f"{record.files} partly written files stand under their final name")
    if record.lost_bytes:
        found.append(f"{record.lost_bytes} bytes are lost")
    if record.bystander:
        found.append(f"a healthy node was disturbed: {record.bystander}")
    if case.pause and record.grown_bytes > GROWN_BYTES:
        found.append(f"the program grew by {record.grown_bytes} bytes")
    if record.note:
        found.append(record.note)
    return found


@dataclass
class Records:
    """All that one run has found out, in the order of the catalogue.

    Attributes:
        about: versions and the like, by name.
        records: one for each case and tool.
    """

    about: dict[str, str] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    def save(self, file: Path) -> None:
        """Write it whole, or leave the file as it was."""
        part = file.with_name(f"{file.name}.part")
        part.write_text(json.dumps(asdict(self), indent=1) + "\n")
        part.replace(file)


def load(file: Path) -> Records:
    """What `Records.save` has written; an empty one if there is no such file."""
    if not file.exists():
        return Records()
    known = json.loads(file.read_text())
    return Records(known["about"], [Record(**record) for record in known["records"]])
