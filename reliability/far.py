"""The embedded cluster in a process of its own, so that it is not measured with the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from trioshell import testing
from trioshell.testing import Fault, SshCluster

ROOT = Path(__file__).parent.parent


class FarCluster:
    """Such a cluster, from the outside. Start and end block for a moment.

    Attributes:
        pid: of the process.
        config, known_hosts: the client's files.
        roots: the home directory of each node.
    """

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "reliability.far", str(self._nodes)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        about = json.loads(self._process.stdout.readline())
        self.pid = self._process.pid
        self.config: str = about["config"]
        self.known_hosts: str = about["known_hosts"]
        self.roots = {node: Path(root) for node, root in about["roots"].items()}
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def fault(self, node: str, name: str, **arguments: int) -> None:
        """Give the node the fault of this name; with "" none."""
        self._tell({"node": node, "fault": name, "arguments": arguments})

    def drop(self, node: str) -> None:
        """Cut all connections that the node has open."""
        self._tell({"node": node, "drop": True})

    def _tell(self, what: dict[str, object]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        self._process.stdin.flush()
        self._process.stdout.readline()  # it holds from now on


def main() -> None:
    cluster = SshCluster(int(sys.argv[1]))
    cluster.start()
    try:
        roots = {str(node): str(cluster.root(str(node))) for node in cluster.nodes}
        about = {"config": str(cluster.config_file), "known_hosts": str(cluster.known_hosts)}
        print(json.dumps({**about, "roots": roots}), flush=True)
        for line in sys.stdin:
            _obey(cluster, json.loads(line))
            os.write(1, b"done\n")
    finally:
        cluster.stop()


def _obey(cluster: SshCluster, what: dict[str, object]) -> None:
    node = str(what["node"])
    if what.get("drop"):
        cluster.drop(node)
    elif what["fault"]:
        made: Fault = getattr(testing, str(what["fault"]))(**what["arguments"])  # type: ignore[arg-type]  # JSON
        cluster.fault(node, made)
    else:
        cluster.heal(node)


if __name__ == "__main__":
    main()
