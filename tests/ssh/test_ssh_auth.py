"""Who we are and who they are: keys, certificates, agents, passwords, known hosts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel

from trioshell import Exited, Task, Unreachable, run
from trioshell._results import Outcome
from trioshell._targets import resolve_targets
from trioshell.testing import SshCluster
from trioshell.transports import Job, SshTransport

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd, Users

JOB = Job("true", resolve_targets("any"))


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, capture_output=True)


def client_config(server: Sshd, folder: Path, *lines: str) -> Path:
    """A config that leads to the server and says nothing of keys, agents or known hosts."""
    config = folder / "config"
    start = ["Host *", "HostName 127.0.0.1", f"Port {server.port}", "User root"]
    config.write_text("\n".join([*start, *lines]) + "\n")
    return config


async def outcome(transport: SshTransport, node: str = "any") -> Outcome:
    worker = await run("true", node, transport=transport)
    return worker.results()[node].outcome


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Unreachable), outcome
    return outcome.reason


# -- keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_a_key_file_of_any_kind(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    key = tmp_path / "key"
    keygen("-t", kind, "-N", "", "-f", key)
    config = client_config(sshd, tmp_path, "IdentityAgent none")
    transport = SshTransport(config=config, known_hosts=sshd.known_hosts, identity_files=[key])
    refused = reason(await outcome(transport))
    assert "refused the login of user 'root'" in refused
    assert str(key) in refused
    with authorized(sshd, tmp_path / "key.pub"):
        assert await outcome(transport) == Exited(0)


class authorized:  # noqa: N801  # reads as a word
    """Inside, the server lets in who has this key (or what the line says)."""

    def __init__(self, server: Sshd, public: Path | str) -> None:
        self.file = server.directory / "authorized_keys"
        self.line = public if isinstance(public, str) else public.read_text()

    def __enter__(self) -> None:
        self.before = self.file.read_text()
        self.file.write_text(self.before + self.line)

    def __exit__(self, *_: object) -> None:
        self.file.write_text(self.before)


async def test_the_default_keys_are_those_of_the_home(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    config = client_config(sshd, tmp_path)
    transport = SshTransport(config=config, known_hosts=sshd.known_hosts)
    assert "refused the login" in reason(await outcome(transport))
    (tmp_path / ".ssh").mkdir()
    shutil.copy(sshd.identity_file, tmp_path / ".ssh" / "id_ed25519")
    assert await outcome(transport) == Exited(0)


async def test_a_key_with_a_certificate(start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    ca, key = tmp_path / "ca", tmp_path / "key"
    keygen("-t", "ed25519", "-N", "", "-f", ca)
    keygen("-t", "ed25519", "-N", "", "-f", key)
    server = start_sshd(f"TrustedUserCAKeys {ca}.pub")
    tmp_path.chmod(0o755)
    config = client_config(server, tmp_path, "IdentityAgent none", f"IdentityFile {key}")
    transport = SshTransport(config=config, known_hosts=server.known_hosts)
    assert "refused the login" in reason(await outcome(transport))
    keygen("-s", ca, "-I", "me", "-n", "root", tmp_path / "key.pub")
    transport = SshTransport(config=config, known_hosts=server.known_hosts)
    assert await outcome(transport) == Exited(0)
    # The same under another name, as CertificateFile has it.
    (tmp_path / "key-cert.pub").rename(tmp_path / "elsewhere.pub")
    lines = (f"IdentityFile {key}", f"CertificateFile {tmp_path}/elsewhere.pub")
    config = client_config(server, tmp_path, "IdentityAgent none", *lines)
    transport = SshTransport(config=config, known_hosts=server.known_hosts)
    assert await outcome(transport) == Exited(0)


@pytest.mark.parametrize("form", ["openssh", "PEM"])
async def test_a_key_with_a_passphrase(sshd: Sshd, tmp_path: Path, form: str) -> None:
    key = tmp_path / "key"
    kind = ["-t", "rsa", "-m", "PEM"] if form == "PEM" else ["-t", "ed25519", "-a", "1"]
    keygen(*kind, "-N", "open sesame", "-f", key)
    config = client_config(sshd, tmp_path, "IdentityAgent none")
    options: dict[str, Any] = {
        "config": config,
        "known_hosts": sshd.known_hosts,
        "identity_files": [key],
    }
    if form == "openssh":
        pytest.importorskip("bcrypt", reason="asyncssh unlocks this form with it")
    with pytest.raises(ValueError, match=rf"{key} .* needs a passphrase"):
        SshTransport(**options).check(JOB)
    asked = []

    def answer(node: str, prompt: str) -> str:
        asked.append((node, prompt))
        return "open sesame"

    with authorized(sshd, tmp_path / "key.pub"):
        async with Task(transport=SshTransport(password=answer, **options)) as task:
            worker = task.shell("true", nodes="any[1-3]")
        assert {r.outcome for r in worker.results().values()} == {Exited(0)}
        assert [prompt for _, prompt in asked] == [f"Enter passphrase for key '{key}': "]
        wrong = SshTransport(password=lambda node, prompt: "wrong", **options)
        assert f"key file {key} cannot be unlocked" in reason(await outcome(wrong))


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A running ssh-agent without keys, which SSH_AUTH_SOCK leads to."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it says so when it listens
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    yield path
    process.terminate()
    with process:
        pass


def add_to_agent(key: Path) -> None:
    subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True)


async def test_the_keys_of_an_agent(sshd: Sshd, tmp_path: Path, agent: Path) -> None:
    other = tmp_path / "other"
    keygen("-t", "ed25519", "-N", "", "-f", other)
    config = client_config(sshd, tmp_path, "IdentityFile none")
    transport = SshTransport(config=config, known_hosts=sshd.known_hosts)
    assert "refused the login" in reason(await outcome(transport))
    add_to_agent(other)
    add_to_agent(sshd.identity_file)
    async with transport:
        async with Task(transport=transport, fanout=20) as task:
            worker = task.shell("true", nodes="any[1-20]")
        assert {r.outcome for r in worker.results().values()} == {Exited(0)}
        assert open_sockets_to(agent) == 1
    assert open_sockets_to(agent) == 0


def open_sockets_to(path: Path) -> int:
    """How many connections of this process lead to this socket."""
    listed = subprocess.run(["ss", "-xpH"], capture_output=True, text=True, check=True).stdout
    ours = f"pid={os.getpid()},"
    peers = {line.split()[5] for line in listed.splitlines() if str(path) in line}
    return sum(
        line.split()[5] in peers or (line.split()[7] in peers and ours in line)
        for line in listed.splitlines()
        if ours in line
    )


async def test_identities_only_keeps_to_the_named_keys_of_an_agent(
    sshd: Sshd, tmp_path: Path, agent: Path
) -> None:
    add_to_agent(sshd.identity_file)
    public = tmp_path / "named.pub"
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "named")
    lines = ("IdentitiesOnly yes", f"IdentityFile {public}")
    config = client_config(sshd, tmp_path, *lines)
    transport = SshTransport(config=config, known_hosts=sshd.known_hosts)
    assert "refused the login" in reason(await outcome(transport))
    # A public key as IdentityFile names a key of the agent.
    shutil.copy(f"{sshd.identity_file}.pub", public)
    transport = SshTransport(config=config, known_hosts=sshd.known_hosts)
    assert await outcome(transport) == Exited(0)


# -- passwords -------------------------------------------------------------------------------


async def _answer_later(node: str, prompt: str, password: str) -> str:
    await trio.lowlevel.checkpoint()
    return password


@pytest.mark.parametrize("way", ["string", "function", "async function"])
@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
async def test_a_password(way: str, method: str) -> None:
    async with SshCluster(1, password="open sesame") as cluster:

        def transport(password: str) -> SshTransport:
            ways: dict[str, Any] = {
                "string": password,
                "function": lambda node, prompt: password,
                "async function": lambda node, prompt: _answer_later(node, prompt, password),
            }
            return cluster.transport(
                password=ways[way],
                options={
                    "IdentityFile": "none",
                    "IdentityAgent": "none",
                    "PreferredAuthentications": method,
                    "PubkeyAuthentication": "no",
                },
            )

        assert await outcome(transport("open sesame"), "node1") == Exited(0)
        assert "refused the login" in reason(await outcome(transport("wrong"), "node1"))


async def test_a_password_on_a_real_server(sshd: Sshd, users: Users, tmp_path: Path) -> None:
    config = client_config(sshd, tmp_path, "IdentityFile none", "IdentityAgent none")
    options: dict[str, Any] = {"config": config, "known_hosts": sshd.known_hosts}
    asked = []

    def answer(node: str, prompt: str) -> str | None:
        asked.append((node, prompt))
        return None if node == "any1" else users.password

    transport = SshTransport(password=answer, user=users.sh, **options)
    async with Task(transport=transport) as task:
        worker = task.shell("true", nodes="any[1-2]")
    results = worker.results()
    assert "refused the login" in reason(results["any1"].outcome)
    assert results["any2"].outcome == Exited(0)
    assert ("any2", f"{users.sh}@any2's password: ") in asked
    assert len(asked) == 2  # each once, so that a mistake locks nobody out


async def test_a_password_callback_that_fails_costs_one_node() -> None:
    def answer(node: str, prompt: str) -> str:
        raise RuntimeError("the vault is closed")

    async with SshCluster(1, password="open sesame") as cluster:
        options = {"PubkeyAuthentication": "no"}
        failed = reason(await outcome(cluster.transport(password=answer, options=options), "node1"))
        assert "the vault is closed" in failed


# -- host keys -------------------------------------------------------------------------------


async def test_a_new_host_key_is_accepted_and_written_down(sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "new" / "known_hosts"

    def transport(**options: Any) -> SshTransport:
        return SshTransport(**sshd.options(known_hosts=known, **options))

    with pytest.raises(ValueError, match=f"known_hosts file {known} does not exist"):
        await outcome(transport())
    assert await outcome(transport(host_keys="accept-new")) == Exited(0)
    host_key = (sshd.directory / "host_key.pub").read_text().split()[:2]
    assert known.read_text().split() == [f"[127.0.0.1]:{sshd.port}", *host_key]
    assert await outcome(transport()) == Exited(0)
    # Another key than the known one is not new, but changed.
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "other")
    other = (tmp_path / "other.pub").read_text()
    known.write_text(f"# comment\n[127.0.0.1]:{sshd.port} {other}")
    changed = reason(await outcome(transport(host_keys="accept-new")))
    assert "has changed: it shows ssh-ed25519 SHA256:" in changed
    assert f"{known} line 2 has another" in changed
    assert await outcome(transport(host_keys="off")) == Exited(0)


@pytest.mark.parametrize("known_by", ["ed25519", "rsa", "both"])
async def test_a_hashed_host_key(
    start_sshd: Callable[..., Sshd], tmp_path: Path, known_by: str
) -> None:
    # The server has keys of two types. Whichever we know it by, it must show us that one.
    rsa = tmp_path / "rsa"
    keygen("-t", "rsa", "-N", "", "-f", rsa)
    server = start_sshd(f"HostKey {rsa}")
    ed25519 = (server.directory / "host_key.pub").read_text()
    keys = {"ed25519": ed25519, "rsa": (tmp_path / "rsa.pub").read_text()}
    known = tmp_path / "known_hosts"
    others = "".join(f"other{n} {ed25519}" for n in range(20))  # so that this type is tried first
    own = [f"[127.0.0.1]:{server.port} {keys[kind]}" for kind in keys if known_by in (kind, "both")]
    known.write_text(others + "".join(own))
    keygen("-H", "-f", known)
    assert known.read_text().startswith("|1|")
    assert await outcome(SshTransport(**server.options(known_hosts=known))) == Exited(0)
    # A key of a type that we know it by, but another one, has changed.
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "new")
    new = (tmp_path / "new.pub").read_text()
    known.write_text(f"[127.0.0.1]:{server.port} {new}")
    keygen("-H", "-f", known)
    assert "has changed" in reason(await outcome(SshTransport(**server.options(known_hosts=known))))
    # And one that stands under other names only is not known.
    known.write_text(others)
    keygen("-H", "-f", known)
    assert "not known" in reason(await outcome(SshTransport(**server.options(known_hosts=known))))


async def test_hashed_names_beside_a_host_certificate_and_a_revocation(
    start_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    ca, host_key = tmp_path / "ca", tmp_path / "hostkey"
    for file in (ca, host_key):
        keygen("-t", "ed25519", "-N", "", "-f", file)
    keygen("-s", ca, "-I", "host", "-h", "-n", "127.0.0.1", tmp_path / "hostkey.pub")
    server = start_sshd(f"HostKey {host_key}", f"HostCertificate {tmp_path}/hostkey-cert.pub")
    known = tmp_path / "known_hosts"
    known.write_text(f"other {(tmp_path / 'ca.pub').read_text()}")
    keygen("-H", "-f", known)
    hashed = known.read_text()
    known.write_text(f"{hashed}@cert-authority * {(tmp_path / 'ca.pub').read_text()}")
    assert await outcome(SshTransport(**server.options(known_hosts=known))) == Exited(0)
    # The plain key, under a hashed name, and revoked under another line.
    own = f"[127.0.0.1]:{server.port} {(tmp_path / 'hostkey.pub').read_text()}"
    known.write_text(own)
    keygen("-H", "-f", known)
    assert await outcome(SshTransport(**server.options(known_hosts=known))) == Exited(0)
    known.write_text(known.read_text() + f"@revoked * {(tmp_path / 'hostkey.pub').read_text()}")
    assert "revoked" in reason(await outcome(SshTransport(**server.options(known_hosts=known))))


async def test_a_host_certificate(start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    keygen("-t", "ed25519", "-N", "", "-f", ca)
    host_key = tmp_path / "hostkey"
    keygen("-t", "ed25519", "-N", "", "-f", host_key)
    keygen("-s", ca, "-I", "host", "-h", "-n", "good", tmp_path / "hostkey.pub")
    server = start_sshd(f"HostKey {host_key}", f"HostCertificate {tmp_path}/hostkey-cert.pub")
    known = tmp_path / "known_hosts"
    public = (tmp_path / "ca.pub").read_text()
    known.write_text(f"@cert-authority * {public}")

    def transport(alias: str) -> SshTransport:
        return SshTransport(**server.options(known_hosts=known), options={"HostKeyAlias": alias})

    assert await outcome(transport("good")) == Exited(0)
    assert "not accepted" in reason(await outcome(transport("bad")))
    known.write_text(f"@cert-authority * {public}@revoked * {public}")
    assert f"revoked by {known} line 2" in reason(await outcome(transport("good")))


async def test_a_rule_of_a_file_does_not_switch_the_check_off(sshd: Sshd, tmp_path: Path) -> None:
    config = client_config(
        sshd, tmp_path, f"IdentityFile {sshd.identity_file}", "StrictHostKeyChecking no"
    )
    (tmp_path / "none").touch()
    options: dict[str, Any] = {"config": config, "known_hosts": tmp_path / "none"}
    with pytest.warns(UserWarning, match=r"stricthostkeychecking in .*config line 6"):
        refused = await outcome(SshTransport(**options))
    assert "is not known" in reason(refused)
    for asked in ({"options": {"StrictHostKeyChecking": "no"}}, {"host_keys": "off"}):
        assert await outcome(SshTransport(**options, **asked)) == Exited(0)  # without a warning
