"""The one-liner: a Task of its own for a single command."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trioshell._arguments import check_flag
from trioshell._distant import group
from trioshell._errors import FailedNodesError
from trioshell._results import NodeResult
from trioshell._task import Task
from trioshell._worker import Worker

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

_TASK_OPTIONS = frozenset({"connect_timeout", "command_timeout", "keep_results", "kill_grace"})

# How much of a failing node's last words an error message quotes.
_LAST_LINES = 3


async def run(
    command: str | Sequence[str],
    nodes: str | NodeSet | Iterable[str] | None = None,
    *,
    check: bool = False,
    **options: Any,
) -> Worker:
    """Open a Task, run one worker in it, and return that worker, closed.

    Args:
        command: as `Task.shell` takes it.
        nodes: the targets; None runs it once, here.
        check: True to raise if any node's command did not exit with 0.
        options: of `Task` (fanout, transport, connect_timeout, …) and of `Task.shell`
            (handler, timeout, stderr, …). Without a handler nobody could write to the
            command, so its stdin is empty then unless ``stdin=True`` is given.

    Raises:
        FailedNodesError: with `check`, some node failed; it carries the worker.
        ValueError: or TypeError; an argument is wrong. Nothing has been started.

    What a handler raises comes out as it is and not in a group; if handlers raised several
    times, the first. Cancelled, nothing of it is left when this returns.
    """
    check_flag("check", check)
    task_options = {name: options.pop(name) for name in tuple(options) if name in _TASK_OPTIONS}
    if "fanout" in options:
        task_options["fanout"] = options.pop("fanout")
    if nodes is not None and "transport" in options:
        task_options["transport"] = options.pop("transport")
    if options.get("handler") is None:
        options.setdefault("stdin", False)
    task = Task(**task_options)
    worker = task.shell(command, nodes=nodes, **options)
    try:
        async with task:
            pass
    except BaseExceptionGroup as raised:
        # Somebody may have cancelled us as well; what was raised is not to be lost over that.
        first = next(iter(task._engine.dispatcher.errors), None) or _first(raised)
        raise first from first.__cause__
    if check:
        _check(worker)
    return worker


def _first(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


def _check(worker: Worker) -> None:
    failed = {node: result for node, result in worker.results().items() if not result.ok}
    if failed:
        raise FailedNodesError(_describe(worker, failed), worker, failed)


def _describe(worker: Worker, failed: dict[Hashable, NodeResult]) -> str:
    """Which nodes failed, folded by cause, and what the first of each said last."""
    causes = group((node, str(result.outcome)) for node, result in failed.items())
    lines = [f"{len(failed)} of {len(worker.results())} nodes failed: {worker.command!r}"]
    for cause, nodes in causes.items():
        lines.append(f"  {worker._name_nodes(nodes)}: {cause}")
        result = failed[nodes[0]]
        said = (result.stderr or result.stdout).splitlines()[-_LAST_LINES:]
        lines += [f"    {line.decode(errors='backslashreplace')}" for line in said]
    return "\n".join(lines)
