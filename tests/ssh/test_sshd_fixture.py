"""The real server's fixture: whom it lets in, in which shell, and that it leaves nothing."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd, Users


def ssh(server: Sshd, user: str, command: str) -> str:
    argv = ["ssh", "-F", str(server.config_file), "-o", "BatchMode=yes", "-l", user, "any", command]
    out = subprocess.PIPE
    done = subprocess.run(
        argv, check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True
    )
    return str(done.stdout + done.stderr)


@pytest.mark.parametrize("name", ["root", "sh", "csh", "fish"])
def test_each_user_gets_in_with_a_shell_of_its_own(
    sshd: Sshd, users: Users, name: Literal["root", "sh", "csh", "fish"]
) -> None:
    user = getattr(users, name)
    said = ssh(sshd, user, "id -un; sh -c 'ps -o comm= -p $PPID'; true")
    assert said.split() == [user, {"root": "bash"}.get(name, name)]


def test_a_server_takes_a_tests_own_config(start_sshd: Callable[..., Sshd]) -> None:
    server = start_sshd("ForceCommand echo forced", "MaxSessions 1")
    assert ssh(server, "root", "echo mine") == "forced\n"


def test_connections_can_be_broken_without_touching_the_commands(
    start_sshd: Callable[..., Sshd],
) -> None:
    server = start_sshd()
    argv = ["ssh", "-F", str(server.config_file), "-l", "root", "any", "echo on; exec cat"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"on\n"
        assert server.connections()
        server.signal_connections(signal.SIGKILL)
        assert client.wait() == 255
