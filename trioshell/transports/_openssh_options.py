"""The parameters of `OpenSshTransport`: checked, and turned into the arguments of ssh(1)."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any, Final, Literal, TypeAlias

from trioshell._arguments import check_files

HostKeys: TypeAlias = Literal["strict", "accept-new", "off"]
Files: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"

# No terminal is wanted, and what the user's config may say for interactive logins (a local
# command, forwarded ports, a connection that goes into the background and keeps our pipes
# open) has no place in a command's session. They can't be overridden: we rely on them.
_ALWAYS: Final = {
    "RequestTTY": "no",
    "RemoteCommand": "none",
    "EscapeChar": "none",
    "PermitLocalCommand": "no",
    "ClearAllForwardings": "yes",
    "ControlMaster": "no",
    "LogLevel": "VERBOSE",
}
# What a caller may ask for by options=, and nobody gets unasked.
_UNLESS_ASKED: Final = ("ForwardAgent=no", "ForwardX11=no", "Tunnel=no", "UpdateHostKeys=no")

_HOST_KEYS: Final[Mapping[str, str]] = {"strict": "yes", "accept-new": "accept-new", "off": "no"}

# ssh puts the name into command lines (ProxyCommand, Match exec), where these would be for
# the shell; it takes what stands before an @ for the user, and ssh://... for an address.
_NOT_IN_A_NAME: Final = re.compile(r"""[\s\x00-\x1f\x7f'"`$\\;&<>|(){}@/]|^-|^$""")
_JUMP: Final = re.compile(
    r"(?:ssh://)?(?:([^@\s/]+)@)?(?:\[([^\]\s]+)\]|([^:@\s/\[\]]+))(?::([0-9]{1,5}))?/?"
)


@dataclass(frozen=True, slots=True)
class SshOptions:
    """What the caller wants of ssh, all of it checked.

    Attributes: as the parameters of `OpenSshTransport`.
        config: None for ssh's own files; () for none.
        options: as ``-o`` takes them.
        asks: True if somebody answers when ssh asks for a password.
    """

    user: str | None
    port: int | None
    identity_files: tuple[Path, ...]
    known_hosts: tuple[Path, ...] | None
    host_keys: HostKeys
    config: tuple[Path, ...] | None
    jump: str | None
    keepalive: float
    options: tuple[str, ...]
    asks: bool

    @property
    def is_strict(self) -> bool:
        """True if only host keys are taken that a file knows."""
        asked = any(one.strip().lower().startswith("stricthostkeychecking") for one in self.options)
        return self.host_keys == "strict" and not asked

    def argv(
        self, connect_timeout: float, *, config_file: Path | None = None, more: Iterable[str] = ()
    ) -> list[str]:
        """The program and its options; what is missing is ``--``, the host and the command.

        Args:
            connect_timeout: seconds, passed on to ssh.
            config_file: the one file to read; to be given if there are several in `config`.
            more: further options as ``-o`` takes them, before all others.
        """
        common = [*self._config_argv(config_file), *self._said(connect_timeout, more)]
        for file in self.identity_files:
            # Not -i, which looks for the file before it has replaced what % stands for.
            common += ["-o", f'IdentityFile="{_literal(file)}"']
        argv = [*common, *_login(self.user, self.port)]
        if self.jump is not None:
            argv += ["-o", f"ProxyCommand={_proxy_command(common, self.jump)}"]
        return argv

    def _config_argv(self, config_file: Path | None) -> list[str]:
        if config_file is not None:
            return ["ssh", "-F", str(config_file)]
        if self.config is None:
            return ["ssh"]
        return ["ssh", "-F", str(self.config[0]) if self.config else "none"]

    def _said(self, connect_timeout: float, more: Iterable[str]) -> list[str]:
        """All ``-o``; where two say the same, ssh takes the first."""
        said = [*more, *(f"{keyword}={value}" for keyword, value in _ALWAYS.items())]
        said += [*self.options, f"StrictHostKeyChecking={_HOST_KEYS[self.host_keys]}"]
        said += [f"BatchMode={'no' if self.asks else 'yes'}", "NumberOfPasswordPrompts=1"]
        said.append(f"ConnectTimeout={max(1, math.ceil(min(connect_timeout, 1e6)))}")
        # One unanswered question is enough: lost after twice the interval.
        said += [f"ServerAliveInterval={math.ceil(self.keepalive)}", "ServerAliveCountMax=1"]
        known = (Path(os.devnull),) if self.host_keys == "off" else self.known_hosts
        if known is not None:
            files = " ".join(f'"{_literal(file)}"' for file in known) or os.devnull
            said += [f"UserKnownHostsFile={files}", f"GlobalKnownHostsFile={os.devnull}"]
        return [word for one in (*said, *_UNLESS_ASKED) for word in ("-o", one)]


def make_options(
    *,
    user: str | None,
    port: int | None,
    identity_files: Any,
    known_hosts: Any,
    host_keys: str,
    config: Any,
    password: object,
    jump: str | None,
    keepalive: float,
    options: Any,
) -> SshOptions:
    """Check the parameters.

    Raises:
        ValueError: or `TypeError`; one sentence that names the parameter.
    """
    if host_keys not in _HOST_KEYS:
        raise ValueError(f"host_keys must be 'strict', 'accept-new' or 'off', not {host_keys!r}")
    if password is not None and not isinstance(password, str) and not callable(password):
        raise TypeError("password must be a string or a function of the node and the prompt")
    key_files = check_files("identity_files", identity_files)
    return SshOptions(
        user=_check_user(user),
        port=_check_port(port),
        identity_files=_check_files("identity_files", key_files),
        known_hosts=None if known_hosts is None else _check_files("known_hosts", known_hosts),
        host_keys=host_keys,  # type: ignore[arg-type]  # one of the three, as was just seen
        config=None if isinstance(config, EllipsisType) else _check_files("config", config),
        jump=_check_jump(jump),
        keepalive=_check_keepalive(keepalive),
        options=_check_options(options),
        asks=password is not None,
    )


def check_node(node: str) -> None:
    """Refuse what ssh would take for more than a name.

    Raises:
        ValueError: names the node.
    """
    if _NOT_IN_A_NAME.search(node):
        raise ValueError(
            f"node {node!r} is no name that ssh could be given: letters, digits, '.', '-', '_', "
            "':' and '%' are accepted, and no '-' in front"
        )


def _check_user(user: object) -> str | None:
    if user is not None and not isinstance(user, str):
        raise TypeError(f"user must be a string, not {user!r}")
    if user is not None and (not user or user.startswith("-") or not user.isprintable()):
        raise ValueError(f"user must be a login name, not {user!r}")
    return user


def _check_port(port: object) -> int | None:
    if port is None:
        return None
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be a number from 1 to 65535, not {port!r}")
    if not 1 <= port <= 65535:
        raise ValueError(f"port must be a number from 1 to 65535, not {port!r}")
    return port


def _check_keepalive(keepalive: object) -> float:
    if isinstance(keepalive, bool) or not isinstance(keepalive, int | float):
        raise TypeError(f"keepalive must be a number of seconds, not {keepalive!r}")
    if not (math.isfinite(keepalive) and keepalive >= 0):
        raise ValueError(f"keepalive must be 0 or more seconds, not {keepalive!r}")
    return float(keepalive)


def _check_files(argument: str, value: Any) -> tuple[Path, ...]:
    if value is None:
        return ()
    files = (value,) if isinstance(value, str | os.PathLike) else tuple(value)
    for file in files:
        if not isinstance(file, str | os.PathLike):
            raise TypeError(f"{argument} must be file names, not {file!r}")
        if re.search(r'["\x00-\x1f]', os.fspath(file)):
            raise ValueError(f"{argument} must be a file name that ssh can read, not {file!r}")
    # ssh may run in another directory than we do, and says ~ for another home.
    return tuple(Path(file).expanduser().absolute() for file in files)


def _check_jump(jump: object) -> str | None:
    if jump is None:
        return None
    if not isinstance(jump, str):
        raise TypeError(f"jump must be a string, not {jump!r}")
    for one in jump.split(","):
        _parse_jump(one)
    return jump


def _parse_jump(text: str) -> tuple[str, str | None, int | None]:
    """Host, user and port of one jump host."""
    found = _JUMP.fullmatch(text.strip())
    host = (found[2] or found[3]) if found else ""
    if found is None or _NOT_IN_A_NAME.search(host):
        raise ValueError(f"jump must be [user@]host[:port], or several with commas, not {text!r}")
    return host, _check_user(found[1]), _check_port(int(found[4])) if found[4] else None


def _check_options(options: Any) -> tuple[str, ...]:
    if isinstance(options, Mapping):
        said = [f"{keyword}={value}" for keyword, value in options.items()]
    elif options is None:
        said = []
    elif isinstance(options, str):
        raise TypeError(f"options must be a mapping or a list of options, not {options!r}")
    else:
        said = list(options)
    fixed = {keyword.lower() for keyword in _ALWAYS}
    for one in said:
        if not isinstance(one, str):
            raise TypeError(f"options must be strings such as 'Compression=yes', not {one!r}")
        found = re.fullmatch(r"\s*([A-Za-z][A-Za-z0-9]*)(?:\s*=\s*|\s+)([^\x00\n]+)", one)
        if not found:
            raise ValueError(f"options must be such as 'Compression=yes', not {one!r}")
        if found[1].lower() in fixed:
            raise ValueError(f"options: {found[1]} is set by the transport, and can't be {one!r}")
    return tuple(said)


def _login(user: str | None, port: int | None) -> list[str]:
    return [*(["-l", user] if user else []), *(["-p", str(port)] if port else [])]


def _proxy_command(common: list[str], jump: str) -> str:
    """The command that leads over the last of the jump hosts, which is reached over the rest.

    Not ssh's own ``-J``: that would give our options to the target's ssh alone, and leave
    host keys and passwords of the jump host to the config and to a terminal.
    """
    before, _, last = jump.rpartition(",")
    host, user, port = _parse_jump(last)
    # What the ssh for the jump host has to say goes to our stderr, where only errors matter.
    argv = [common[0], "-o", "LogLevel=ERROR", *common[1:], *_login(user, port)]
    if before:
        argv += ["-o", f"ProxyCommand={_proxy_command(common, before)}"]
    words = " ".join(shlex.quote(word).replace("%", "%%") for word in argv)
    return f"{words} -W '[%h]:%p' -- {shlex.quote(host).replace('%', '%%')}"


def _literal(file: Path) -> str:
    """A file name in which ssh finds no % token."""
    return str(file).replace("%", "%%")
