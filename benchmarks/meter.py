"""Measures a stretch of a process: time, processor time, memory, also of its children."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Figures:
    """What was measured, of the whole amount.

    Attributes:
        seconds: wall time.
        cpu: processor seconds of the process that does the work, its threads included.
        cpu_children: those of the processes that it has started and waited for.
        peak_bytes: the most memory that it had (VmHWM); 0 if it was over too soon to be seen.
        grown_bytes: how much more that is than what it had before.
        fds: the most descriptors that it was seen with; 0 if it was not seen.
        amount: how much of the work was done.
        more: what else there is to say, by name.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    cpu_children: float = 0.0
    peak_bytes: int = 0
    grown_bytes: int = 0
    fds: int = 0
    amount: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The same as what JSON knows."""
        return asdict(self)


class Meter:
    """Measures what happens inside of ``with meter:``, which is entered once."""

    def __init__(self) -> None:
        self.figures = Figures()
        self._mine = self._theirs = self._begin = 0.0
        self._had = 0

    def __enter__(self) -> Self:
        # The garbage of what went before is not part of it; and it is the same for all.
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins at the present size
        self._had = memory("VmRSS")
        self._mine, self._theirs = _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN)
        self._begin = time.perf_counter()
        return self

    def __exit__(self, *exc_info: object) -> None:
        figures = self.figures
        figures.seconds = time.perf_counter() - self._begin
        figures.cpu = _cpu(resource.RUSAGE_SELF) - self._mine
        figures.cpu_children = _cpu(resource.RUSAGE_CHILDREN) - self._theirs
        figures.peak_bytes = memory("VmHWM")
        figures.grown_bytes = figures.peak_bytes - self._had

    def note(self, **more: Any) -> None:
        """Keep what else there is to say."""
        self.figures.more |= more

    def program(
        self, argv: Sequence[str], stdin: bytes = b"", environment: dict[str, str] | None = None
    ) -> None:
        """Run a program to its end and measure it, as if we were it.

        Its own processor time is told from that of its children, to a hundredth of a second.
        Its memory is for others to see: what the kernel says at its end includes ours, from
        which it was forked.
        """
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            begin = time.perf_counter()
            process = subprocess.Popen(
                argv,
                stdin=file,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | (environment or {}),
            )
            # Not reaped yet: a zombie still knows how much was its own.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            self.figures.seconds = time.perf_counter() - begin
        words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        own, system, children, childrens_system = (int(word) for word in words[11:15])
        _, status = os.waitpid(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{argv[0]} ended with {process.returncode}")
        self.figures.cpu = (own + system) / TICKS_A_SECOND
        self.figures.cpu_children = (children + childrens_system) / TICKS_A_SECOND


def _cpu(whose: int) -> float:
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime


def memory(what: str, pid: int | str = "self") -> int:
    """Bytes, as /proc names them: "VmRSS", "VmHWM".

    Raises:
        OSError: there is no such process, or it is a zombie.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == what:
            return int(rest.split()[0]) * 1024
    raise ProcessLookupError(f"process {pid} has no {what}")
