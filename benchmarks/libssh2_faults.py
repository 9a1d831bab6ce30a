"""Can a server harm a program that reaches it by libssh2? Why trioshell has no such transport.

libssh2 would be the cheapest way to many hosts (see ``works/ssh.py``). It has also to be as safe
as the others, and this looks whether the one that is installed is: a server on loopback does
this, each time to a client in a process of its own, over ssh2-python.

nothing   It does nothing wrong: what is looked for must not be found here.
length    It sends a packet that claims to be almost 4 GB long. (CVE-2026-55200)
count     It says that it has four billion extensions, and names none. (CVE-2026-55199)
rsa       It is an ordinary server, which asyncssh makes, and the client offers an RSA key.

"length" and "count" come before the client can have looked at the host key, so they are open to
whoever is on the way. A process is harmed when it is killed, or does not come back from a call
of the library for five seconds: all other connections of a program are in that process too.

    python benchmarks/libssh2_faults.py
"""

from __future__ import annotations

import argparse
import asyncio
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

CASES = ("nothing", "length", "count", "rsa")
PATIENCE_SECONDS = 5.0

# Enough for one that writes beyond its memory to be caught by the allocator.
LOGINS = 30

CIPHER, MAC = "aes128-ctr", "hmac-sha2-256-etm@openssh.com"


# -- the server ------------------------------------------------------------------------------


def misbehave(case: str) -> None:
    """Have asyncssh's server say something wrong as soon as the keys are exchanged."""
    import asyncssh
    from asyncssh.packet import UInt32

    connection = asyncssh.connection.SSHConnection
    send_newkeys = connection.send_newkeys

    def send_more(self: Any, *args: Any) -> None:
        send_newkeys(self, *args)
        if case == "length":
            self._transport.write(b"\xff\xff\xff\xf0" + bytes(200_000))
        elif case == "count":
            self.send_packet(7, UInt32(0xFFFFFFFF))  # SSH_MSG_EXT_INFO

    connection.send_newkeys = send_more  # type: ignore[method-assign, assignment]  # on purpose


async def serve(case: str) -> None:
    """Serve until stdin ends; the port is the first line of stdout."""
    import asyncssh

    class Refuses(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

    if case != "rsa":
        misbehave(case)
    key = asyncssh.generate_private_key("ssh-ed25519")
    options: dict[str, Any] = {"encryption_algs": [CIPHER], "mac_algs": [MAC]}
    async with await asyncssh.create_server(
        Refuses, "127.0.0.1", 0, server_host_keys=[key], **options
    ) as server:
        print(server.get_port(), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


# -- the client ------------------------------------------------------------------------------


def log_in(port: int, rsa_key: bytes) -> None:
    """Try to log in, as a careful program would: no call blocks, each is given what it needs."""
    from ssh2.exceptions import SSH2Error
    from ssh2.session import Session

    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    session = Session()
    session.set_blocking(False)

    def until_done(call: Callable[..., Any], *args: Any) -> None:
        while call(*args) == -37:  # it would block
            select.select([sock], [], [], PATIENCE_SECONDS)

    try:
        until_done(session.handshake, sock)
        if rsa_key:
            until_done(session.userauth_publickey_frommemory, "nobody", rsa_key)
    except SSH2Error:
        pass  # to be refused is what a program can live with


def be_client(case: str, port: int) -> None:
    import asyncssh

    rsa_key = b""
    if case == "rsa":
        rsa_key = asyncssh.generate_private_key("ssh-rsa").export_private_key()
    for _ in range(LOGINS if case == "rsa" else 1):
        log_in(port, rsa_key)


# -- the verdict -------------------------------------------------------------------------------


def try_case(case: str) -> str:
    """What becomes of a client; empty if nothing does."""
    command = [sys.executable, "-W", "ignore", __file__, "--case", case]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, "--serve"], stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        try:
            # Making an RSA key takes a while, and starting too.
            patience = PATIENCE_SECONDS + (20.0 if case == "rsa" else 5.0)
            done = subprocess.run(
                [*command, "--port", port], timeout=patience, check=False, stderr=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return f"it has not come back after {PATIENCE_SECONDS:g} s"
        finally:
            server.stdin.close()
    if done.returncode < 0:
        return f"killed by {signal.Signals(-done.returncode).name}"
    if done.returncode:
        raise SystemExit(f"the client could not be run: status {done.returncode}")
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.case))
        return
    if given.port:
        be_client(given.case, given.port)
        return
    from ssh2.utils import version

    print(f"libssh2 {version().decode()}, as ssh2-python brings it")
    for case in CASES:
        harm = try_case(case)
        print(f"{case:8} {f'HARMED: {harm}' if harm else 'not harmed'}")


if __name__ == "__main__":
    main()
