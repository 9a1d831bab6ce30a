"""The servers that workloads need, each on loopback and in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks import sshd
from benchmarks.sshd import no_sshd

DIRECTORY = "BENCHMARK_SSHD"
CLUSTER = "BENCHMARK_CLUSTER"
NODES = 16


@contextmanager
def running_sshd(startups: str = "1000") -> Iterator[Mapping[str, str]]:
    """An sshd, and by `DIRECTORY` the directory with all that a client needs.

    Args:
        startups: its MaxStartups: from how many logins at the same time it drops some.
    """
    if no_sshd():
        yield {}  # nobody takes part, then
        return
    lines = (f"MaxStartups {startups}", "MaxSessions 1000")
    with sshd.running_sshd(*lines, client_lines=("    User root",)) as server:
        (server.directory / "port").write_text(str(server.port))
        yield {DIRECTORY: str(server.directory)}


@contextmanager
def running_cluster() -> Iterator[Mapping[str, str]]:
    """The embedded cluster in a process of its own, and by `CLUSTER` how to reach it."""
    command = [sys.executable, "-m", "benchmarks.servers"]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        if not told:
            raise RuntimeError("the embedded cluster did not start")
        yield {CLUSTER: told.strip()}
        process.communicate()  # its stdin ends, and so does it


def _serve() -> None:
    """Be the embedded cluster until stdin ends."""
    from trioshell.testing import SshCluster

    cluster = SshCluster(NODES)
    cluster.start()
    try:
        names = list(cluster.nodes)
        told = {
            "nodes": str(cluster.nodes),
            "config": str(cluster.config_file),
            "known_hosts": str(cluster.known_hosts),
            "identity": str(cluster.identity_file),
            "ports": {name: cluster.port(name) for name in names},
            "roots": {name: str(cluster.root(name)) for name in names},
        }
        print(json.dumps(told), flush=True)
        sys.stdin.read()
    finally:
        cluster.stop()


if __name__ == "__main__":
    _serve()
