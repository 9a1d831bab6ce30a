"""Output of very many nodes: what it costs to gather it, group it and fold the names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.meter import Meter
from benchmarks.workload import OURS, Contender, Workload, needs_module

# What a node writes, by its number: a list of lines.
Output = Callable[[int], list[bytes]]


def equal(lines: int, number: int) -> list[bytes]:
    return [b"line %d of what every node writes" % line for line in range(lines)]


def distinct(lines: int, number: int) -> list[bytes]:
    """Equal but for one line in the middle, as with a serial number."""
    output = equal(lines, number)
    output[lines // 2] = b"serial number %d" % number
    return output


def engine(output: Output, amount: int, meter: Meter) -> None:
    """The whole engine: fanout, sessions, dispatcher, books, on nodes that are simulated."""
    import trio

    import trioshell
    from trioshell.testing import Script, SimulatedTransport, simulate

    chunks = [b"".join(line + b"\n" for line in output(number)) for number in range(amount)]
    if chunks[0] == chunks[-1]:
        chunks = [chunks[0]] * amount
    scripts = [Script(chunk) for chunk in chunks]

    def script_of(node: Any, work: object) -> Any:
        return scripts[int(node[4:]) - 1]

    async def main() -> int:
        transport = SimulatedTransport(script_of, record=False)
        async with trioshell.Task(fanout=64, transport=transport) as task:
            worker = task.shell("true", nodes=f"node[1-{amount}]")
            await trio.lowlevel.checkpoint()
        return len([str(nodes) for _, nodes in worker.iter_buffers()])

    with meter:
        groups = simulate(main)
    assert groups == len(set(chunks))


def _tree(make: Callable[[], Any], output: Output, amount: int, meter: Meter) -> None:
    from ClusterShell.NodeSet import NodeSet

    same = output(0) if output(0) == output(1) else None
    outputs = [same or output(number) for number in range(amount)]
    names = [f"node{number + 1}" for number in range(amount)]
    with meter:
        tree = make()
        for name, lines in zip(names, outputs, strict=True):
            for line in lines:
                tree.add(name, line)
        groups = [str(NodeSet.fromlist(keys)) for _, keys in tree.walk()]
    assert len(groups) == (1 if same else amount)


def worker_books(output: Output, amount: int, meter: Meter) -> None:
    """What a worker does to gather, group and fold, and nothing else: chunks, not lines."""
    from ClusterShell.NodeSet import NodeSet

    from trioshell._distant import group
    from trioshell._gathering import Outputs, Shelf

    chunks = [b"".join(line + b"\n" for line in output(number)) for number in range(amount)]
    names = [f"node{number + 1}" for number in range(amount)]
    with meter:
        shelf = Shelf()
        found = []
        for name, chunk in zip(names, chunks, strict=True):
            outputs = Outputs()
            outputs.stream("stdout").add(chunk, keep=True)
            found.append((name, outputs.close(shelf)))
        messages = ((name, outputs.message("stdout")) for name, outputs in found)
        groups = [str(NodeSet.fromlist(keys)) for keys in group(messages).values()]
    assert len(groups) == len(set(chunks))


def our_tree(output: Output, amount: int, meter: Meter) -> None:
    from trioshell import MsgTree

    _tree(MsgTree, output, amount, meter)


def clustershell_tree(output: Output, amount: int, meter: Meter) -> None:
    from ClusterShell.MsgTree import MsgTree

    _tree(MsgTree, output, amount, meter)


def workload(amount: int, lines: int, kind: str) -> Workload:
    output: Output = partial({"equal": equal, "distinct": distinct}[kind], lines)
    one = "one line" if lines == 1 else f"{lines} lines"
    return Workload(
        f"nodes-{amount}-{kind}",
        f"{amount:,} simulated nodes, {one} each, {kind}",
        f"{amount:,} simulated nodes write {one} each, "
        + ("all the same" if kind == "equal" else "equal but for one line")
        + "; gathered, grouped, and the names folded. ClusterShell has no simulated nodes, so "
        "of it only the gathering by itself is measured, and ours beside it: as a worker does it "
        "(by the chunk), and by MsgTree (line by line, as ClusterShell does it).",
        "node",
        (amount,),
        (amount // 20,),
        (
            Contender(OURS, partial(engine, output), "whole runs on SimulatedTransport"),
            Contender(
                "trioshell gathering",
                partial(worker_books, output),
                "as a worker does it; no engine",
            ),
            Contender("trioshell MsgTree", partial(our_tree, output), "add each line, walk, fold"),
            Contender(
                "ClusterShell MsgTree",
                partial(clustershell_tree, output),
                "add each line, walk, fold; no engine",
                needs_module("ClusterShell"),
            ),
        ),
        counts="cpu",
    )


WORKLOADS = (
    workload(10_000, 100, "equal"),
    workload(10_000, 100, "distinct"),
    workload(100_000, 1, "equal"),
    workload(100_000, 1, "distinct"),
)
