"""A connected socket to a host: over TCP, or through the program of a ProxyCommand."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from typing import Final

import trio

from trioshell.transports._ssh_names import Address, Names

# As RFC 8305 has it: the next address is tried so long after the one before.
_STAGGER_SECONDS: Final = 0.25

# How long the program of a ProxyCommand has to leave once its connection is closed.
_PROXY_GRACE_SECONDS: Final = 0.5


async def connect_tcp(
    names: Names, host: str, port: int, family: int, bind_address: str | None
) -> socket.socket:
    """Connect to the first address of `host` that answers.

    Raises:
        OSError: none does; the error is that of the last one, or of the look-up.
    Cancelled, every socket is closed.
    """
    addresses = await names.lookup(host, port, family)
    if len(addresses) == 1:
        return await _connect(addresses[0], bind_address)
    winner: socket.socket | None = None
    error: OSError | None = None

    async def attempt(address: Address, failed: trio.Event) -> None:
        nonlocal winner, error
        try:
            sock = await _connect(address, bind_address)
        except OSError as exc:
            error = exc
            failed.set()
            return
        if winner is None:
            winner = sock
            nursery.cancel_scope.cancel()
        else:
            sock.close()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(_STAGGER_SECONDS):
                    await failed.wait()
    except BaseException:  # cancelled from outside, perhaps after one has won
        if winner is not None:
            winner.close()
        raise
    if winner is None:
        assert error is not None
        raise error
    return winner


async def _connect(address: Address, bind_address: str | None) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # asyncssh, and the system below it, open files for a moment while logging in, and take
        # the lack of a descriptor for something else. So there must be one to spare.
        os.close(os.open(os.devnull, os.O_RDONLY))
        if bind_address is not None:
            sock.bind((bind_address, 0))
        try:
            sock.connect(where)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                raise OSError(failure, os.strerror(failure)) from None
    except BaseException:  # whatever it was, nobody else knows of this socket
        sock.close()
        raise
    return sock


class ProxyProgram:
    """The program of a ProxyCommand, at the other end of a socket.

    Attributes:
        socket: our end.
    """

    def __init__(self, process: trio.Process, sock: socket.socket) -> None:
        self.socket = sock
        self._process = process

    @classmethod
    async def start(cls, command: str) -> ProxyProgram:
        """Start it by the user's shell, as ssh does, in a process group of its own.

        Raises:
            OSError: it can't be started.
        """
        ours, theirs = socket.socketpair()
        try:
            # Shielded: half-started, it would belong to nobody. It is short.
            with theirs, trio.CancelScope(shield=True):
                process = await trio.lowlevel.open_process(
                    [os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {command}"],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    env=_environment(),
                )
        except BaseException:  # whatever it was, nobody else knows of this socket
            ours.close()
            raise
        return cls(process, ours)

    async def mind(self, closed: trio.Event) -> None:
        """Wait until our end is closed, then see to it that the program ends too."""
        try:
            await closed.wait()
        finally:
            # Shielded: when the loop is torn down, this is what ends the program.
            with trio.CancelScope(shield=True):
                with trio.move_on_after(_PROXY_GRACE_SECONDS):
                    await self._process.wait()
                self._kill()
                await self._process.wait()

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # the whole group has gone


def _environment() -> dict[str, str]:
    """Ours; but a bash whose stdin is a socket and that seems to be the outermost shell reads
    ~/.bashrc, for it takes us for rshd, and whatever that prints or waits for comes in between.
    """
    return {**os.environ, "SHLVL": "1"}
