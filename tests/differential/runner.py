"""A script: one of the two libraries, many Tasks, each in a process of its own that is only forked.

A fork keeps one library's signals, descriptors and children from the other's and from the next
Task's. A line of standard input is a list of cases in JSON, which run side by side; a line of
standard output is what was seen of each.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.differential.cases import Case, Reaction, Seen, Work, gather_events

# A Task that takes longer hangs. Reported as such, and no test waits for it for ever.
HANGS_SECONDS = 40

# What either library imports late, so that no fork has to do it again.
IMPORTED = (
    "ClusterShell.Task",
    "ClusterShell.Worker.Exec",
    "trio",
    "trioshell._task",
    "trioshell.transports._exec",
    "trioshell.transports._launch",
)
AT_ONCE = 32
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    library = sys.argv[1]
    adopt_orphans()
    run = {"ClusterShell": run_clustershell, "trioshell": run_trioshell}[library]
    for line in sys.stdin:
        cases = [load(given) for given in json.loads(line)]
        seen = []
        for first in range(0, len(cases), AT_ONCE):
            seen += run_side_by_side(run, cases[first : first + AT_ONCE])
        print(json.dumps(seen), flush=True)


def load(given: dict[str, Any]) -> Case:
    works = tuple(Work(**work) for work in given.pop("works"))
    reactions = tuple(Reaction(**reaction) for reaction in given.pop("reactions"))
    return Case(works=works, reactions=reactions, **given)


def run_side_by_side(run: Callable[[Case, Recorder], Any], cases: list[Case]) -> list[Any]:
    """Fork for each case, and wait for all."""
    seen: list[Any] = []
    with ExitStack() as stack:
        started = []
        for case in cases:
            file = stack.enter_context(tempfile.TemporaryFile())
            pid = os.fork()
            if pid == 0:
                become(run, case, file)
            started.append((pid, file))
        for pid, file in started:
            _, status = os.waitpid(pid, 0)
            file.seek(0)
            code = os.waitstatus_to_exitcode(status)
            seen.append(json.load(file) if code == 0 else {"failed": code})
    kill_survivors()
    return seen


def become(run: Callable[[Case, Recorder], Any], case: Case, file: Any) -> None:
    """Be the process of one case; never returns."""
    status = 1
    try:
        signal.alarm(HANGS_SECONDS)
        adopt_orphans()
        if case.descriptors:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (case.descriptors, hard))
        seen = run(case, Recorder(case))
        file.write(json.dumps(asdict(seen)).encode())
        file.flush()
        status = 0
    except BaseException:  # noqa: BLE001  # whatever it was, this process must not come back
        traceback.print_exc()
    finally:
        kill_survivors()
        os._exit(status)


# -- both libraries ------------------------------------------------------------------------


class Recorder:
    """The handler of all workers, in either library; keeps what it is told, and reacts."""

    def __init__(self, case: Case) -> None:
        self.workers: list[Any] = []
        self.task: Any = None
        self.events: list[tuple[int, str, str | None, tuple[Any, ...]]] = []
        self.alive: list[str] = []
        self.reactions = list(case.reactions)

    def ev_start(self, worker: Any) -> None:
        self.keep(worker, "start", None)

    def ev_pickup(self, worker: Any, node: Any) -> None:
        self.keep(worker, "pickup", node, node == worker.current_node)

    def ev_read(self, worker: Any, node: Any, sname: str, msg: bytes) -> None:
        last = worker.current_errmsg if sname == "stderr" else worker.current_msg
        current = (worker.current_node, worker.current_sname, last) == (node, sname, msg)
        self.keep(worker, "read", node, sname, text(msg), current)

    def ev_written(self, worker: Any, node: Any, sname: str, size: int) -> None:
        self.keep(worker, "written", node, sname, size)

    def ev_hup(self, worker: Any, node: Any, rc: int | None) -> None:
        self.keep(worker, "hup", node, rc, (worker.current_node, worker.current_rc) == (node, rc))

    def ev_close(self, worker: Any, timedout: bool) -> None:
        self.keep(worker, "close", None, timedout)

    def ev_timer(self, timer: Any) -> None:
        """Workers only."""

    def keep(self, worker: Any, name: str, node: Any, *rest: Any) -> None:
        if worker not in self.workers:
            self.workers.append(worker)
        named = None if node is None else str(node)
        self.events.append((self.workers.index(worker), name, named, rest))
        said = rest[1] if name == "read" else named
        for reaction in [one for one in self.reactions if one.on in (name, f"{name} {said}")]:
            self.reactions.remove(reaction)
            self.react(worker, reaction.do)

    def react(self, worker: Any, do: str) -> None:
        verb, _, rest = do.partition(" ")
        match verb, rest:
            case "abort", "":
                worker.abort()
            case "abort", "task":
                self.task.abort()
            case "write", _:
                worker.write(rest.encode("latin-1"))
            case "eof", _:
                worker.set_write_eof()
            case "shell", _:
                self.task.shell(rest, nodes="new", handler=self, stdin=False)
            case "look", _:
                self.alive += sorted(living().values())
            case _:
                raise ArithmeticError(f"the handler was told to {do}")

    def seen(self, error: str, cpu: float) -> Seen:
        own, histories = gather_events(self.events, len(self.workers))
        survivors = wait_for_survivors()
        return Seen(
            error,
            [what_worker_says(worker) for worker in self.workers],
            {} if self.task is None else what_task_says(self.task),
            own,
            histories,
            self.alive,
            survivors,
            cpu,
        )


def what_worker_says(worker: Any) -> dict[str, Any]:
    said = {
        "buffer": lambda: text(bytes(worker.read())),
        "did_timeout": worker.did_timeout,
    }
    if hasattr(worker, "iter_buffers"):
        said |= {
            "buffers": lambda: groups(worker.iter_buffers()),
            "errors": lambda: groups(worker.iter_errors()),
            "node_buffers": lambda: by_node(worker.iter_node_buffers()),
            "node_errors": lambda: by_node(worker.iter_node_errors()),
            "retcodes": lambda: groups(worker.iter_retcodes()),
            "node_retcodes": lambda: by_node(worker.iter_node_retcodes()),
            "keys_timeout": lambda: sorted(map(str, worker.iter_keys_timeout())),
            "num_timeout": worker.num_timeout,
            "truths": lambda: [bool(message) for message, _ in worker.iter_buffers()],
            "node_buffer of n1": lambda: text(bytes(worker.node_buffer("n1"))),
        }
        del said["buffer"]
    return {name: attempt(call) for name, call in said.items()}


def what_task_says(task: Any) -> dict[str, Any]:
    said = {
        "buffers": lambda: groups(task.iter_buffers()),
        "errors": lambda: groups(task.iter_errors()),
        "retcodes": lambda: groups(task.iter_retcodes()),
        "max_retcode": task.max_retcode,
        "num_timeout": task.num_timeout,
        "keys_timeout": lambda: sorted(map(str, task.iter_keys_timeout())),
        "key_buffer of n1": lambda: text(bytes(task.key_buffer("n1"))),
        "key_retcode of n1": lambda: task.key_retcode("n1"),
    }
    return {name: attempt(call) for name, call in said.items()}


def attempt(call: Callable[[], Any]) -> Any:
    """What a method returns, or the name of what it raises."""
    try:
        return call()
    except Exception as exc:  # noqa: BLE001  # which one is what is compared
        return type(exc).__name__


def groups(pairs: Any) -> list[Any]:
    """Values with their node set; neither library promises the other's order."""
    from ClusterShell.NodeSet import NodeSet

    return sorted([plain(value), str(NodeSet.fromlist(map(str, keys)))] for value, keys in pairs)


