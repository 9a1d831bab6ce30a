"""A worker that copies instead of running a command."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from trioshell._arguments import check_flag, check_path
from trioshell._distant import DistantWorker
from trioshell.transports import Copy, Transport

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet


class CopyWorker(DistantWorker):
    """A file or a tree, copied to every node or, with `reverse`, from every node.

    A node's run is the copying to it or from it; that fails or times out as a command does,
    ``Exited(0)`` when all of it is there. Nothing that is written partly ever stands under its
    final name. What the copying has to say is in the node's output.

    Args:
        source: the file or directory: here, or on each node with `reverse`.
        dest: where it goes. A directory that is there takes it in under its own name. With
            `reverse` it must be a directory here, which gets ``NAME.NODE`` for each node;
            nodes with a slash in their name are refused.
        reverse: True to copy from the nodes.
        preserve: True to keep modification times and modes.
        options: as `DistantWorker` has them.
    """

    def __init__(
        self,
        nodes: str | NodeSet | Iterable[str],
        handler: object = None,
        timeout: float | None = None,
        *,
        source: str | PurePath,
        dest: str | PurePath,
        reverse: bool = False,
        preserve: bool = False,
        transport: str | Transport | None = None,
        **options: Any,
    ) -> None:
        work = Copy(
            check_path("source", source),
            check_path("dest", dest),
            check_flag("reverse", reverse),
            check_flag("preserve", preserve),
        )
        if reverse and not os.path.isdir(work.dest):
            raise ValueError(f"dest must be a directory that is there, not {work.dest!r}")
        # A percent sign may stand for the node, and then there are as many sources as nodes.
        if not reverse and "%" not in work.source and not os.path.exists(work.source):
            raise ValueError(f"source must be there to be copied, and {work.source!r} is not")
        super().__init__(
            nodes,
            handler,
            timeout,
            work=work,
            stdin=False,
            transport=transport,
            **options,
        )
        if reverse:
            # It becomes part of a file's name, and must not lead to another directory.
            for node in self._books.targets:
                if "/" in str(node):
                    raise ValueError(
                        f"nodes: {node!r} cannot be part of the name of a file that is copied "
                        "from it; accepted are names without '/'"
                    )
        self._check()
        self.source, self.dest, self.reverse = work.source, work.dest, reverse
