"""Passwords for ssh(1): it asks a small program, which asks us over a socket."""

from __future__ import annotations

import inspect
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

import trio

# Asked for a secret: told the node and the prompt; None if there is none to give.
AskPassword: TypeAlias = Callable[[str, str], "str | Awaitable[str | None] | None"]
Password: TypeAlias = "str | AskPassword | None"

NODE_VARIABLE: Final = "TRIOSHELL_ASKPASS_NODE"
_LONGEST_QUESTION: Final = 4096

# Run by ssh with the prompt as its argument; what it prints is the answer.
_PROGRAM: Final = """\
import os, socket, sys
with socket.socket(socket.AF_UNIX) as us:
    us.connect({address!r})
    us.sendall(os.environ[{variable!r}].encode() + b"\\0" + " ".join(sys.argv[1:]).encode())
    us.shutdown(socket.SHUT_WR)
    answer = b"".join(iter(lambda: us.recv(4096), b""))
if not answer:
    sys.exit(1)
sys.stdout.buffer.write(answer[1:] + b"\\n")
"""


class Asker:
    """Answers the questions of all ssh processes of one transport.

    Args:
        directory: private to the transport: nobody else can reach the socket in it.
        password: the answer to the question for a password, or who is asked for it.
    """

    def __init__(self, directory: Path, password: Password) -> None:
        self._directory = directory
        self._password = password
        self._listener: trio.socket.SocketType | None = None
        self._errors: dict[str, Exception] = {}
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()

    async def start(self) -> dict[str, str]:
        """Begin to answer; returns the environment by which ssh finds us."""
        address = str(self._directory / "ask")
        self._listener = trio.socket.socket(socket.AF_UNIX)
        await self._listener.bind(address)
        self._listener.listen(128)
        program = self._directory / "askpass.py"
        program.write_text(_PROGRAM.format(address=address, variable=NODE_VARIABLE))
        script = self._directory / "askpass"
        python = shlex.quote(sys.executable)
        script.write_text(f'#!/bin/sh\nexec {python} -ISE {shlex.quote(str(program))} "$@"\n')
        script.chmod(0o700)
        # It belongs to no caller's scope: the first to need it may be the first to go.
        trio.lowlevel.spawn_system_task(self._serve, name="trioshell askpass")
        return {
            "SSH_ASKPASS": str(script),
            "SSH_ASKPASS_REQUIRE": "force",
            "DISPLAY": "none",  # without it, an ssh before 8.4 would not ask
        }

    def raise_error(self, node: str) -> None:
        """Raise what the caller's function has raised when it was asked for this node."""
        error = self._errors.pop(node, None)
        if error is not None:
            raise error

    async def stop(self) -> None:
        """Answer nobody any more."""
        self._scope.cancel()
        await self._stopped.wait()

    async def _serve(self) -> None:
        assert self._listener is not None
        try:
            with self._scope, self._listener:
                async with trio.open_nursery() as nursery:
                    while True:
                        connection, _ = await self._listener.accept()
                        nursery.start_soon(self._answer, connection)
        finally:
            self._stopped.set()

    async def _answer(self, connection: trio.socket.SocketType) -> None:
        with connection:
            try:
                question = b""
                while (data := await connection.recv(4096)) and len(question) < _LONGEST_QUESTION:
                    question += data
                node, _, prompt = question.decode(errors="replace").partition("\0")
                answer = await self._ask(node, prompt)
                if answer is not None:
                    # The first byte tells an empty answer from none.
                    await trio.SocketStream(connection).send_all(b"=" + answer.encode())
            except (OSError, trio.BrokenResourceError):
                pass  # that ssh has gone meanwhile

    async def _ask(self, node: str, prompt: str) -> str | None:
        if not callable(self._password):
            # The answer to the question for a password, and to no other.
            return self._password if prompt.strip().lower().endswith("password:") else None
        try:
            answer = self._password(node, prompt)
            return await answer if inspect.isawaitable(answer) else answer
        except Exception as exc:  # noqa: BLE001  # the caller's own: `raise_error` hands it back
            self._errors[node] = exc
            return None
