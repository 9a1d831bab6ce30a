"""SSH in this process: asyncssh under trio-asyncio, one connection a target, reused."""

from __future__ import annotations

import math
import os
import secrets
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from trioshell._arguments import check_files
from trioshell._errors import TransportError
from trioshell.transports._base import Copy, Job, Session, Transport
from trioshell.transports._guard import command_line
from trioshell.transports._ssh_config import SshConfig
from trioshell.transports._ssh_identities import check_identity
from trioshell.transports._ssh_known_hosts import check_known_hosts
from trioshell.transports._ssh_options import NOT_OURS
from trioshell.transports._ssh_plan import (
    DEFAULT_KEEPALIVE,
    HostKeys,
    Plan,
    Planner,
    Wishes,
    parse_jump,
)

if TYPE_CHECKING:
    from trioshell.transports._ssh_client import Password
    from trioshell.transports._ssh_link import Link
    from trioshell.transports._ssh_link_session import LinkSession
    from trioshell.transports._ssh_pool import Pool

_USER_CONFIG = Path("~/.ssh/config")
_SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")

# Beyond so many nodes of one worker, what a config says of a node's keys is found out when
# it is that node's turn, and not when the worker is made.
_CHECKED_NODES = 256


Files: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class SshTransport(Transport):
    """Reaches nodes over SSH, in this process, with one connection a target that is reused.

    Nothing of it needs a thread or a child process (a ProxyCommand, or a name that only DNS
    knows, does). Host keys are checked. What a remote command started is ended with it, on
    the target too. Connections are kept until the transport's last user leaves it: enter
    it yourself around several Tasks, or around several `trioshell.run`, to share them.

    Args:
        user: the login name; by default that of the config, else ours.
        port: by default that of the config, else 22.
        identity_files: private keys, before those of the config. With none in either, those
            in ``~/.ssh``. The keys of a running ssh-agent are offered too.
        known_hosts: the file of known host keys, or several; by default ssh's own. With
            ``host_keys="strict"`` each that is named must be there.
        host_keys: ``"strict"`` takes known host keys only; ``"accept-new"`` takes, and
            writes down, the key of a host of which none is known; ``"off"`` takes any.
        config: ssh_config files, read once; None for none. By default ``~/.ssh/config`` and
            ``/etc/ssh/ssh_config``.
        password: what to answer a server that asks for one; or a function that is called
            with the node and the prompt, and returns the answer or None, itself or awaited.
        jump: the host to go over, ``[user@]host[:port]``, or several, with commas.
        keepalive: a connection on which nothing was heard for twice so many seconds is lost;
            0 waits for ever. The config's ServerAliveInterval counts only for the default.
        options: further options of ssh_config(5), which outweigh the files: keyword to value.

    Raises:
        ValueError: or `TypeError`; one sentence that names the argument.
    """

    def __init__(
        self,
        *,
        user: str | None = None,
        port: int | None = None,
        identity_files: Iterable[str | os.PathLike[str]] = (),
        known_hosts: Files | None = None,
        host_keys: HostKeys = "strict",
        config: str
        | os.PathLike[str]
        | Iterable[str | os.PathLike[str]]
        | EllipsisType
        | None = ...,
        password: Password = None,
        jump: str | None = None,
        keepalive: float = DEFAULT_KEEPALIVE,
        options: Mapping[str, str] | None = None,
    ) -> None:
        _check_name("user", user)
        _check_port(port)
        _check_host_keys(host_keys)
        _check_password(password)
        _check_jump(jump)
        _check_keepalive(keepalive)
        key_files = check_files("identity_files", identity_files)
        self._options = _check_options(options)
        self._config_files = None if config is ... else _paths("config", config)
        self._password = password
        self._wishes = Wishes(
            user=user,
            port=port,
            identity_files=_paths("identity_files", key_files),
            known_hosts=None if known_hosts is None else _paths("known_hosts", known_hosts),
            host_keys=host_keys,
            jump=jump,
            keepalive=float(keepalive),
            asked=frozenset(keyword.lower() for keyword in self._options),
            has_password=password is not None,
        )
        self._planner: Planner | None = None
        self._config: SshConfig | None = None
        self._checked: set[Path] = set()
        self._pool: Pool | None = None
        self._starting = trio.Lock()

    def check(self, job: Job) -> None:
        if job.nodes is None:
            raise ValueError("transport 'ssh' runs commands on nodes, and there are none")
        planner = self._read_config()
        if not isinstance(job.work, Copy):
            command_line(job.work, "token", merge=False)  # refuses what no shell could take
        assert self._config is not None
        if self._config.mentions("identityfile") and not planner.blocks:
            for _, node in zip(range(_CHECKED_NODES), job.nodes, strict=False):
                self._check_identities(planner.plan(str(node)))

    def _read_config(self) -> Planner:
        if self._planner is None:
            if self._config_files is None:
                files = [_USER_CONFIG.expanduser(), _SYSTEM_CONFIG]
                config = SshConfig(self._options, files, optional=files)
            else:
                config = SshConfig(self._options, self._config_files)
            self._check_known_hosts()
            planner = Planner(config, self._wishes)
            self._check_identities(planner.plan_wishes())
            self._warn(config)
            self._config, self._planner = config, planner
        return self._planner

    def _check_known_hosts(self) -> None:
        asked = "stricthostkeychecking" in self._wishes.asked
        if self._wishes.host_keys == "strict" and not asked:
            check_known_hosts(self._wishes.known_hosts or ())

    def _check_identities(self, plan: Plan) -> None:
        unlockable = plan.agent is not None or callable(self._password)
        for identity in plan.identities:
            if identity.file not in self._checked:
                check_identity(identity, unlockable=unlockable)
                self._checked.add(identity.file)

    def _warn(self, config: SshConfig) -> None:
        dropped = [
            f"{keyword} in {place}" + (f" ({NOT_OURS[keyword]})" if NOT_OURS.get(keyword) else "")
            for keyword, place in config.not_honoured().items()
            if keyword != "stricthostkeychecking" or self._wishes.host_keys != "off"
        ]
        if dropped:
            warnings.warn(f"ssh options that are not honoured: {'; '.join(dropped)}", stacklevel=4)

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        try:
            planner = self._read_config()
            if planner.blocks:
                plan = await trio.to_thread.run_sync(planner.plan, str(node))
            else:
                plan = planner.plan(str(node))
        except ValueError as exc:
            raise TransportError(str(exc)) from None
        pool = await self._open_pool()
        return await pool.open(plan, _session_maker(job), job.connect_timeout)

    async def _open_pool(self) -> Pool:
        if self._pool is not None and self._pool.bridge.running:
            return self._pool
        async with self._starting:
            if self._pool is None or not self._pool.bridge.running:
                # The first session imports asyncssh, which takes a while; nothing else does.
                from trioshell.transports._ssh_bridge import Bridge
                from trioshell.transports._ssh_pool import Pool

                bridge = Bridge()
                await bridge.start()
                self._pool = Pool(bridge, self._password)
        return self._pool

    async def stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()
            await pool.bridge.stop()


