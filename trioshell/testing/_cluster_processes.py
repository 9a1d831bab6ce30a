"""All processes of an embedded cluster: their environment, finding them, and ending them."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pwd import getpwuid

from trioshell.testing._cluster_node import ClusterNode

_MARK = "TRIOSHELL_CLUSTER"
_NODE = "TRIOSHELL_NODE"
# What Debian's sshd accepts from a client, and no more.
_ACCEPTED = ("LANG", "LC_")
_POLL = 0.005


@dataclass(frozen=True, slots=True)
class ClusterProcess:
    """A process that runs on behalf of a node of the cluster.

    Attributes:
        pid: its number on this machine.
        node: the node that it runs for.
        command: its command line, arguments joined by blanks.
    """

    pid: int
    node: str
    command: str


class Processes:
    """Marks what the cluster's commands start, and so finds it again, whoever its parent is.

    The mark is a variable of the environment, which children inherit. A process that throws
    its environment away (``env -i``) is not found.

    Args:
        bin_dir: a directory of the cluster, first in the PATH of its commands; it gets a
            ``hostname`` that prints the node's name.
    """

    def __init__(self, bin_dir: Path) -> None:
        self._token = secrets.token_hex(8)
        self._user = _user_name()
        self._path = f"{bin_dir}:{os.environ.get('PATH', os.defpath)}"
        bin_dir.mkdir()
        hostname = bin_dir / "hostname"
        hostname.write_text(f"#!/bin/sh\nprintf '%s\\n' \"${_NODE}\"\n")
        hostname.chmod(0o755)

    def environment(self, node: ClusterNode, sent: Mapping[str, str]) -> dict[str, str]:
        """The environment of a command on `node`, of which the client `sent` some."""
        env = {name: value for name, value in sent.items() if name.startswith(_ACCEPTED)}
        # What marks this process as part of something greater marks its commands as well.
        env |= {name: value for name, value in os.environ.items() if name.startswith("TRIOSHELL_")}
        return env | {
            "HOME": str(node.root),
            "USER": self._user,
            "LOGNAME": self._user,
            "SHELL": "/bin/sh",
            "PATH": self._path,
            _NODE: node.name,
            _MARK: self._token,
        }

    def signal_group(self, pgid: int, signum: signal.Signals) -> None:
        """Send a signal to a command's process group, if there is one."""
        # Its leader is a child of ours that was not waited for, so the number is its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pgid, signum)

    def running(self) -> tuple[ClusterProcess, ...]:
        """All processes of the cluster that run now, zombies apart, by pid."""
        return tuple(self._find())

    def kill_all(self, timeout: float) -> tuple[ClusterProcess, ...]:
        """SIGKILL to all of them until there is none, and return what is left at `timeout`.

        Blocks. A process that is being forked meanwhile is found in a later round.
        """
        deadline = time.monotonic() + timeout
        while found := tuple(self._find(signal.SIGKILL)):
            if time.monotonic() > deadline:
                return found
            time.sleep(_POLL)
        return ()

    def _find(self, kill: signal.Signals | None = None) -> Iterator[ClusterProcess]:
        mark = f"{_MARK}={self._token}".encode()
        for entry in sorted((e for e in os.listdir("/proc") if e.isdigit()), key=int):
            process = _inspect(int(entry), mark, kill)
            if process is not None:
                yield process


def _inspect(pid: int, mark: bytes, kill: signal.Signals | None) -> ClusterProcess | None:
    """The process `pid` if it bears the mark, after sending it the signal `kill`."""
    try:
        # The descriptor holds on to this very process: the signal cannot hit another one
        # that has got the number since.
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if mark not in environ:
            return None
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if kill is not None:
            signal.pidfd_send_signal(pidfd, kill)
    except (OSError, ProcessLookupError):  # it has ended, or belongs to somebody else
        return None
    finally:
        os.close(pidfd)
    variables = dict(item.partition(b"=")[::2] for item in environ)
    node = variables.get(_NODE.encode(), b"").decode(errors="replace")
    return ClusterProcess(
        pid, node, command.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    )


def _user_name() -> str:
    try:
        return getpwuid(os.getuid()).pw_name
    except KeyError:  # a uid without an entry, as containers have it
        return str(os.getuid())
