"""The pure parts of the way through ssh(1): its arguments, its log, its command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioshell._results import Exited, Signaled
from trioshell._targets import resolve_targets
from trioshell.transports import OpenSshTransport
from trioshell.transports._base import Job
from trioshell.transports._guard import Opening
from trioshell.transports._openssh_command import Ending, command_line
from trioshell.transports._openssh_log import find_complaint, is_authenticated
from trioshell.transports._openssh_options import SshOptions, check_node, make_options

TOKEN = "k3f9a2b1c4d5e6f7"


def options(**given_options: Any) -> SshOptions:
    defaults: dict[str, Any] = {
        "user": None,
        "port": None,
        "identity_files": (),
        "known_hosts": None,
        "host_keys": "strict",
        "config": ...,
        "password": None,
        "jump": None,
        "keepalive": 15.0,
        "options": None,
    }
    return make_options(**(defaults | given_options))


def effective(said: SshOptions, host: str = "some-host") -> dict[str, str]:
    """What ssh itself makes of the arguments."""
    argv = [*said.argv(7.2), "-G", "--", host]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


# -- arguments ---------------------------------------------------------------------------


def test_by_default_nobody_is_asked_and_nothing_is_forwarded() -> None:
    found = effective(options(config=None))
    expected = {
        "batchmode": "yes",
        "forwardagent": "no",
        "forwardx11": "no",
        "stricthostkeychecking": "true",
        "connecttimeout": "8",
        "serveraliveinterval": "15",
        "serveralivecountmax": "1",
        "controlmaster": "false",
        "requesttty": "false",
        "clearallforwardings": "yes",
        "permitlocalcommand": "no",
    }
    assert {name: found.get(name) for name in expected} == expected


def test_each_parameter_reaches_ssh(tmp_path: Path) -> None:
    key, known = tmp_path / "a 50% key", tmp_path / "known 100% hosts"
    found = effective(
        options(
            config=None,
            user="somebody",
            port=2222,
            identity_files=[key],
            known_hosts=known,
            host_keys="accept-new",
            keepalive=2.5,
            options={"Compression": "yes", "ForwardAgent": "yes"},
        )
    )
    assert found["user"] == "somebody"
    assert found["port"] == "2222"
    assert found["identityfile"].replace("%%", "%") == str(key)
    assert found["userknownhostsfile"].replace("%%", "%") == str(known)
    assert found["globalknownhostsfile"] == os.devnull
    assert found["stricthostkeychecking"] == "accept-new"
    assert found["serveraliveinterval"] == "3"
    assert found["compression"] == "yes"
    assert found["forwardagent"] == "yes"


def test_without_host_keys_no_file_is_read_or_written() -> None:
    found = effective(options(config=None, host_keys="off", known_hosts="/some/file"))
    assert found["stricthostkeychecking"] == "false"
    assert found["userknownhostsfile"] == os.devnull


def test_the_users_config_cannot_take_the_session_away(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "Host *\n  RemoteCommand tmux\n  RequestTTY force\n  LocalForward 1234 localhost:1\n"
        "  ControlMaster auto\n  ForwardAgent yes\n  BatchMode no\n  Port 2022\n"
    )
    found = effective(options(config=config))
    assert found["port"] == "2022"
    assert "remotecommand" not in found
    assert found["requesttty"] == "false"
    assert found["clearallforwardings"] == "yes"
    assert found["controlmaster"] == "false"
    assert found["forwardagent"] == "no"
    assert found["batchmode"] == "yes"


def test_a_jump_host_is_reached_with_the_same_options_and_a_login_of_its_own() -> None:
    argv = options(
        config=None, user="target-user", port=22022, jump="me@[::1]:2200,gate", host_keys="off"
    ).argv(10)
    outer = next(word for word in argv if word.startswith("ProxyCommand="))
    assert outer.endswith(" -W '[%h]:%p' -- gate")
    assert "StrictHostKeyChecking=no" in outer
    assert "target-user" not in outer
    assert "22022" not in outer
    assert "-l me -p 2200" in outer
    assert "[%%h]:%%p" in outer  # for the first hop, which is the business of the second one's ssh


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"port": 0}, ValueError, "port"),
        ({"port": 65536}, ValueError, "port"),
        ({"port": "22"}, TypeError, "port"),
        ({"port": True}, TypeError, "port"),
        ({"user": ""}, ValueError, "user"),
        ({"user": "-oProxyCommand=id"}, ValueError, "user"),
        ({"user": 3}, TypeError, "user"),
        ({"host_keys": "no"}, ValueError, "host_keys"),
        ({"keepalive": -1}, ValueError, "keepalive"),
        ({"keepalive": float("nan")}, ValueError, "keepalive"),
        ({"keepalive": "15"}, TypeError, "keepalive"),
        ({"jump": "-oProxyCommand=id"}, ValueError, "jump"),
        ({"jump": "a b"}, ValueError, "jump"),
        ({"jump": "host:0"}, ValueError, "port"),
        ({"jump": "$(id)"}, ValueError, "jump"),
        ({"jump": 7}, TypeError, "jump"),
        ({"known_hosts": 'a"b'}, ValueError, "known_hosts"),
        ({"identity_files": [3]}, TypeError, "identity_files"),
        ({"password": 5}, TypeError, "password"),
        ({"options": "Port=22"}, TypeError, "options"),
        ({"options": ["Port"]}, ValueError, "options"),
        ({"options": ["Port=1\nProxyCommand=id"]}, ValueError, "options"),
        ({"options": {"RequestTTY": "force"}}, ValueError, "RequestTTY"),
        ({"options": [b"Port=22"]}, TypeError, "options"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        OpenSshTransport(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"identity_files": ["/no/such/key"]}, r"/no/such/key .*does not exist"),
        ({"config": "/no/such/config"}, r"/no/such/config does not exist"),
        ({"options": ["NoSuchOption=1"], "config": None}, "(?i)nosuchoption"),
        ({"options": ["Port=99999"], "config": None}, "(?i)port"),
    ],
)
def test_what_cannot_work_is_found_before_anything_starts(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        OpenSshTransport(**arguments).check(Job("true", resolve_targets("node1")))


def test_a_mistake_in_a_config_is_named_with_file_and_line(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  Port 22\n  Prot 23\n")
    with pytest.raises(ValueError, match=rf"{config}.*line 3.*(?i:prot)"):
        OpenSshTransport(config=config).check(Job("true", resolve_targets("node1")))


def test_a_locked_key_that_nobody_can_open_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = tmp_path / "locked"
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)]
    subprocess.run(keygen, check=True)
    job = Job("true", resolve_targets("node1"))
    with pytest.raises(ValueError, match=r"locked .*passphrase"):
        OpenSshTransport(identity_files=[key], config=None).check(job)
    OpenSshTransport(
        identity_files=[key], config=None, password=lambda node, prompt: "secret"
    ).check(job)


@given(st.text(max_size=12))
def test_no_name_reaches_ssh_as_more_than_a_name(name: str) -> None:
    try:
        check_node(name)
    except ValueError:
        return
    assert not name.startswith("-")
    assert name
    assert not re.search(r"""[\s@/'"`$;&|<>(){}\\]""", name)


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=id", "", "a b", "a\n", "user@host", "ssh://h", "$(id)", "a'b", "`id`"]
)
def test_hostile_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        check_node(name)


