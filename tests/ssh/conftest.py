"""A real OpenSSH server on loopback, with users whose login shells are sh, csh and fish.

The servers run as root on free ports, with host keys and a configuration of their own in a
temporary directory. The users are created for the test run and removed after it. What a test
starts over SSH bears this test run's mark (see the conftest above), so it is found if it is
left behind.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reliability.marks import environment
from trioshell.testing._pytest_plugin import ssh_cluster

__all__ = ["Sshd", "Users", "ssh_cluster", "sshd", "start_sshd", "users"]

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"

# With SHLVL a bash, which root may have, does not take itself for ssh's first one, and reads no
# ~/.bashrc. There may be anything in it, even what waits for others.
SERVER_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication yes
PrintMotd no
SetEnv SHLVL=2 {mark}=1 {own_mark}
"""

# MaxStartups' default of 10 drops connections at random once more than ten log in at once.
# Tests of that ask for it; in all others it would be noise.
MANY_LOGINS = "MaxStartups 1000"

CLIENT_CONFIG = """\
Host *
    HostName 127.0.0.1
    Port {port}
    IdentityFile {directory}/id_ed25519
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {directory}/known_hosts
    GlobalKnownHostsFile /dev/null
"""


@dataclass(frozen=True)
class Users:
    """Who can log in, by their login shells; `password` is that of `sh`."""

    sh: str
    csh: str
    fish: str
    password: str
    root: str = "root"


@dataclass(frozen=True)
class Sshd:
    """A running sshd, and what a client needs to reach it: by any name, for it has them all."""

    port: int
    directory: Path
    pid: int
    mark: bytes

    @property
    def config_file(self) -> Path:
        return self.directory / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def identity_file(self) -> Path:
        return self.directory / "id_ed25519"

    def options(self, user: str = "root", **more: Any) -> dict[str, Any]:
        """The keywords of a transport that reaches this server as `user`."""
        found = {"config": self.config_file, "known_hosts": self.known_hosts, "user": user}
        return found | more

    def processes(self) -> list[int]:
        """The server's own processes, one or two a connection, and those of the commands."""
        return [self.pid, *descendants(self.pid)]

    def commands(self) -> list[str]:
        """What runs for a client now: whatever bears the mark of `SetEnv`, by its command line."""
        found = []
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            try:
                if self.mark in environment(entry):
                    command = Path(f"/proc/{entry}/cmdline").read_bytes()
                    found.append(command.replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # gone, or none of ours
                continue
        return found

    def connections(self) -> list[int]:
        """The processes that serve one connection each (and their children)."""
        return descendants(self.pid)

    def signal_connections(self, signum: signal.Signals) -> None:
        """Send `signum` to the sshd processes of all connections, and not to the commands.

        SIGSTOP makes the server silent, SIGCONT goes on, SIGKILL breaks the connections.
        """
        for pid in self.connections():
            try:
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    os.kill(pid, signum)
            except (FileNotFoundError, ProcessLookupError):
                continue


def descendants(pid: int) -> list[int]:
    """All living processes below `pid`, zombies apart."""
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{entry}/stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry))
    found, pending = [], [pid]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def need_sshd() -> None:
    """Skip the test where there can be no sshd; the CI installs it, and runs as root."""
    if not Path(SSHD).exists():
        pytest.skip("sshd is not installed (Debian: openssh-server)")
    if os.getuid() != 0:
        pytest.skip("a real sshd that serves several users has to be started as root")


@pytest.fixture(scope="session")
def users() -> Iterator[Users]:
    """Throw-away users with different login shells."""
    need_sshd()
    shells = {"sh": "/bin/sh", "csh": shutil.which("csh"), "fish": shutil.which("fish")}
    for name, shell in shells.items():
        if shell is None:
            pytest.skip(f"{name} is not installed")
    tag = secrets.token_hex(3)
    names = {name: f"trioshell-{name}-{tag}" for name in shells}
    password = secrets.token_urlsafe(12)
    with ExitStack() as stack:
        for name, shell in shells.items():
            # A password of "*" fits nothing; without one the account would count as locked.
            command = ["useradd", "--create-home", "--password", "*", "--shell", str(shell)]
            subprocess.run([*command, names[name]], check=True)
            stack.callback(remove_user, names[name])
        subprocess.run(["chpasswd"], input=f"{names['sh']}:{password}", text=True, check=True)
        yield Users(names["sh"], names["csh"], names["fish"], password)


