"""The places where commands run: here, on the embedded cluster, on a real sshd."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.sshd import running_sshd
from reliability.case import Case
from trioshell.testing import SshCluster


@dataclass
class Servers:
    """What a plan is told of the place, and what the stage can do to it.

    Attributes:
        nodes: which have the fault.
        bystander: which has none.
        files: what `Plan` has of ports, files and user.
        signal: send a signal to what serves the connections, and not to the commands.
        roots: the home directories of the nodes, where they are known.
    """

    nodes: tuple[str, ...]
    bystander: str
    files: dict[str, object] = field(default_factory=dict)
    signal: Callable[[signal.Signals], None] = lambda _: None
    roots: tuple[Path, ...] = ()


@contextmanager
def open_servers(case: Case, count: int) -> Iterator[Servers]:
    """The place of a case, with so many nodes that have its fault."""
    nodes = tuple(f"node{number}" for number in range(1, count + 1))
    match case.place:
        case "local":
            yield Servers(nodes, "healthy")
        case "ssh":
            with _cluster(case, nodes) as servers:
                yield servers
        case "sshd":
            with _real_server(nodes, case.user) as servers:
                yield servers


@contextmanager
def _cluster(case: Case, nodes: tuple[str, ...]) -> Iterator[Servers]:
    faults = dict.fromkeys(nodes, case.faults)
    cluster = SshCluster(f"{','.join(nodes)},healthy", faults=faults, shared_host_key=False)
    cluster.start()
    try:
        servers = Servers(nodes, "healthy")
        servers.files = {
            "ports": {str(node): cluster.port(str(node)) for node in cluster.nodes},
            "config": str(cluster.config_file),
            "known_hosts": str(cluster.known_hosts),
            "identity": str(cluster.identity_file),
            "user": "",
        }
        servers.roots = tuple(cluster.root(node) for node in nodes)
        if case.node:
            name, _, domain = case.node.partition(".")
            servers.nodes = tuple(f"{name}{node[4:]}.{domain}" for node in nodes)
        yield servers
    finally:
        cluster.stop()


@contextmanager
def _real_server(nodes: tuple[str, ...], user: str) -> Iterator[Servers]:
    with _user(user) as login, running_sshd("MaxStartups 1000") as server:
        servers = Servers(nodes, "healthy")
        servers.files = {
            "ports": dict.fromkeys([*nodes, "healthy"], server.port),
            "config": str(server.directory / "config"),
            "known_hosts": str(server.directory / "known_hosts"),
            "identity": str(server.directory / "key"),
            "user": login,
        }
        servers.signal = lambda signum: _signal_below(server.pid, signum)
        try:
            yield servers
        finally:
            _signal_below(server.pid, signal.SIGKILL)


@contextmanager
def _user(user: str) -> Iterator[str]:
    """The account to log in with: root, or one that is thrown away afterwards."""
    if user == "root":
        yield user
        return
    name = f"reliability-{secrets.token_hex(3)}"
    # A password of "*" fits nothing; without one the account would count as locked.
    add = ["useradd", "--create-home", "--password", "*", "--shell", "/bin/sh", name]
    subprocess.run(add, check=True)
    try:
        yield name
    finally:
        remove = ["userdel", "--force", "--remove", name]
        subprocess.run(remove, check=True, capture_output=True)


def _signal_below(pid: int, signum: signal.Signals) -> None:
    """Signal the sshd processes below `pid`, which serve a connection each."""
    for child in _children(pid):
        _signal_below(child, signum)
        try:
            if Path(f"/proc/{child}/comm").read_text().startswith("sshd"):
                os.kill(child, signum)
        except (FileNotFoundError, ProcessLookupError):
            continue


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
