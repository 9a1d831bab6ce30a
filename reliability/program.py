"""A program that runs one plan with one library: reads it as JSON, prints what it has seen.

Before it begins it prints "ready", for what a library loads is not what is looked at.
It then stays until its stdin ends, so that what it has left behind can be looked for while it
still lives.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from reliability.case import OURS, Plan, Seen

# How long what has been left may take to go away by itself.
PATIENCE_SECONDS = 1.0


def main() -> None:
    given: dict[str, Any] = json.loads(sys.stdin.readline())
    given |= {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    plan = Plan(**given)
    name = "trioshell" if plan.tool in OURS else plan.tool.lower().replace("-", "_")
    tool = import_module(f"reliability.with_{name}")
    if plan.descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (plan.descriptors, plan.descriptors))
    tool.warm_up(plan)
    print("ready", flush=True)
    before = held()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins at the present size
    had = memory("VmRSS")
    begin = time.monotonic()
    try:
        seen: Seen = tool.perform(plan)
    except Exception as exc:  # noqa: BLE001  # whatever it is, it is what the library does
        seen = Seen(raised=f"{type(exc).__name__}: {exc}")
    seen.seconds = round(time.monotonic() - begin, 2)
    seen.grown_bytes = memory("VmHWM") - had
    seen.left = wait_until_gone(before)
    print(json.dumps(asdict(seen)), flush=True)
    sys.stdin.read()
    os._exit(0)  # without what a library does at exit: it has been looked at


def held() -> dict[str, set[str]]:
    """The descriptors, threads and children of this process."""
    tasks = os.listdir("/proc/self/task")
    children: set[str] = set()
    for task in tasks:
        try:
            children |= set(Path(f"/proc/self/task/{task}/children").read_text().split())
        except FileNotFoundError:  # the thread has just ended
            continue
    return {
        "descriptors": set(os.listdir("/proc/self/fd")),
        "threads": set(tasks) - idle_threads(),
        "children": children,
    }


def idle_threads() -> set[str]:
    """Those that Trio keeps for some seconds for whoever needs one next; they hold nothing."""
    if "trio" not in sys.modules:
        return set()
    from trio._core._thread_cache import THREAD_CACHE  # only the cache knows which are idle

    idle: set[threading.Thread] = {w._thread for w in THREAD_CACHE._idle_workers.copy()}
    return {str(thread.native_id) for thread in idle}


def wait_until_gone(before: dict[str, set[str]]) -> dict[str, int]:
    """What there is beyond `before`, as soon as it is nothing, or after a second."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        now = held()
        # A number may be reused, so that only the amount says something.
        left = {what: len(now[what]) - len(before[what]) for what in now}
        left = {what: count for what, count in left.items() if count > 0}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def memory(what: str) -> int:
    """Bytes, as /proc/self/status names them: "VmRSS", "VmHWM"."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(what)


class Trigger:
    """Calls `act` once, when each of `nodes` has written something; counts and pauses."""

    def __init__(self, plan: Plan, act: Callable[[], None]) -> None:
        self._waits_for = set(plan.nodes) if plan.action else set()
        self._act = act
        self._pauses = 10 if plan.pause else 0
        self.seconds = plan.pause
        self.sizes = dict.fromkeys(plan.nodes, 0)

    def line(self, node: str, size: int) -> bool:
        """Take note of a line; true if it is one to sleep at."""
        self.sizes[node] += size + 1
        if node in self._waits_for:
            self._waits_for.discard(node)
            if not self._waits_for:
                self._act()
        self._pauses -= 1
        return self._pauses >= 0


if __name__ == "__main__":
    main()
