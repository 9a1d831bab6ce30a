"""One run of ssh(1), and what it says of itself in a log that is not the command's stderr."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from trioshell.transports._base import Chunk
from trioshell.transports._launch import launch
from trioshell.transports._openssh_askpass import NODE_VARIABLE
from trioshell.transports._openssh_log import Complaint, find_complaint, is_authenticated
from trioshell.transports._openssh_options import SshOptions
from trioshell.transports._process import ProcessSession
from trioshell.transports._supervisor import Supervisor

_TAIL_BYTES = 2000

# ssh says why it has failed in its last words, and how it got on in the first ones.
_LOG_BYTES = 65_536

_IS_OVER = os.WEXITED | os.WNOHANG | os.WNOWAIT


class SshProcess:
    """A running ssh: its pipes and its log.

    Attributes:
        session: the local process.
        node: the target.

    Args:
        is_shared: True if it needs no login of its own.
    """

    def __init__(
        self,
        session: ProcessSession,
        node: str,
        log: Path,
        known_hosts: Sequence[Path] | None,
        *,
        is_shared: bool,
    ) -> None:
        self._is_shared = is_shared
        self.session = session
        self.node = node
        self._log = log
        self._known_hosts = known_hosts
        self._stderr_tail = b""

    async def receive(self) -> Sequence[Chunk]:
        """As `Session.receive`; what comes on stderr may be ssh's own words."""
        chunks = await self.session.receive()
        for sname, data in chunks:
            if sname == "stderr":
                self._stderr_tail = (self._stderr_tail + data)[-_TAIL_BYTES:]
        return chunks

    @property
    def is_running(self) -> bool:
        """True until the local process has ended."""
        if self.session.exit is not None:
            return False
        try:
            # WNOWAIT: the status stays there for the session.
            return os.waitid(os.P_PID, self.session.pid, _IS_OVER) is None
        except ChildProcessError:
            return False

    @property
    def may_have_started(self) -> bool:
        """True if the login is over, so that the command may have been started."""
        return self._is_shared or is_authenticated(self._read_log())

    def complaint(self) -> Complaint | None:
        """Why it has failed, as far as it has said so; None if it has said nothing."""
        return find_complaint(self._read_log(), self._stderr_tail, self.node, self._known_hosts)

    async def aclose(self) -> None:
        """End it if it still runs, and release all that it held here."""
        try:
            await self.session.aclose()
        finally:
            with contextlib.suppress(OSError):
                self._log.unlink()

    def _read_log(self) -> str:
        try:
            with self._log.open("rb") as log:
                first = log.read(_LOG_BYTES)
                size = log.seek(0, os.SEEK_END)
                log.seek(max(len(first), size - _LOG_BYTES))
                text = first + log.read(_LOG_BYTES)
        except OSError:
            return ""
        return text.decode(errors="replace")


class Launcher:
    """Starts ssh, with the options of one transport.

    Args:
        supervisor: of the local processes.
        directory: private to the transport, for logs.
        options: the caller's.
        environment: variables for ssh that differ from ours.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        directory: Path,
        options: SshOptions,
        environment: Mapping[str, str],
    ) -> None:
        self._supervisor = supervisor
        self._directory = directory
        self._options = options
        self._own = {os.fsencode(k): os.fsencode(v) for k, v in environment.items()}
        self._numbers = itertools.count()
        self._config_file: Path | None = None
        if options.config is not None and len(options.config) > 1:
            self._config_file = directory / "config"
            self._config_file.write_text("".join(f'Include "{f}"\n' for f in options.config))

    async def start(
        self,
        node: str,
        words: Iterable[str] = (),
        *,
        connect_timeout: float,
        stdin: bool,
        subsystem: str | None = None,
        over: Path | None = None,
        more: Iterable[str] = (),
    ) -> SshProcess:
        """Start an ssh for `node` and return at once; it has not connected then.

        Args:
            words: the command line to send.
            subsystem: asks for this subsystem of the server instead.
            over: the socket of a connection to use; if it is gone, or takes no more
                sessions, ssh makes one of its own.
            more: further options as ``-o`` takes them.

        Raises:
            SpawnError: it could not be started here.
        """
        log = self._directory / f"log.{next(self._numbers)}"
        if over is not None:
            more = [f"ControlPath={over}", *more]
        argv = self._options.argv(connect_timeout, config_file=self._config_file, more=more)
        argv += ["-E", str(log)]
        argv += ["-s", "--", node, subsystem] if subsystem else ["--", node, *words]
        environment = [b"%s=%s" % item for item in os.environb.items() if item[0] not in self._own]
        environment += [b"%s=%s" % item for item in self._own.items()]
        environment.append(os.fsencode(f"{NODE_VARIABLE}={node}"))
        session = await launch(
            self._supervisor,
            [os.fsencode(word) for word in argv],
            environment,
            stdin=stdin,
            stderr=True,
            watchdog=True,  # a shared connection, or an ssh that waits, would outlive us
        )
        return SshProcess(session, node, log, self._options.known_hosts, is_shared=over is not None)