def test_names_as_people_have_them_are_taken() -> None:
    for name in ("node1", "a.b-c_d", "::1", "fe80::1%eth0", "127.0.0.1", "n", "knotenß"):
        check_node(name)


# -- the log -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "stderr", "reason", "dropped"),
    [
        ("ssh: connect to host h port 22: Connection refused\n", b"", "Connection refused", False),
        (
            "kex_exchange_identification: Connection closed by remote host\n"
            "Connection closed by 10.0.0.1 port 22\n",
            b"",
            "closed the connection before the login",
            True,
        ),
        (
            "kex_exchange_identification: read: Connection reset by peer\n",
            b"",
            "closed the connection before the login",
            True,
        ),
        (
            "root@h: Permission denied (publickey,password).\n",
            b"",
            "refused the login of root (by publickey,password)",
            False,
        ),
        (
            "@@@@@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@@@@@\n"
            "Offending ED25519 key in /home/me/.ssh/known_hosts:17\n"
            "Host key for h has changed and you have requested strict checking.\n"
            "Host key verification failed.\n",
            b"",
            "/home/me/.ssh/known_hosts line 17",
            False,
        ),
        (
            "No ED25519 host key is known for h and you have requested strict checking.\n"
            "Host key verification failed.\n",
            b"",
            "the host key of n is not known",
            False,
        ),
        (
            "@@@@\n@ WARNING: REVOKED HOST KEY DETECTED! @\n@@@@\n"
            "The ED25519 host key for h is marked as revoked.\n"
            "ED25519 host key for h was revoked and you have requested strict checking.\n"
            "Host key verification failed.\n",
            b"",
            "is revoked",
            False,
        ),
        (
            "kex_exchange_identification: Connection closed by remote host\n"
            "Connection closed by UNKNOWN port 65535\n",
            b"a banner\nssh: connect to host gate port 22: No route to host\r\n",
            "No route to host",
            False,
        ),
        (
            'Authenticated to h ([::1]:22) using "publickey".\nTimeout, server h not responding.\n',
            b"",
            "did not answer the keepalive",
            False,
        ),
        (
            'Authenticated to h ([::1]:22) using "publickey".\nTransferred: sent 1, received 1\n',
            b"words of the command\nConnection to h closed by remote host.\r\n",
            "closed by the other side",
            False,
        ),
        (
            "ssh: Could not resolve hostname h: Name or service not known\n",
            b"",
            "Could not resolve hostname h",
            False,
        ),
    ],
)
def test_what_ssh_complains_about_becomes_a_reason(
    log: str, stderr: bytes, reason: str, dropped: bool
) -> None:
    complaint = find_complaint(log, stderr, "n", None)
    assert complaint is not None
    assert reason in complaint.reason
    assert "\n" not in complaint.reason
    assert complaint.dropped is dropped


