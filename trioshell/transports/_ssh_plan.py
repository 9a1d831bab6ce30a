"""The way to one host, worked out from the caller's settings and the user's files."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from trioshell.transports import _ssh_options as known
from trioshell.transports._ssh_config import HostSettings, SshConfig
from trioshell.transports._ssh_identities import Identity
from trioshell.transports._ssh_known_hosts import KnownHosts
from trioshell.transports._ssh_tokens import expand_command, expand_path

HostKeys: TypeAlias = Literal["strict", "accept-new", "off"]

_FAMILIES: Final = {
    "any": socket.AF_UNSPEC,
    "inet": socket.AF_INET,
    "inet6": socket.AF_INET6,
}

_STRICT: Final[dict[str, HostKeys]] = {
    "yes": "strict",
    "true": "strict",
    "ask": "strict",
    "accept-new": "accept-new",
}
_UNCHECKED: Final = frozenset({"no", "off", "false"})

_USER_KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_GLOBAL_KNOWN_HOSTS: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")

# A chain of jump hosts in which each jumps over the next must end somewhere.
_MOST_JUMPS: Final = 8

# How many plans are kept for the next time.
_MOST_PLANS: Final = 4096


@dataclass(frozen=True)
class Wishes:
    """What the caller of `SshTransport` asked for; it outweighs every file.

    Attributes: as the parameters of `SshTransport`.
    """

    user: str | None
    port: int | None
    identity_files: tuple[Path, ...]
    known_hosts: tuple[Path, ...] | None
    host_keys: HostKeys
    jump: str | None
    keepalive: float
    asked: frozenset[str]  # keywords of options=, in lower case
    has_password: bool


@dataclass(frozen=True)
class Plan:
    """How to reach one host.

    Attributes:
        name: the node, as the caller named it.
        host: the name or address to connect to.
        alias: the name under which its host key is known.
        via: the jump host, if there is one.
        proxy_command: what to run instead of connecting, if anything.
        default_identities: True if the keys in ``~/.ssh`` are meant, for nobody names others.
        known_hosts: where its host key is looked up; None to trust any.
        accept_new: True to trust, and write down, the key of a host that is not known.
        agent: the socket of the ssh-agent, if one may be asked.
        identities_only: True to use only those of the agent's keys that `identities` names.
        keepalive: seconds of silence after which the host is asked whether it is there;
            0 for never.
        env: variables for the command.
        settings: the keywords of the config that asyncssh takes, by asyncssh's names.
        keywords: where each of them was said, for messages.
    """

    name: str
    host: str
    port: int
    user: str
    alias: str
    via: Plan | None = None
    proxy_command: str | None = None
    known_hosts: KnownHosts | None = None
    accept_new: bool = False
    identities: tuple[Identity, ...] = ()
    default_identities: bool = False
    certificates: tuple[Path, ...] = ()
    agent: str | None = None
    identities_only: bool = False
    family: int = socket.AF_UNSPEC
    bind_address: str | None = None
    connect_timeout: float = 0.0
    keepalive: float = 15.0
    forward_agent: bool = False
    env: tuple[tuple[str, str], ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    keywords: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for what may share a connection: one name, over one way, as one user.

        Two names of one address may not: the config may tell them apart by their keys.
        """
        over = self.via.key if self.via else self.proxy_command
        return (self.name, self.host, self.port, self.user, over)

    @property
    def where(self) -> str:
        """The target for messages: with the address if that is not its name."""
        at = self.host if self.port == 22 else f"{self.host} port {self.port}"
        return self.name if at == self.name else f"{self.name} ({at})"


