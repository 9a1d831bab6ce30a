"""The workers that a command line asks for, given to a Task: a command, or copies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trioshell.cli._files import Saving

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

    from trioshell import Task, Worker
    from trioshell.cli._handlers import Output
    from trioshell.cli._options import Options

# What reads our input if there is no command, and nobody at a terminal to type one.
_SHELL = "sh"


def schedule(
    task: Task, options: Options, nodes: NodeSet, output: Output, *, stdin: bool
) -> Sequence[Worker]:
    """Give `task` what was asked for, with `output` (or what hands on to it) as the handler.

    Args:
        stdin: True if something will be written to the commands.

    Raises:
        ValueError: or TypeError; something is wrong with it. Nothing has been started.
        OSError: a directory for the output cannot be written to.
    """
    handler = _saving(options, nodes, output)
    if options.copy or options.rcopy:
        return [_copy(task, options, nodes, handler, source) for source in options.words]
    words = [*options.command_prefix, *(options.words or (_SHELL,))]
    worker = task.shell(
        " ".join(words),
        nodes=nodes,
        handler=handler,
        timeout=options.command_timeout,
        stdin=stdin,
        gather=output.gathers,
    )
    return [worker]


def _copy(
    task: Task, options: Options, nodes: NodeSet, handler: Output | Saving, source: str
) -> Worker:
    # Without --dest it goes to where it is, as in clush; a directory, and said to be one.
    dest = options.dest or os.path.join(os.path.dirname(os.path.abspath(source)), "")
    copy = task.rcopy if options.rcopy else task.copy
    return copy(
        source,
        dest,
        nodes,
        handler,
        timeout=options.command_timeout,
        preserve=options.preserve,
    )


def _saving(options: Options, nodes: NodeSet, output: Output) -> Output | Saving:
    places = {"stdout": options.outdir, "stderr": options.errdir}
    given = {sname: place for sname, place in places.items() if place is not None}
    return Saving(output, given, map(str, nodes)) if given else output