def test_a_log_without_complaints_has_none() -> None:
    log = (
        "Warning: Permanently added '[::1]:22' (ED25519) to the list of known hosts.\n"
        'Authenticated to h ([::1]:22) using "publickey".\n'
        "Transferred: sent 2188, received 2936 bytes, in 0.0 seconds\n"
        "Bytes per second: sent 955280.0, received 1281856.5\n"
    )
    assert find_complaint(log, b"the command's own words\n", "n", None) is None
    assert is_authenticated(log)
    assert not is_authenticated("ssh: connect to host h port 22: Connection refused\n")


@given(st.text(max_size=300), st.binary(max_size=100))
def test_whatever_stands_in_a_log_is_read(log: str, stderr: bytes) -> None:
    complaint = find_complaint(log, stderr, "n", [Path("/k")])
    assert complaint is None or complaint.reason


# -- the command line --------------------------------------------------------------------

SHELLS = [path for name in ("sh", "bash", "csh", "fish") if (path := shutil.which(name))]


def run(
    shell: str, command: str | tuple[str, ...], *, merge: bool
) -> tuple[Exited | Signaled | None, bytes, bytes]:
    """Run a command as sshd would with this login shell, and take what comes apart."""
    done = subprocess.run(
        [shell, "-c", command_line(command, TOKEN, merge=merge)],
        check=False,
        capture_output=True,
        env=os.environ | {"SHELL": shell},
        start_new_session=True,
    )
    opening, ending = Opening("", TOKEN, merge=merge), Ending(TOKEN)
    taken = {"stdout": b"", "stderr": b""}
    for sname, data in (("stderr", done.stderr), ("stdout", done.stdout)):
        for at in range(0, len(data), 7):
            own = opening.feed(sname, data[at : at + 7])
            taken[sname] += ending.feed(own) if sname == "stdout" else own
        rest = opening.rest(sname)
        taken[sname] += ending.feed(rest) + ending.rest() if sname == "stdout" else rest
    assert opening.group is not None
    return ending.outcome, taken["stdout"], taken["stderr"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("merge", [False, True])
def test_output_and_exit_code_are_the_commands_own(shell: str, merge: bool) -> None:
    command = "printf 'no newline'; sh -c 'echo words >&2'; exit 3"
    outcome, stdout, stderr = run(shell, command, merge=merge)
    assert outcome == Exited(3)
    both = (b"no newlinewords\n", b"") if merge else (b"no newline", b"words\n")
    assert (stdout, stderr) == both


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("exit 0", Exited(0)),
        ("exit 255", Exited(255)),
        ("exec sh -c 'kill -KILL $$'", Signaled(9)),
        (("sh", "-c", "kill -TERM 0; sleep 10"), Signaled(15)),
        (("sh", "-c", "kill -SEGV $$"), Signaled(11)),
        (("no-such-command",), Exited(127)),
        (("exit", "4"), Exited(127)),
        (("-x",), Exited(127)),
    ],
)
def test_the_end_is_reported(
    shell: str, command: str | tuple[str, ...], outcome: Exited | Signaled
) -> None:
    assert run(shell, command, merge=False)[0] == outcome


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_that_dies_adds_no_words_of_the_reporting_shell(shell: str) -> None:
    assert run(shell, ("sh", "-c", "kill -KILL $$"), merge=False) == (Signaled(9), b"", b"")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_words_of_a_vector_arrive_as_they_are(shell: str) -> None:
    words = ("it's", "a!b\n", "$x", "\\n", "", "x" * 3000, '"', "*")
    _, stdout, _ = run(shell, ("printf", "%s|", *words), merge=False)
    assert stdout.decode() == "|".join(words) + "|"


def test_a_command_that_closes_its_output_is_reported_all_the_same() -> None:
    assert run("/bin/sh", "exec >&- 2>&-; exit 5", merge=False)[0] == Exited(5)


@given(
    output=st.binary(max_size=60),
    late=st.binary(max_size=10),
    status=st.integers(0, 255),
    cuts=st.lists(st.integers(0, 100), max_size=6),
)
def test_the_report_is_taken_out_wherever_the_stream_is_cut(
    output: bytes, late: bytes, status: int, cuts: list[int]
) -> None:
    stream = output + f"{TOKEN} over {status}\n".encode() + late
    ending = Ending(TOKEN)
    taken, edges = b"", sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for begin, end in pairwise(edges):
        taken += ending.feed(stream[begin:end])
    assert taken + ending.rest() == output + late
    assert ending.status == status


@given(st.lists(st.sampled_from([b"k3", TOKEN.encode(), b" over ", b"255", b"\n", b"x"])))
def test_what_is_no_report_is_passed_on(chunks: list[bytes]) -> None:
    ending = Ending(TOKEN)
    taken = b"".join(ending.feed(chunk) for chunk in chunks) + ending.rest()
    whole = b"".join(chunks)
    if ending.status is None:
        assert taken == whole
    else:
        assert len(taken) < len(whole)
