"""The places where commands run: here, on the embedded cluster, on a real sshd."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reliability.case import Case
from reliability.marks import wait_for
from trioshell.testing import SshCluster

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"

_CONFIG = """\
Host *
    HostName 127.0.0.1
    Port {port}
    IdentityFile {directory}/key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {directory}/known_hosts
    GlobalKnownHostsFile /dev/null
"""

# With SHLVL a bash does not think that it is ssh's first one and reads no ~/.bashrc, in which
# there may be anything.
_SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
MaxStartups 1000
PrintMotd no
SetEnv SHLVL=2
"""


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


def no_real_server() -> str:
    """Why there can be no real sshd here, or ""."""
    if os.geteuid() != 0:
        return "needs root"
    return "" if Path(SSHD).exists() else "sshd is not installed"


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
    with tempfile.TemporaryDirectory() as name, _user(user) as login:
        directory = Path(name)
        directory.chmod(0o755)  # sshd reads it in the name of each user
        port = _write_files(directory)
        Path("/run/sshd").mkdir(exist_ok=True)
        command = [SSHD, "-D", "-e", "-f", str(directory / "sshd_config")]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            try:
                if not wait_for(lambda: _listens(port), 10):
                    raise RuntimeError("sshd does not listen")
                servers = Servers(nodes, "healthy")
                servers.files = {
                    "ports": dict.fromkeys([*nodes, "healthy"], port),
                    "config": str(directory / "config"),
                    "known_hosts": str(directory / "known_hosts"),
                    "identity": str(directory / "key"),
                    "user": login,
                }
                servers.signal = lambda signum: _signal_below(server.pid, signum)
                yield servers
            finally:
                _signal_below(server.pid, signal.SIGKILL)
                server.kill()


def _write_files(directory: Path) -> int:
    for key in ("host_key", "key"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)]
        subprocess.run(keygen, stdin=subprocess.DEVNULL, check=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    words = {"port": port, "directory": directory}
    (directory / "sshd_config").write_text(_SERVER.format(**words))
    (directory / "config").write_text(_CONFIG.format(**words))
    public = (directory / "host_key.pub").read_text()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    return port


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


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