def by_node(pairs: Any) -> dict[str, Any]:
    return {str(node): plain(value) for node, value in pairs}


def plain(value: Any) -> Any:
    return value if isinstance(value, int) else text(bytes(value))


def text(data: bytes) -> str:
    if len(data) > 100_000:
        return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()}"
    return data.decode("latin-1")


# -- who is alive ----------------------------------------------------------------------------


def adopt_orphans() -> None:
    """Become the parent of whoever is a descendant of ours and loses its own."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def descendants() -> list[int]:
    """All processes below this one, zombies too."""
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{entry}/stat").read_text(errors="replace")
        except OSError:
            continue  # gone meanwhile
        parent = int(stat.rpartition(")")[2].split()[1])  # a name may hold anything, ")" too
        children.setdefault(parent, []).append(int(entry))
    found = children.get(os.getpid(), [])
    for pid in found:  # which grows meanwhile
        found += children.get(pid, [])
    return found


def living() -> dict[int, str]:
    """The processes below this one that still run, and their command lines."""
    found = {}
    for pid in descendants():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue  # gone meanwhile
        if command:  # a zombie has none
            found[pid] = text(command.replace(b"\0", b" ").strip())
    return found


def wait_for_survivors() -> list[str]:
    """Who still runs, when what has been killed has had a moment to go."""
    for attempt in range(8):
        found = living()
        if not found:
            break
        time.sleep(0.002 * 2**attempt)
    return sorted(found.values())


def kill_survivors() -> None:
    """Leave no process below this one, of whatever kind."""
    while found := descendants():
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


# -- each library ----------------------------------------------------------------------------


def own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def give(task: Any, work: Work, recorder: Recorder) -> None:
    """Have the Task schedule this work; the words are the same for both libraries."""
    options: dict[str, Any] = {"handler": recorder, "timeout": work.timeout}
    if work.copy is not None:
        source, dest, reverse, preserve = work.copy
        method = task.rcopy if reverse else task.copy
        recorder.workers.append(
            method(source, dest, nodes=work.nodes, preserve=preserve, **options)
        )
        return
    options |= {"stderr": work.stderr, "stdin": work.stdin is not None}
    options |= {"nodes": work.nodes} if work.nodes else {"key": work.key}
    worker = task.shell(work.command, **options)
    recorder.workers.append(worker)
    for data in work.stdin or ():
        worker.write(data.encode("latin-1"))
    if work.stdin is not None and work.eof:
        worker.set_write_eof()


def say(exc: BaseException) -> str:
    if isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        return say(exc.exceptions[0])
    return f"{type(exc).__name__}: {exc}"


def run_clustershell(case: Case, recorder: Recorder) -> Seen:
    task = recorder.task = import_module("ClusterShell.Task").task_self()
    way = import_module(f"ClusterShell.Worker.{'Ssh' if case.ssh else 'Exec'}")
    task.set_default("distant_worker", way.WORKER_CLASS)
    task.set_info("ssh_path", case.ssh)
    task.set_info("fanout", case.fanout)
    error, before = "", own_cpu()
    try:
        for work in case.works:
            give(task, work, recorder)
        task.resume()
    except Exception as exc:  # noqa: BLE001  # whatever it was, it is what is compared
        error = say(exc)
    return recorder.seen(error, own_cpu() - before)


def run_trioshell(case: Case, recorder: Recorder) -> Seen:
    import trio

    import trioshell

    way = "openssh" if case.ssh else "exec"
    if case.ssh:
        os.environ["PATH"] = f"{Path(case.ssh).parent}:{os.environ['PATH']}"

    async def run() -> None:
        task = recorder.task = trioshell.Task(transport=way, fanout=case.fanout, kill_grace=0.2)
        async with task:
            for work in case.works:
                give(task, work, recorder)

    error, before = "", own_cpu()
    try:
        trio.run(run)
    except Exception as exc:  # noqa: BLE001  # whatever it was, it is what is compared
        error = say(exc)
    return recorder.seen(error, own_cpu() - before)


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    main()
