"""The servers that workloads need, each on loopback and in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

DIRECTORY = "BENCHMARK_SSHD"
CLUSTER = "BENCHMARK_CLUSTER"
NODES = 16

_CONFIG = """\
Host *
    HostName 127.0.0.1
    Port {port}
    User root
    IdentityFile {directory}/key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {directory}/known_hosts
    GlobalKnownHostsFile /dev/null
"""

_SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
MaxStartups {startups}
MaxSessions 1000
# Or a bash that was built to would read ~/.bashrc, whatever is in it, for each command.
SetEnv SHLVL=2
"""


def no_sshd() -> str:
    """Why there can be no sshd here, or ""."""
    if os.geteuid() != 0:
        return "needs root, to start an sshd"
    return "" if shutil.which("sshd", path=_path()) else "sshd is not installed"


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])


@contextmanager
def running_sshd(startups: str = "1000") -> Iterator[Mapping[str, str]]:
    """An sshd, and by `DIRECTORY` the directory with all that a client needs.

    Args:
        startups: its MaxStartups: from how many logins at the same time it drops some.
    """
    if no_sshd():
        yield {}  # nobody takes part, then
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        port = _prepare(directory, startups)
        sshd = shutil.which("sshd", path=_path())
        command = [str(sshd), "-D", "-f", str(directory / "sshd_config")]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            try:
                _wait_until_it_listens(port)
                yield {DIRECTORY: str(directory)}
            finally:
                server.send_signal(signal.SIGTERM)


def _prepare(directory: Path, startups: str) -> int:
    for key in ("host_key", "key"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)]
        subprocess.run(keygen, stdin=subprocess.DEVNULL, check=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    words = {"port": port, "directory": directory, "startups": startups}
    (directory / "sshd_config").write_text(_SERVER.format(**words))
    (directory / "config").write_text(_CONFIG.format(**words))
    (directory / "port").write_text(str(port))
    public = (directory / "host_key.pub").read_text()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    Path("/run/sshd").mkdir(exist_ok=True)
    return port


def _wait_until_it_listens(port: int) -> None:
    for _ in range(1000):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)  # sshd tells nobody when it is ready
    raise RuntimeError("sshd does not listen")


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