class Planner:
    """Works out the way to each host.

    Args:
        config: the files and options of the caller.
        wishes: the caller's other parameters.
    """

    def __init__(self, config: SshConfig, wishes: Wishes) -> None:
        self._config = config
        self._wishes = wishes
        self._known_hosts: dict[tuple[tuple[Path, ...], bool], KnownHosts] = {}
        self._plans: dict[str, Plan] = {}
        self._local_user = getpass.getuser()

    @property
    def blocks(self) -> bool:
        """True if `plan` runs commands (`Match exec`), so that a thread should call it."""
        return self._config.has_exec

    def plan_wishes(self) -> Plan:
        """What holds whatever the host is: a plan for none in particular."""
        settings = HostSettings()
        if self._wishes.user is not None:
            settings.values["user"] = (self._wishes.user,)
        return self._plan("", settings, jump=None, depth=0)

    def plan(self, node: str) -> Plan:
        """The way to `node`.

        Raises:
            ValueError: what the config says of this host can't be done, or makes no sense.
        """
        known = self._plans.get(node)
        if known is None:
            wishes = self._wishes
            settings = self._config.lookup(node, wishes.user, self._local_user, wishes.port)
            known = self._plan(node, settings, jump=wishes.jump, depth=0)
            if len(self._plans) >= _MOST_PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[node] = known
        return known

    def _plan(self, name: str, settings: HostSettings, jump: str | None, depth: int) -> Plan:
        if depth > _MOST_JUMPS:
            raise ValueError(f"the jump hosts on the way to {name} jump over each other")
        words = settings.tokens(name, self._local_user)
        port = int(settings.first("port") or 22)
        host = words["h"]
        jump = jump if jump is not None else self._proxy_jump(settings)
        proxy_command = None if jump else _proxy_command(settings, words)
        checked, accept_new = self._host_key_rule(settings)
        return Plan(
            name=name,
            host=host,
            port=port,
            user=settings.first("user") or self._local_user,
            alias=settings.first("hostkeyalias") or host,
            via=self._over(jump, name, depth) if jump else None,
            proxy_command=proxy_command,
            known_hosts=self._find_known_hosts(settings, words) if checked else None,
            accept_new=accept_new,
            identities=self._identities(settings, words),
            default_identities=not self._wishes.identity_files
            and "identityfile" not in settings.values,
            certificates=tuple(
                expand_path(file, words) for file in _not_none(settings, "certificatefile")
            ),
            agent=_agent(settings, words),
            identities_only=settings.flag("identitiesonly", default=False),
            family=_FAMILIES[settings.first("addressfamily") or "any"],
            bind_address=settings.first("bindaddress"),
            connect_timeout=known.parse_seconds(settings.first("connecttimeout") or "0"),
            keepalive=self._keepalive(settings),
            forward_agent=(settings.first("forwardagent") or "no").lower() in ("yes", "true")
            and "forwardagent" in self._wishes.asked,
            env=tuple(_environment(settings).items()),
            settings=tuple(_asyncssh_settings(settings, self._wishes.has_password)),
            keywords={word: str(place) for word, place in settings.places.items()},
        )

    def _proxy_jump(self, settings: HostSettings) -> str | None:
        jump = settings.first("proxyjump")
        return None if jump is None or jump.lower() == "none" else jump

    def _over(self, jump: str, name: str, depth: int) -> Plan:
        """The plan of the last of the comma-separated jump hosts, which jumps over the rest."""
        before, _, last = jump.rpartition(",")
        user, host, port = parse_jump(last)
        settings = self._config.lookup(host, user, self._local_user, port)
        if not before and host == name:
            raise ValueError(f"{name} is its own jump host")
        return self._plan(host, settings, jump=before or None, depth=depth + 1)

    def _host_key_rule(self, settings: HostSettings) -> tuple[bool, bool]:
        """Whether host keys are checked, and whether new ones are accepted."""
        said = settings.first("stricthostkeychecking")
        rule = self._wishes.host_keys
        if said and rule == "strict":
            asked = "stricthostkeychecking" in self._wishes.asked
            # From a file, "no" is not honoured: SshConfig has it among those it warns of.
            rule = "off" if asked and said.lower() in _UNCHECKED else _STRICT.get(said, rule)
        return rule != "off", rule == "accept-new"

    def _find_known_hosts(self, settings: HostSettings, words: Mapping[str, str]) -> KnownHosts:
        files = self._wishes.known_hosts
        if files is None:
            names = [
                *settings.values.get("userknownhostsfile", _USER_KNOWN_HOSTS),
                *settings.values.get("globalknownhostsfile", _GLOBAL_KNOWN_HOSTS),
            ]
            files = tuple(expand_path(name, words) for name in names if name.lower() != "none")
        hashed = settings.flag("hashknownhosts", default=False)
        if (files, hashed) not in self._known_hosts:
            self._known_hosts[files, hashed] = KnownHosts(files, hashed=hashed)
        return self._known_hosts[files, hashed]

    def _identities(self, settings: HostSettings, words: Mapping[str, str]) -> tuple[Identity, ...]:
        wished = [Identity(file, "identity_files", True) for file in self._wishes.identity_files]
        place = settings.places.get("identityfile")
        said = [
            Identity(expand_path(file, words), f"IdentityFile in {place}")
            for file in _not_none(settings, "identityfile")
        ]
        return (*wished, *said)

    def _keepalive(self, settings: HostSettings) -> float:
        said = settings.first("serveraliveinterval")
        if said is None or self._wishes.keepalive != DEFAULT_KEEPALIVE:
            return self._wishes.keepalive
        return known.parse_seconds(said)


