"""ssh_config files: read as ssh itself reads them, and refused where it would."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioshell.transports._ssh_config import SshConfig
from trioshell.transports._ssh_plan import Plan, Planner, Wishes, parse_jump

ME = getpass.getuser()
NO_WISHES = Wishes(None, None, (), None, "strict", None, 15.0, frozenset(), False)

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "config"
        file.write_text(text)
        return file

    return write


def plan(config: SshConfig, host: str, wishes: Wishes = NO_WISHES) -> Plan:
    return Planner(config, wishes).plan(host)


# -- against ssh itself ----------------------------------------------------------------------


def according_to_ssh(file: Path, host: str) -> dict[str, list[str]]:
    done = subprocess.run(
        ["ssh", "-G", "-F", str(file), host], capture_output=True, text=True, check=True
    )
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


def according_to_us(file: Path, host: str) -> dict[str, list[str]]:
    config = SshConfig(files=[file])
    found = config.lookup(host, None, ME)
    words = found.tokens(host, ME)
    return {
        "hostname": [words["h"]],
        "user": [words["r"]],
        "port": [words["p"]],
        "identityfile": list(found.values.get("identityfile", ())),
        "certificatefile": list(found.values.get("certificatefile", ())),
        "sendenv": list(found.values.get("sendenv", ())),
        "hostkeyalias": list(found.values.get("hostkeyalias", ())),
        "proxycommand": list(found.values.get("proxycommand", ())),
    }


CONFIGS = {
    "the first value counts": "Port 1\nPort 2\nHost a\n Port 3\nUser x\nHost *\n User y\n",
    "blocks": "Host a b\n User ab\nHost *.c !x.c\n User c\nHost *\n User rest\n Port 7\n",
    "negated alone": "Host !a\n User nobody\nHost a !a\n User never\n",
    "equals and quotes": 'Host="a"\nUser = "some body"\nPort=5\nHostKeyAlias   "al ias"\n',
    "case and tabs": "hOsT\ta\n\tuSeR\tcased\n\n   # comment\n\tPORT 9 # end\n",
    "collected": "IdentityFile /k1\nHost a\n IdentityFile /k2\nHost b\n IdentityFile /k3\n",
    "collected once": "IdentityFile /k1\nIdentityFile /k1\nCertificateFile /c\n",
    "environment": "SendEnv A B\nHost a\n SendEnv C* A\n",
    "host name": "Host a\n HostName %h.example.org\nHost x.c\n HostName 10.0.0.1\n",
    "match": "Match host a\n Port 1\nMatch host b,x.*\n Port 2\nMatch all\n Port 3\n",
    "match original": "Host a\n HostName b\nMatch host b\n User n\nMatch originalhost a\n Port 2\n",
    "match user": f"Match localuser {ME} user o\n Port 1\nMatch !user o\n Port 2\nUser o\n",
    "match equals": "Match host=a,b user=*\n Port 11\n",
    "match final": "Host a\n HostName z\nMatch final host z\n Port 77\nHost *\n User u\n",
    "match final collects": "IdentityFile /k1\nMatch final\n IdentityFile /k2\n",
    "match exec": 'Match exec "test %n = a"\n User yes\nMatch exec "exit 1"\n Port 2\n',
    "match never": "Match canonical\n Port 1\nMatch host a canonical\n Port 2\n",
    "proxy command": 'Host a\n ProxyCommand nc -X "%h" %p # not a comment\n',
    "ignore unknown": "IgnoreUnknown Foo*,bar\nFoobar 1\nBar 2\nPort 3\n",
    "no meaning": "ControlMaster auto\nLogLevel QUIET\nEscapeChar none\nPort 3\n",
    "old names": "IdentityFile2 /k\nGlobalKnownHostsFile2 /g\n",
    "empty": "",
}


@needs_ssh
@pytest.mark.parametrize("host", ["a", "b", "x.c", "y.c"])
@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_what_it_says_is_what_ssh_says(write: Write, text: str, host: str) -> None:
    file = write(text)
    expected = according_to_ssh(file, host)
    found = according_to_us(file, host)
    if "identityfile" not in text.lower():
        del found["identityfile"]  # ssh lists its defaults
    for keyword, values in found.items():
        if values or keyword in expected:
            assert values == expected.get(keyword, values), keyword


LINES = st.sampled_from(
    [
        "Host a",
        "Host b c",
        "Host *",
        "Host !a *",
        "Match host a",
        "Match host !b,*",
        "Match originalhost c user root",
        "Match final all",
        "Match !host a",
        "User root",
        "User u2",
        "Port 1",
        "Port 2",
        "HostName h1",
        "HostName %h.d",
        "IdentityFile /k1",
        "IdentityFile /k2",
        "SendEnv X Y",
        "HostKeyAlias al",
    ]
)


@needs_ssh
@given(lines=st.lists(LINES, max_size=14), host=st.sampled_from(["a", "b", "c"]))
@settings(max_examples=150)
def test_any_mixture_says_what_ssh_says(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], host: str
) -> None:
    file = tmp_path_factory.mktemp("mixture") / "config"
    file.write_text("\n".join(lines) + "\n")
    expected = according_to_ssh(file, host)
    found = according_to_us(file, host)
    if not found["identityfile"]:
        del found["identityfile"]
    # A second pass names them a second time to ssh, which is nothing to us.
    expected["sendenv"] = list(dict.fromkeys(expected.get("sendenv", [])))
    found["sendenv"] = list(dict.fromkeys(found["sendenv"]))
    for keyword, values in found.items():
        assert values == expected.get(keyword, []), keyword


def test_files_are_included_where_they_stand(home: Path, write: Write) -> None:
    (home / ".ssh" / "one").write_text("Host a\n User one\n")
    (home / ".ssh" / "two.conf").write_text("Port 2\n")
    (home / ".ssh" / "three.conf").write_text("Port 3\nInclude one\n")
    file = write(
        f"Host a\n Include {home}/.ssh/t*.conf nosuch ~/.ssh/one\n Port 9\nHost *\n User x\n"
    )
    assert (plan(SshConfig(files=[file]), "a").port, plan(SshConfig(files=[file]), "b").port) == (
        3,
        22,
    )
    assert plan(SshConfig(files=[file]), "a").user == "one"
    if shutil.which("ssh"):
        # ssh looks for ~ in the passwd file, and finds the relative ones in another place.
        assert according_to_ssh(file, "a")["port"] == ["3"]


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Port x", "line 1: Port takes a port from 1 to 65535, not 'x'"),
        ("\n\nHost a\n  Port 70000", "line 4: Port takes a port from 1 to 65535, not '70000'"),
        ("Nonsense yes", "line 1: Nonsense is not an option that ssh knows"),
        ("User", "line 1: User has no value"),
        ("User a b", "line 1: User takes one value, not 2"),
        ('User "a', "line 1: User has a quote that is not closed"),
        ("Host", "line 1: Host takes one or more patterns"),
        ("Match", "line 1: Match takes one or more criteria"),
        ("Match moon full", "line 1: Match does not know the criterion 'moon'"),
        ("Match host", "line 1: Match host takes a pattern"),
        ("IdentitiesOnly maybe", "line 1: IdentitiesOnly takes yes or no, not 'maybe'"),
        ("ServerAliveInterval soon", "line 1: ServerAliveInterval takes a time such as 30"),
        ("AddressFamily inet5", "line 1: AddressFamily takes any, inet or inet6, not 'inet5'"),
        ("StrictHostKeyChecking perhaps", "line 1: StrictHostKeyChecking takes yes, accept-new"),
        ("Include", "line 1: Include takes one or more files"),
        ("=", "line 1: = is not an option"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(write: Write, text: str, complaint: str) -> None:
    file = write(text)
    with pytest.raises(ValueError, match="config line") as caught:
        SshConfig(files=[file])
    assert str(caught.value).startswith(f"{file} {complaint}")


def test_a_file_that_includes_itself(write: Write) -> None:
    file = write("Host a\n")
    file.write_text(f"Include {file}\n")
    with pytest.raises(ValueError, match="Include goes too deep"):
        SshConfig(files=[file])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert plan(SshConfig(files=[missing], optional=[missing]), "a").port == 22
    with pytest.raises(ValueError, match=f"config file {missing} does not exist"):
        SshConfig(files=[missing])
    with pytest.raises(ValueError, match=f"config file {tmp_path} cannot be read: Is a directory"):
        SshConfig(files=[tmp_path])


@pytest.mark.parametrize(
    ("text", "host", "complaint"),
    [
        ("HostName %x", "a", "%x in '%x' stands for nothing"),
        ("IdentityFile ${NO_SUCH_VARIABLE}/k", "a", "no variable NO_SUCH_VARIABLE"),
        ("ProxyJump a b", "a", "takes one value"),
        ("ProxyJump -oProxyCommand=id", "b", r"jump host must be \[user@\]host\[:port\]"),
        ("ProxyJump a", "a", "a is its own jump host"),
        ("Host a\n ProxyJump b\nHost b\n ProxyJump a", "a", "jump over each other"),
        ("ProxyCommand nc %h %p", "a;id", "can't be put into the command"),
        ("Match exec \"echo '%n'\"\n Port 1", "$(id)", "can't be put into the command"),
    ],
)
def test_what_makes_no_sense_for_a_host(write: Write, text: str, host: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        plan(SshConfig(files=[write(text)]), host)


# -- what comes of it ------------------------------------------------------------------------


def test_the_caller_outweighs_the_options_and_these_the_files(write: Write) -> None:
    file = write("User file\nPort 1\nHostName f\nIdentityFile /file\n")
    config = SshConfig({"User": "option", "port": "2", "IdentityFile": "/option"}, [file])
    wishes = Wishes("wish", None, (Path("/wish"),), None, "strict", None, 15.0, frozenset(), False)
    found = plan(config, "a", wishes)
    assert (found.user, found.port, found.host) == ("wish", 2, "f")
    assert [str(key.file) for key in found.identities] == ["/wish", "/option", "/file"]


def test_tokens_and_variables_in_file_names(
    write: Write, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYS", "/keys")
    file = write(
        "Host a\n HostName b.c\n User u\n Port 5\n IdentityFile ~/%r@%h:%p-%n\n"
        "IdentityFile ${KEYS}/%%\nIdentityAgent %d/agent\nUserKnownHostsFile ~/kh /etc/%k none\n"
    )
    found = plan(SshConfig(files=[file]), "a")
    assert [str(key.file) for key in found.identities] == [f"{home}/u@b.c:5-a", "/keys/%"]
    assert found.agent == f"{home}/agent"
    assert found.known_hosts is not None
    assert [str(path) for path in found.known_hosts.files][:2] == [f"{home}/kh", "/etc/a"]


def test_the_way_over_jump_hosts(write: Write) -> None:
    file = write(
        "Host gate\n User guard\n HostName gate.example\nHost deep\n ProxyJump x@gate:99,inner\n"
        "Host none\n ProxyJump none\nHost *\n ProxyJump gate\nMatch originalhost gate,inner\n"
    )
    config = SshConfig(files=[write("Host gate\n ProxyJump none\n" + file.read_text())])
    found = plan(config, "a")
    assert found.via is not None
    assert (found.via.host, found.via.user, found.via.via) == ("gate.example", "guard", None)
    deep = plan(config, "deep")
    assert deep.via is not None
    assert deep.via.via is not None
    assert (deep.via.name, deep.via.via.name, deep.via.via.user, deep.via.via.port) == (
        "inner",
        "gate",
        "x",
        99,
    )
    assert plan(config, "none").via is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("host", (None, "host", None)),
        ("me@host:5", ("me", "host", 5)),
        ("[::1]:22", (None, "::1", 22)),
        ("me@[fe80::1]", ("me", "fe80::1", None)),
        ("ssh://me@host:5/", ("me", "host", 5)),
    ],
)
def test_a_jump_host(text: str, parts: tuple[str | None, str, int | None]) -> None:
    assert parse_jump(text) == parts


@pytest.mark.parametrize("text", ["", "a b", "-x", "me@-x", "a:b", "a:0", "a:99999", "::1", "@a"])
def test_what_is_no_jump_host(text: str) -> None:
    with pytest.raises(ValueError, match=r"jump host must be|takes a port"):
        parse_jump(text)


def test_the_environment_that_is_sent(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LC_A": "1", "LC_B": "2", "OTHER": "3"}.items():
        monkeypatch.setenv(name, value)
    file = write("SendEnv LC_* OTHER\nSendEnv -LC_B\nSetEnv X=a=b Y=\n")
    env = dict(plan(SshConfig(files=[file]), "a").env)
    assert {k: env[k] for k in ("LC_A", "OTHER", "X", "Y")} == {
        "LC_A": "1",
        "OTHER": "3",
        "X": "a=b",
        "Y": "",
    }
    assert "LC_B" not in env


def test_what_is_not_honoured_is_listed_once_and_only_if_it_is_on(write: Write) -> None:
    file = write(
        "ForwardAgent no\nHost a\n ForwardAgent yes\nHost b\n ForwardAgent yes\n"
        "LocalForward 1 x:2\nVerifyHostKeyDNS no\nRemoteCommand none\nControlMaster auto\n"
    )
    found = {word: str(place) for word, place in SshConfig(files=[file]).not_honoured().items()}
    assert found == {"forwardagent": f"{file} line 3", "localforward": f"{file} line 6"}


def test_an_option_that_can_not_be_honoured_is_refused() -> None:
    with pytest.raises(ValueError, match=r"LocalForward.* cannot be honoured.*'openssh' can"):
        SshConfig({"LocalForward": "1 x:2"})
    with pytest.raises(ValueError, match=r"Port in options\['Port'\] takes a port"):
        SshConfig({"Port": "x"})
    assert not SshConfig({"ForwardAgent": "yes"}).not_honoured()


def test_ten_thousand_hosts_cost_one_reading(write: Write) -> None:
    text = "".join(f"Host h{n}\n HostName 10.0.{n // 250}.{n % 250}\n" for n in range(2000))
    config = SshConfig(files=[write(text)])
    write("Port 1\n")  # not read again
    assert plan(config, "h1999").host == "10.0.7.249"
    assert plan(config, "other").port == 22
