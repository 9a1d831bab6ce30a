"""What is wrong with an `SshTransport` is said before anything starts, and without asyncssh."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trioshell import Task, Unreachable, run
from trioshell._targets import resolve_targets
from trioshell.transports import Copy, Job, OpenSshTransport, SshTransport

JOB = Job("true", resolve_targets("node[1-2]"))


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"port": 0}, ValueError, "port must be a number from 1 to 65535, not 0"),
        ({"port": 65536}, ValueError, "port must be a number from 1 to 65535, not 65536"),
        ({"port": "22"}, TypeError, "port must be a number from 1 to 65535, not '22'"),
        ({"port": True}, TypeError, "port must be a number"),
        ({"user": ""}, ValueError, "user must be a login name, not ''"),
        ({"user": "-oProxyCommand=id"}, ValueError, "user must be a login name"),
        ({"user": "a\nb"}, ValueError, "user must be a login name"),
        ({"host_keys": "no"}, ValueError, "host_keys must be 'strict', 'accept-new' or 'off'"),
        ({"password": 5}, TypeError, "password must be a string or a function"),
        ({"jump": "a b"}, ValueError, r"jump host must be \[user@\]host\[:port\], not 'a b'"),
        ({"jump": "a,-b"}, ValueError, "jump host must be"),
        ({"keepalive": -1}, ValueError, "keepalive must be 0 or more seconds, not -1"),
        ({"keepalive": float("nan")}, ValueError, "keepalive must be 0 or more seconds"),
        ({"keepalive": "15"}, TypeError, "keepalive must be a number of seconds, not '15'"),
        ({"options": {"Port": 22}}, TypeError, "options must map keywords to strings"),
        ({"identity_files": [5]}, TypeError, "identity_files must be file names, not 5"),
        ({"known_hosts": 5}, TypeError, "known_hosts must be file names, not 5"),
        ({"config": 5}, TypeError, "config must be file names, not 5"),
    ],
)
def test_a_wrong_argument(
    arguments: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        SshTransport(**arguments)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"Port": "x"}, r"Port in options\['Port'\] takes a port"),
        ({"Nonsense": "x"}, "is not an option that ssh knows"),
        ({"LocalForward": "1 x:1"}, "cannot be honoured"),
    ],
)
def test_a_wrong_option(options: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SshTransport(config=None, options=options).check(JOB)


def test_the_files_are_looked_at_before_anything_starts(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ValueError, match=f"config file {missing} does not exist"):
        SshTransport(config=missing).check(JOB)
    with pytest.raises(ValueError, match=f"key file {missing} .* does not exist"):
        SshTransport(config=None, identity_files=[missing]).check(JOB)
    with pytest.raises(ValueError, match=f"key file {tmp_path} .* cannot be read: Is a directory"):
        SshTransport(config=None, identity_files=[tmp_path]).check(JOB)
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("not a key")
    with pytest.raises(ValueError, match=f"key file {nonsense} .* holds no private key"):
        SshTransport(config=None, identity_files=[nonsense]).check(JOB)
    config = tmp_path / "config"
    config.write_text(f"Host node2\n\n  IdentityFile {nonsense}\n  IdentityAgent none\n")
    with pytest.raises(ValueError, match=f"{nonsense} .*IdentityFile in {config} line 3"):
        SshTransport(config=config).check(JOB)
    SshTransport(config=config).check(Job("true", resolve_targets("node1")))


def test_a_key_file_of_a_config_may_be_missing_as_for_ssh(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("IdentityFile ~/.ssh/no_such_key\n")
    SshTransport(config=config).check(JOB)


@pytest.mark.parametrize("command", ["echo \0", ("echo", "\0")])
def test_a_command_that_no_shell_could_take(command: str | tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="NUL"):
        SshTransport(config=None).check(Job(command, resolve_targets("a")))


def test_without_nodes_there_is_nowhere_to_go() -> None:
    with pytest.raises(ValueError, match="there are none"):
        SshTransport(config=None).check(Job("true"))
    SshTransport(config=None).check(Job(Copy("/a", "/b"), resolve_targets("a")))


def test_options_that_are_not_honoured_are_named_once(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("ForwardAgent yes\nVerifyHostKeyDNS ask\n")
    transport = SshTransport(config=config)
    with pytest.warns(UserWarning, match=r"forwardagent in .*config line 1 .*; verifyhostkeydns"):
        transport.check(JOB)
    transport.check(JOB)  # a second time it would be an error here


@pytest.mark.parametrize("kind", [SshTransport, OpenSshTransport])
def test_the_files_of_host_keys_must_be_there(
    kind: type[SshTransport | OpenSshTransport], tmp_path: Path
) -> None:
    missing, there = tmp_path / "missing", tmp_path / "there"
    there.touch()
    with pytest.raises(ValueError, match=f"known_hosts file {missing} does not exist"):
        kind(config=None, known_hosts=[there, missing]).check(JOB)
    with pytest.raises(ValueError, match=f"known_hosts file {tmp_path} cannot be read: Is a dir"):
        kind(config=None, known_hosts=tmp_path).check(JOB)
    kind(config=None, known_hosts=there).check(JOB)
    # Where new keys are taken the file may be still to be written.
    kind(config=None, known_hosts=missing, host_keys="accept-new").check(JOB)
    kind(config=None, known_hosts=missing, host_keys="off").check(JOB)
    rule = {"StrictHostKeyChecking": "accept-new"}
    kind(config=None, known_hosts=missing, options=rule).check(JOB)


@pytest.mark.parametrize("kind", [SshTransport, OpenSshTransport])
@pytest.mark.parametrize("one", ["~/.ssh/id_ed25519", Path("/key"), b"/key", 5, None])
def test_key_files_are_given_in_a_list(
    kind: type[SshTransport | OpenSshTransport], one: Any
) -> None:
    with pytest.raises(TypeError, match="identity_files must be a list of file names, not "):
        kind(identity_files=one)


async def test_a_mistake_is_an_exception_of_the_call(tmp_path: Path) -> None:
    async with Task(transport=SshTransport(config=tmp_path / "none")) as task:
        with pytest.raises(ValueError, match="none does not exist"):
            task.shell("true", nodes="a")


async def test_algorithms_that_nobody_has(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Ciphers nosuch@example.org\n")
    # Nobody listens on port 1, but that comes later.
    transport = SshTransport(config=config, port=1, known_hosts="/dev/null")
    worker = await run("true", "127.0.0.1", transport=transport)
    assert isinstance(worker.results()["127.0.0.1"].outcome, Unreachable)


def test_nothing_imports_asyncssh_before_a_session_is_opened() -> None:
    script = (
        "import sys\n"
        "from trioshell.transports import SshTransport, Job\n"
        "from trioshell._targets import resolve_targets\n"
        "SshTransport(user='x').check(Job('true', resolve_targets('a')))\n"
        "print(sorted({'asyncssh', 'asyncio', 'trio_asyncio', 'cryptography'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