DEFAULT_KEEPALIVE: Final = 15.0


def parse_jump(text: str) -> tuple[str | None, str, int | None]:
    """User, host and port of one jump host: ``[user@]host[:port]`` or an ``ssh://`` address.

    Raises:
        ValueError: it is none of them.
    """
    bare = text.strip().removeprefix("ssh://").rstrip("/")
    found = re.fullmatch(r"(?:([^@\s]+)@)?(?:\[([^\]\s]+)\]|([^:@\s\[\]]+))(?::([0-9]+))?", bare)
    host = (found[2] or found[3]) if found else ""
    if found is None or host.startswith("-"):
        raise ValueError(f"jump host must be [user@]host[:port], not {text!r}")
    return found[1], host, known.parse_port(found[4]) if found[4] else None


def _not_none(settings: HostSettings, keyword: str) -> list[str]:
    return [value for value in settings.values.get(keyword, ()) if value.lower() != "none"]


def _proxy_command(settings: HostSettings, words: Mapping[str, str]) -> str | None:
    command = settings.first("proxycommand")
    if command is None or command.lower() == "none":
        return None
    return expand_command(command, words)


def _agent(settings: HostSettings, words: Mapping[str, str]) -> str | None:
    said = settings.first("identityagent")
    if said is not None and said.lower() == "none":
        return None
    if said is None or said == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if said.startswith("$") and not said.startswith("${"):
        return os.environ.get(said[1:]) or None
    return str(expand_path(said, words))


def _environment(settings: HostSettings) -> dict[str, str]:
    patterns = settings.values.get("sendenv", ())
    env: dict[str, str] = {}
    for pattern in patterns:
        sent = {name for name in os.environ if _fits(name, pattern.removeprefix("-"))}
        if pattern.startswith("-"):
            env = {name: value for name, value in env.items() if name not in sent}
        else:
            env |= {name: os.environ[name] for name in sorted(sent)}
    for assignment in settings.values.get("setenv", ()):
        name, _, value = assignment.partition("=")
        env[name] = value
    return env


def _fits(name: str, pattern: str) -> bool:
    return bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), name))


# Keywords whose value is a list of algorithms, and asyncssh's name for it.
ALGORITHMS: Final = {
    "kexalgorithms": "kex_algs",
    "ciphers": "encryption_algs",
    "macs": "mac_algs",
    "casignaturealgorithms": "signature_algs",
    "hostkeyalgorithms": "server_host_key_algs",
}


def _asyncssh_settings(settings: HostSettings, has_password: bool) -> Sequence[tuple[str, Any]]:
    found: dict[str, Any] = {
        "tcp_keepalive": settings.flag("tcpkeepalive", default=True),
        "public_key_auth": (settings.first("pubkeyauthentication") or "yes").lower()
        not in ("no", "false"),
        "password_auth": has_password and settings.flag("passwordauthentication", default=True),
        "kbdint_auth": has_password and settings.flag("kbdinteractiveauthentication", default=True),
        "gss_auth": settings.flag("gssapiauthentication", default=False),
        "gss_kex": settings.flag("gssapikeyexchange", default=False),
        "gss_delegate_creds": settings.flag("gssapidelegatecredentials", default=False),
        "compression_algs": "zlib@openssh.com,none"
        if settings.flag("compression", default=False)
        else "none",
    }
    for keyword, name in ALGORITHMS.items():
        value = settings.first(keyword)
        if value is not None:
            found[name] = value
    if preferred := settings.first("preferredauthentications"):
        found["preferred_auth"] = preferred
    if provider := settings.first("pkcs11provider"):
        found["pkcs11_provider"] = None if provider.lower() == "none" else provider
    limit = settings.values.get("rekeylimit", ())
    if limit and limit[0].lower() not in ("default", "none"):
        found["rekey_bytes"] = limit[0].lower()
    if len(limit) > 1 and limit[1].lower() != "none":
        found["rekey_seconds"] = known.parse_seconds(limit[1])
    return tuple(found.items())
