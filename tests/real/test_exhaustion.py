"""Floods, thousands of commands and full process tables: bounded memory, and nothing left over."""

from __future__ import annotations

import os

import pytest

from tests.real.probes import run_python

# -- processes -----------------------------------------------------------------------------------

# The limit of an ordinary user counts every process and thread of that user: another run of these
# tests must not be the same one.
USER = 61_000 + os.getpid() % 4_000

ORDINARY = """
import os, resource, subprocess, sys, trio, trioshell
import trioshell.transports._exec
from ClusterShell.NodeSet import NodeSet
resource.setrlimit(resource.RLIMIT_NPROC, (16, 16))
os.setgroups([])
os.setresgid({user}, {user}, {user})
os.setresuid({user}, {user}, {user})
os.chdir("/")

def outcomes(worker):
    return [str(result.outcome) for result in worker.results().values()]
"""

ordinary = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

TAKEN = """
async def main():
    async with trioshell.Task(transport="exec") as task:
        await task.run("true", nodes="n1")  # so that our own threads are there
        taken = []
        try:
            while True:
                taken.append(subprocess.Popen(["sleep", "600"]))
        except BlockingIOError:
            pass
        worker = task.shell(["echo", "%h"], nodes="n[1-20]", stdin=False)
        with trio.move_on_after(0.2):
            await worker.wait()
        assert not worker.closed
        for process in taken:
            process.kill()
            process.wait()
        await worker.wait()
    assert outcomes(worker) == ["exited with 0"] * 20, outcomes(worker)
    print("all ran")

trio.run(main)
"""


@ordinary
def test_processes_that_the_program_itself_has_taken_are_waited_for() -> None:
    assert run_python(ORDINARY.format(user=USER) + TAKEN) == "all ran\n"


# A shell that cannot fork says so and exits with 2: that is its own affair, and ours is to tell.
SHELLS = """
async def main():
    async with trioshell.Task(fanout=64, transport="exec") as task:
        worker = task.shell("sleep 0.01; echo %h", nodes="n[1-60]", stdin=False)
    for node, result in worker.results().items():
        said = (str(result.outcome), result.stdout)
        if said != ("exited with 0", node.encode() + b"\\n"):
            assert result.rc == 2 and b"fork" in result.stdout, result
    print(len(worker.results()))

trio.run(main)
"""


@ordinary
def test_shells_that_cannot_fork_are_told_for_each_node() -> None:
    assert run_python(ORDINARY.format(user=USER) + SHELLS) == "60\n"


# -- memory --------------------------------------------------------------------------------------

# 64 commands write 32 MB each, in lines of 4 KB that differ from node to node.
FLOOD = """
import sys, trio, trioshell
options = {"gather": False} if sys.argv[1] == "told" else {"max_output_bytes": 1 << 20}
EACH = 32 << 20
kept = min(EACH, options.get("max_output_bytes", EACH))

class Slow:
    told = lines = 0

    async def ev_read(self, worker, node, sname, msg):
        self.told += len(msg) + 1
        self.lines += 1
        if self.lines % 500 == 0:
            await trio.sleep(0.001)

async def main():
    handler = Slow()
    command = f"yes %h-{'x' * 4000} | head -c {EACH}"
    async with trioshell.Task(transport="exec", fanout=64) as task:
        worker = task.shell(command, nodes="n[1-64]", handler=handler, stdin=False, **options)
    for result in worker.results().values():
        assert result.rc == 0, result.outcome
        assert result.missing_bytes == EACH - kept
        assert len(result.stdout) == (0 if "gather" in options else kept)
    # What no newline ends at the cap has been counted as if one did.
    assert 0 <= handler.told - 64 * kept <= 64, handler.told

trio.run(main)
status = open("/proc/self/status").read()
print(status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.soak
@pytest.mark.parametrize("how", ["told", "gathered"])
def test_two_gigabytes_through_a_handler_that_sleeps(how: str) -> None:
    assert int(run_python(FLOOD, how, seconds=300)) < 200_000  # KB


MANY = """
import gc, os, trio, trioshell

class Handler:
    ended = 0

    def ev_hup(self, worker, node, rc):
        assert rc == 0
        self.ended += 1

def held():
    gc.collect()
    status = open("/proc/self/status").read()
    children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    return {
        "KB": int(status.split("VmRSS:")[1].split()[0]),
        "objects": len(gc.get_objects()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "children": len(children),
        "zombies": sum(") Z " in open(f"/proc/{child}/stat").read() for child in children),
    }

async def main():
    handler, early = Handler(), {}
    async with trioshell.Task(transport="exec", keep_results=False, fanout=32) as task:
        while handler.ended < 20000:
            await task.run(["echo", "%h"], nodes="n[1-100]", handler=handler, stdin=False)
            if handler.ended == 5000:
                early = held()
        late = held()
    assert handler.ended == 20000
    for name, most in {"KB": 2000, "objects": 300}.items():
        assert late.pop(name) - early.pop(name) < most, (name, early, late)
    assert late == early, (early, late)
    print(late["zombies"])

trio.run(main)
"""


@pytest.mark.soak
def test_twenty_thousand_commands_leave_nothing() -> None:
    assert run_python(MANY, seconds=300) == "0\n"