def _session_maker(job: Job) -> Callable[[Link], LinkSession]:
    """What makes the session of a job, once there is a link for it."""
    work, merge, stdin = job.work, not job.stderr, job.stdin
    if isinstance(work, Copy):
        from trioshell.transports._ssh_copy import CopySession

        return lambda link: CopySession(link, work, merge=merge)
    from trioshell.transports._ssh_session import SshSession

    token = secrets.token_hex(8)
    return lambda link: SshSession(link, work, token, merge=merge, wants_input=stdin)


def _check_name(argument: str, name: str | None) -> None:
    if name is not None and (not name or name.startswith("-") or not name.isprintable()):
        raise ValueError(f"{argument} must be a login name, not {name!r}")


def _check_port(port: int | None) -> None:
    if port is not None and type(port) is not int:
        raise TypeError(f"port must be a number from 1 to 65535, not {port!r}")
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"port must be a number from 1 to 65535, not {port!r}")


def _check_host_keys(host_keys: str) -> None:
    if host_keys not in ("strict", "accept-new", "off"):
        raise ValueError(f"host_keys must be 'strict', 'accept-new' or 'off', not {host_keys!r}")


def _check_password(password: object) -> None:
    if password is not None and not isinstance(password, str) and not callable(password):
        raise TypeError("password must be a string or a function of the node and the prompt")


def _check_jump(jump: str | None) -> None:
    for one in jump.split(",") if jump is not None else ():
        parse_jump(one)


def _check_keepalive(keepalive: float) -> None:
    if type(keepalive) not in (int, float):
        raise TypeError(f"keepalive must be a number of seconds, not {keepalive!r}")
    if not (math.isfinite(keepalive) and keepalive >= 0):
        raise ValueError(f"keepalive must be 0 or more seconds, not {keepalive!r}")


def _check_options(options: Mapping[Any, Any] | None) -> dict[str, str]:
    checked = dict(options or {})
    for keyword, value in checked.items():
        if not isinstance(keyword, str) or not isinstance(value, str):
            raise TypeError(f"options must map keywords to strings, not {keyword!r} to {value!r}")
    return checked


def _paths(argument: str, value: Any) -> tuple[Path, ...]:
    if value is None:
        return ()
    several = isinstance(value, Iterable) and not isinstance(value, (str, os.PathLike))
    paths = tuple(value) if several else (value,)
    for path in paths:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"{argument} must be file names, not {path!r}")
    return tuple(Path(path).expanduser() for path in paths)
