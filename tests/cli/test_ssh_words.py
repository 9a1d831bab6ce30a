"""``-o`` as users of ssh write it, and what our transports are given of it."""

from __future__ import annotations

import pytest

from trioshell.cli._options import Options
from trioshell.cli._parser import UsageError
from trioshell.cli._ssh_words import SshWords, parse_ssh_words
from trioshell.cli._ways import make_transport
from trioshell.transports import OpenSshTransport, SshTransport


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", SshWords()),
        ("-p 2022 -l me", SshWords(port=2022, user="me")),
        ("-p2022 -lme", SshWords(port=2022, user="me")),
        ("-i a -ib", SshWords(identity_files=["a", "b"])),
        ("-J jump -F 'a file'", SshWords(jump="jump", config="a file")),
        ("-oPort=22", SshWords(options={"Port": "22"})),
        ("-o 'Port 22'", SshWords(options={"Port": "22"})),
        ("-o 'Port = 22'", SshWords(options={"Port": "22"})),
        ("-o SetEnv=A=b", SshWords(options={"SetEnv": "A=b"})),
        ("-4C", SshWords(options={"AddressFamily": "inet", "Compression": "yes"})),
        ("-Txnp 7", SshWords(port=7)),
        ("-c aes128-ctr", SshWords(options={"Ciphers": "aes128-ctr"})),
        ("-p 1 -p 2 -oPort=3 -oport=4", SshWords(port=1, options={"Port": "3"})),
    ],
)
def test_what_is_found(text: str, found: SshWords) -> None:
    assert parse_ssh_words(text) == found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("host", "'host' is not an option of ssh"),
        ("-", "'-' is not an option of ssh"),
        ("-p", "ssh's option -p needs a value"),
        ("-p x", "'x' is not a port from 1 to 65535"),
        ("-p 65536", "'65536' is not a port from 1 to 65535"),
        ("-W a:1", "ssh's option -W cannot be used here"),
        ("-t", "ssh's option -t cannot be used here"),
        ("-oPort", "'Port' is not KEYWORD=VALUE"),
        ("-o 'a", "cannot be split into words"),
        ("-oStrictHostKeyChecking=maybe", "StrictHostKeyChecking is yes, accept-new or no"),
    ],
)
def test_what_is_wrong_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=r"^option -o: ") as caught:
        make_transport(Options(ssh_options=text), warn=pytest.fail)
    assert sentence in str(caught.value)


def test_the_transports_are_made() -> None:
    for name, kind in (("ssh", SshTransport), ("openssh", OpenSshTransport)):
        text = "-p 2022 -oStrictHostKeyChecking=no -oCompression=yes"
        options = Options(transport=name, user="me", ssh_options=text)
        assert isinstance(make_transport(options, warn=pytest.fail), kind)


def test_others_are_left_to_the_library() -> None:
    assert make_transport(Options(transport="exec"), warn=pytest.fail) == "exec"
    assert make_transport(Options(transport="mine"), warn=pytest.fail) == "mine"


def test_a_setting_that_is_not_honoured_is_told() -> None:
    told: list[str] = []
    make_transport(Options(transport="ssh", ssh_path="/usr/bin/sshpass ssh -v"), told.append)
    make_transport(Options(transport="openssh", ssh_path="/usr/bin/ssh"), told.append)
    assert told == ["the setting ssh_path (/usr/bin/sshpass ssh -v) is not honoured"]


def test_a_setting_that_the_transport_refuses_is_its_sentence() -> None:
    with pytest.raises(ValueError, match="user"):
        make_transport(Options(transport="ssh", user="a\nb"), warn=pytest.fail)
