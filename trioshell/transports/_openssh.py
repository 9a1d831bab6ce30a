"""SSH through the user's own ssh(1): one process a session, with every option that it has."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from types import EllipsisType
from typing import Final

import trio

from trioshell._arguments import check_flag
from trioshell._errors import TransportError
from trioshell.transports._base import Copy, Job, Session, Transport
from trioshell.transports._openssh_askpass import Asker, Password
from trioshell.transports._openssh_command import command_line
from trioshell.transports._openssh_copy import CopySession
from trioshell.transports._openssh_guard import Dropped, Guard, Guards
from trioshell.transports._openssh_options import Files, HostKeys, check_node, make_options
from trioshell.transports._openssh_process import Launcher, SshProcess
from trioshell.transports._openssh_session import OpenSshSession
from trioshell.transports._ssh_identities import Identity, check_identity
from trioshell.transports._ssh_known_hosts import check_known_hosts
from trioshell.transports._supervisor import Supervisor

DEFAULT_KEEPALIVE: Final = 15.0

# A server that turns us away before the login (MaxStartups) is tried again after this.
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0

# How long ssh may take to read its config (a `Match exec` in it runs a command).
_CONFIG_SECONDS: Final = 3.0

_LONGEST_PARENT: Final = 40


class OpenSshTransport(Transport):
    """Reaches nodes through ssh(1), which must be installed: the name ``"openssh"``.

    For everything that only the real client can do: its parameters are those of
    `SshTransport`, and the config is read by ssh itself. Each command costs an ssh process
    and a login. Host keys are checked, nobody is asked for anything on a terminal, and
    neither the agent nor X11 is forwarded unless `options` say so.

    A command is ended on the target as well, over a second login. When a connection breaks
    under a running command that is tried too, for some seconds; the outcome then says
    whether it worked. An exit code of 129 to 192 counts as the signal that it is 128 more
    than, since a shell cannot tell them apart.

    Args:
        user: the login name; by default that of the config, else ours.
        port: by default that of the config, else 22.
        identity_files: private keys, tried beside those of the config and of the agent.
        known_hosts: the file of known host keys, or several; by default ssh's own. With
            ``host_keys="strict"`` each that is named must be there.
        host_keys: ``"strict"`` takes known host keys only; ``"accept-new"`` takes, and
            writes down, the key of a host of which none is known; ``"off"`` takes any.
        config: ssh_config files; None for none. By default ssh's own.
        password: what to answer a server that asks for one; or a function that is called
            with the node and the prompt, and returns the answer or None, itself or awaited.
            It is handed to ssh over a socket, and stands in no argument and no file.
        jump: the host to go over, ``[user@]host[:port]``, or several, with commas. The
            other parameters hold for it too, except `user` and `port`.
        keepalive: a connection on which nothing was heard for twice so many seconds (whole
            ones, rounded up) is lost; 0 waits for ever.
        options: further options of ssh_config(5), which outweigh the files: keyword to
            value, or a list of ``"Keyword=value"``.
        share: True to log in once a node, and have all sessions use that connection: one
            more ssh for each node, and one login, until the transport is left. Sessions
            that the server does not take over it log in by themselves. When the connection
            breaks, the node itself ends what ran over it.

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
        config: Files | EllipsisType | None = ...,
        password: Password = None,
        jump: str | None = None,
        keepalive: float = DEFAULT_KEEPALIVE,
        options: Mapping[str, str] | Iterable[str] | None = None,
        share: bool = False,
    ) -> None:
        self._options = make_options(
            user=user,
            port=port,
            identity_files=identity_files,
            known_hosts=known_hosts,
            host_keys=host_keys,
            config=config,
            password=password,
            jump=jump,
            keepalive=keepalive,
            options=options,
        )
        self._password = password
        self._share = check_flag("share", share)
        self._checked = False
        self._supervisor: Supervisor | None = None
        self._directory: Path | None = None
        self._asker: Asker | None = None
        self._guards: Guards | None = None

    def check(self, job: Job) -> None:
        if job.nodes is None:
            raise ValueError("transport 'openssh' runs commands on nodes, and there are none")
        for node in job.nodes:
            check_node(str(node))
        if not isinstance(job.work, Copy):
            command_line(job.work, "token", merge=False)  # refuses what no shell could take
        if not self._checked:
            self._check_files()
            self._check_config()
            self._checked = True

    def _check_files(self) -> None:
        unlockable = "SSH_AUTH_SOCK" in os.environ or callable(self._password)
        for file in self._options.identity_files:
            check_identity(Identity(file, "identity_files", needed=True), unlockable=unlockable)
        if self._options.is_strict:
            check_known_hosts(self._options.known_hosts or ())
        for file in self._options.config or ():
            if not os.access(file, os.R_OK):
                there = "cannot be read" if file.exists() else "does not exist"
                raise ValueError(f"config file {file} {there}")

    def _check_config(self) -> None:
        """Have ssh itself read the config, without connecting."""
        if shutil.which("ssh") is None:
            raise TransportError("transport 'openssh' needs ssh(1), which is not installed here")
        for file in self._options.config or (None,):
            argv = self._options.argv(10, config_file=file, more=["CanonicalizeHostname=no"])
            try:
                done = subprocess.run(
                    [*argv, "-G", "--", "localhost"],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                    timeout=_CONFIG_SECONDS,
                )
            except subprocess.TimeoutExpired:  # of a command in it; it will be seen in time
                return
            if done.returncode != 0:
                said = done.stderr.decode(errors="replace").strip().splitlines()
                raise ValueError(f"ssh does not accept its options: {said[0] if said else '?'}")

    async def start(self) -> None:
        self._supervisor = Supervisor.enter()
        try:
            self._directory = _make_directory()
            environment: dict[str, str] = {}
            if self._password is not None:
                self._asker = Asker(self._directory, self._password)
                environment = await self._asker.start()
            self._launcher = Launcher(self._supervisor, self._directory, self._options, environment)
            self._guards = Guards(self._launcher, self._directory if self._share else None)
        except BaseException:  # whatever it was, nothing of it stays
            # Shielded for that; it lasts as long as the tasks take to be woken.
            with trio.CancelScope(shield=True):
                await self.stop()
            raise

    async def stop(self) -> None:
        if self._guards is not None:
            await self._guards.close()
            self._guards = None
        asker, self._asker = self._asker, None
        if asker is not None:
            await asker.stop()
        directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            await supervisor.leave()

    async def open(self, job: Job, node: Hashable, rank: int) -> Session:
        name = str(node)
        give_up = trio.current_time() + job.connect_timeout
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._try_open(job, name)
            except Dropped:
                if trio.current_time() + pause >= give_up:
                    raise
            await trio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _try_open(self, job: Job, node: str) -> Session:
        assert self._guards is not None, "a transport is entered before it is used"
        try:
            shared = await self._guards.share(node, job.connect_timeout)
        except TransportError:
            self._raise_error_of_asker(node)
            raise
        ssh, session = await self._launch(job, node, self._guards, shared)
        try:
            await session.wait_started()
        except TransportError as exc:
            complaint = ssh.complaint()
            await session.aclose()
            self._raise_error_of_asker(node)
            if shared is not None and shared.is_dead:
                raise Dropped(exc.reason) from None  # a new connection may do better
            if complaint is not None and complaint.dropped:
                raise Dropped(exc.reason) from None
            raise
        except BaseException:  # cancelled: nothing is left behind, here or there
            # Shielded for that; bounded by the session itself.
            with trio.CancelScope(shield=True):
                await session.discard()
            raise
        return session

    def _raise_error_of_asker(self, node: str) -> None:
        if self._asker is not None:
            self._asker.raise_error(node)

    async def _launch(
        self, job: Job, node: str, guards: Guards, shared: Guard | None
    ) -> tuple[SshProcess, OpenSshSession | CopySession]:
        """Start an ssh, which has not connected then, and what will be the session."""
        merge, timeout = not job.stderr, job.connect_timeout
        over = None if shared is None else shared.shared
        if isinstance(job.work, Copy):
            ssh = await self._launcher.start(
                node, subsystem="sftp", connect_timeout=timeout, stdin=True, over=over
            )
            return ssh, CopySession(ssh, job.work, merge=merge)
        token = secrets.token_hex(8)
        line = command_line(job.work, token, merge=merge)
        ssh = await self._launcher.start(
            node, [line], connect_timeout=timeout, stdin=job.stdin, over=over
        )
        return ssh, OpenSshSession(ssh, guards, token, merge=merge, shared=shared)


def _make_directory() -> Path:
    """A directory of our own in which a socket can have a name (of 107 characters at most)."""
    parent = tempfile.gettempdir()
    if len(parent) > _LONGEST_PARENT:
        parent = "/tmp"  # mkdtemp makes a private one in it
    return Path(tempfile.mkdtemp(prefix=f"trioshell-ssh-{os.getpid()}-", dir=parent))