def remove_user(name: str) -> None:
    subprocess.run(["userdel", "--force", "--remove", name], check=True, capture_output=True)


@pytest.fixture(scope="session")
def ssh_files() -> Iterator[Path]:
    """The keys that all servers share: a host key, and one client key that opens all users."""
    need_sshd()
    with open_directory() as directory:
        for name in ("host_key", "id_ed25519"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]
            subprocess.run([*keygen, directory / name], check=True)
        shutil.copy(directory / "id_ed25519.pub", directory / "authorized_keys")
        yield directory


@pytest.fixture
def start_sshd(ssh_files: Path) -> Iterator[Callable[..., Sshd]]:
    """Start servers of a test's own: ``start_sshd("MaxSessions 1", "MaxStartups 2:100:2")``."""
    with ExitStack() as stack:
        yield lambda *config_lines: stack.enter_context(running_sshd(ssh_files, config_lines))


@pytest.fixture(scope="session")
def sshd(ssh_files: Path) -> Iterator[Sshd]:
    """One server with sshd's defaults, except that it lets any number log in at once."""
    with running_sshd(ssh_files, [MANY_LOGINS]) as server:
        yield server


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that every user can read, as sshd has to in the name of each."""
    with tempfile.TemporaryDirectory(prefix="trioshell-sshd-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@contextmanager
def running_sshd(files: Path, config_lines: Sequence[str]) -> Iterator[Sshd]:
    """Run an sshd; at the end kill it, its connections, and the commands below these."""
    need_sshd()
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks up its unprivileged part
    with open_directory() as directory:
        shutil.copytree(files, directory, dirs_exist_ok=True)
        server, port = start_listening(directory, config_lines)
        try:
            host_key = (directory / "host_key.pub").read_text()
            (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
            client_config = CLIENT_CONFIG.format(port=port, directory=directory)
            (directory / "ssh_config").write_text(client_config)
            yield Sshd(port, directory, server.pid, own_mark(directory).encode())
        finally:
            kill_server(server)


def start_listening(
    directory: Path, config_lines: Sequence[str]
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server and wait until it says in its log that it listens."""
    mark = next(name for name in os.environ if name.startswith("TRIOSHELL_TEST_"))
    log, config = directory / "log", directory / "sshd_config"
    for _ in range(5):  # another program may take the port that we have found to be free
        port = free_port()
        # sshd takes the first value that it reads, so a test's own lines come first.
        own = "".join(f"{line}\n" for line in config_lines)
        if "Subsystem" not in own:  # the one that may not be said twice
            own += "Subsystem sftp internal-sftp\n"
        rest = SERVER_CONFIG.format(
            port=port, directory=directory, mark=mark, own_mark=own_mark(directory)
        )
        config.write_text(own + rest)
        with log.open("wb") as errors:
            server = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", config], stdin=subprocess.DEVNULL, stderr=errors
            )
        while server.poll() is None:
            if b"Server listening" in log.read_bytes():
                return server, port
            time.sleep(0.001)
    pytest.fail("sshd did not start:\n" + log.read_text())


def own_mark(directory: Path) -> str:
    """The variable by which the commands of one server are known."""
    return f"TRIOSHELL_SSHD={directory.name}"


def kill_server(server: subprocess.Popen[bytes]) -> None:
    # Connections are children of the server only for as long as it lives, so they go first,
    # and it may accept one more meanwhile.
    while below := descendants(server.pid):
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.001)
    server.kill()
    server.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
