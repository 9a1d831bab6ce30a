"""An sshd of one's own on loopback, with all that a client needs to reach it. Needs root."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
PrintMotd no
SetEnv SHLVL=2
"""


@dataclass(frozen=True)
class Sshd:
    """A running sshd.

    Attributes:
        directory: has ``config`` (for a client), ``known_hosts``, and ``key``, which opens
            every account.
        port: where it listens.
        pid: of the process that listens.
    """

    directory: Path
    port: int
    pid: int


def no_sshd() -> str:
    """Why there can be no sshd here, or ""."""
    if os.geteuid() != 0:
        return "needs root, to start an sshd"
    return "" if _program() else "sshd is not installed"


def _program() -> str | None:
    return shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


@contextmanager
def running_sshd(*server_lines: str, client_lines: tuple[str, ...] = ()) -> Iterator[Sshd]:
    """Run one, and end it by SIGTERM. What serves its connections is left to itself.

    Args:
        server_lines: more for its config.
        client_lines: more for the client's, of every host.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)  # sshd reads it in the name of each user
        port = _write_files(directory, server_lines, client_lines)
        Path("/run/sshd").mkdir(exist_ok=True)
        command = [str(_program()), "-D", "-f", str(directory / "sshd_config")]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            try:
                _wait_until_it_listens(port)
                yield Sshd(directory, port, server.pid)
            finally:
                server.send_signal(signal.SIGTERM)


def _write_files(
    directory: Path, server_lines: tuple[str, ...], client_lines: tuple[str, ...]
) -> int:
    for key in ("host_key", "key"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)]
        subprocess.run(keygen, stdin=subprocess.DEVNULL, check=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    words = {"port": port, "directory": directory}
    for file, text, lines in (
        ("sshd_config", _SERVER, server_lines),
        ("config", _CONFIG, client_lines),
    ):
        (directory / file).write_text(text.format(**words) + "".join(f"{line}\n" for line in lines))
    public = (directory / "host_key.pub").read_text()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    return port


def _wait_until_it_listens(port: int) -> None:
    for _ in range(1000):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)  # sshd tells nobody when it is ready
    raise RuntimeError("sshd does not listen")
