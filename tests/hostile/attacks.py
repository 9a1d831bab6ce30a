"""What a hostile SSH server can do, one entry each: what it is, and what may come of it.

`ATTACKS` is data, so that scripts can run the same as the tests do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.hostile.server import (
    CHANNEL_OPEN,
    CLOSE,
    DATA,
    DEBUG,
    DISCONNECT,
    EOF,
    EXTENDED_DATA,
    GLOBAL_REQUEST,
    IGNORE,
    REQUEST,
    USERAUTH_BANNER,
    WINDOW_ADJUST,
    Attack,
    Boolean,
    Channel,
    Connection,
    String,
    UInt32,
    flood,
)


@dataclass(frozen=True)
class Case:
    """An attack, and the outcome by either way, as a pattern of its text.

    Attributes:
        ssh: over SSH in this process.
        openssh: by the user's own ssh.
        stdin: how many bytes the command is given.
        stdout: what must have been kept of its output; None: whatever it is.
    """

    attack: Attack
    ssh: str
    openssh: str
    stdin: int = 0
    stdout: bytes | None = None

    def __repr__(self) -> str:
        return self.attack.name


def _say(
    kind: int, *parts: bytes, again: bool = False, deaf: bool = False
) -> Callable[[Channel], None]:
    """Send a packet of the connection when a command is to be run; for ever with `again`."""

    def run(channel: Channel) -> None:
        connection = channel._conn
        if deaf:
            connection._transport.pause_reading()
        if again:
            flood(connection, lambda: connection.send_packet(kind, *parts))
        else:
            connection.send_packet(kind, *parts)

    return run


def _tell(*packets: tuple[int, bytes], then_exit: bool = False) -> Callable[[Channel], None]:
    """Send packets of the channel."""

    def run(channel: Channel) -> None:
        for kind, body in packets:
            channel.send_packet(kind, body)
        if then_exit:
            channel.exit(0)

    return run


def _fill(channel: Channel, data: bytes) -> None:
    """Send output for ever, in pieces of this size, as far as the window lets it."""
    flood(channel._conn, lambda: channel._send_window >= len(data) and channel.write(data))


def _exceed(channel: Channel) -> None:
    flood(channel._conn, lambda: channel.send_packet(DATA, String(b"x" * 30_000)))


def _at_login(kind: int, *parts: bytes) -> Callable[[Connection], Awaitable[None]]:
    """Flood whoever logs in, and never let him in."""

    async def login(connection: Connection) -> None:
        flood(connection, lambda: connection.send_packet(kind, *parts))
        await asyncio.get_running_loop().create_future()

    return login


def _be_deaf(channel: Channel) -> None:
    channel._conn._transport.pause_reading()


def _exit_status(code: int) -> tuple[int, bytes]:
    return REQUEST, String(b"exit-status") + Boolean(False) + UInt32(code)


def _exit_signal(name: bytes) -> tuple[int, bytes]:
    rest = Boolean(False) + String(b"") + String(b"")
    return REQUEST, String(b"exit-signal") + Boolean(False) + String(name) + rest


_REKEYS = 10


def _rekey(channel: Channel) -> None:
    async def go_on() -> None:
        for _ in range(_REKEYS):
            channel._conn._send_kexinit()
            channel._conn._kexinit_sent = True
            while not channel._conn._kex_complete:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0)
        channel.write(b"in\n")
        channel.exit(0)

    channel._conn.create_task(go_on())


EVIL = b"\x1b]8;;evil\x07\r\nfriendly: in\n" * 1000

# It never reports its process group, so it is not known what is left of it.
_ENDED = "ended, but perhaps not all of it: .* did not say which process group it leads"
_NO_LOGIN = "no answer from .*: waiting for the login|no connection within"
_BROKE = "the connection to .* broke: "

CASES = (
    # -- before the login
    Case(
        Attack(
            "endless banners", login=_at_login(USERAUTH_BANNER, String(b"x" * 9000), String(b""))
        ),
        _NO_LOGIN,
        "says too much before the login",
    ),
    Case(
        Attack("ignored packets at the login", login=_at_login(IGNORE, String(b"x"))),
        _NO_LOGIN,
        _NO_LOGIN,
    ),
    # -- windows and sizes of packets
    Case(Attack("window 0", confirm=(0, 32768)), "exited with 0", "exited with 0", 1000),
    Case(
        Attack("largest window, and deaf", confirm=(0xFFFFFFFF, 32768), run=_be_deaf),
        _ENDED,
        _NO_LOGIN,
        300_000_000,
    ),
    Case(
        Attack("packets of 1 byte", confirm=(1 << 30, 1)),
        "takes only 1 bytes in a packet",
        ".",
        1_000_000,
    ),
    Case(Attack("packets of 0 bytes", confirm=(1 << 30, 0)), "failed during the session", "."),
    Case(
        Attack(
            "windows that overflow",
            run=_tell(*[(WINDOW_ADJUST, UInt32(0xFFFFFFFF))] * 1000, then_exit=True),
        ),
        "exited with 0",
        "overflows remote window",
    ),
    Case(Attack("more than the window", run=_exceed), _BROKE + "Window exceeded", _ENDED),
    # -- messages that may not be
    Case(
        Attack("a channel that is not there", run=_say(DATA, UInt32(77), String(b"x"))),
        _BROKE + "Invalid channel number 77",
        "77: bad id",
    ),
    Case(
        Attack(
            "output of an unknown kind",
            run=_tell((EXTENDED_DATA, UInt32(7) + String(b"x")), then_exit=True),
        ),
        _BROKE + "Invalid extended data type",
        "exited with 0",
    ),
    Case(
        Attack("two exit codes", run=_tell(_exit_status(3), _exit_status(4), (CLOSE, b""))),
        "exited with 3",
        "exited with 4",
    ),
    Case(
        Attack("an exit code after the close", run=_tell((CLOSE, b""), _exit_status(3))),
        "without an exit status|" + _BROKE,
        ".",
    ),
    Case(
        Attack("output after its end", run=_tell((EOF, b""), (DATA, String(b"x")), then_exit=True)),
        _BROKE + "Channel not open",
        "exited with 0",
    ),
    Case(
        Attack("a signal with escapes in it", run=_tell(_exit_signal(b"\x1b[31m"))),
        "unknown signal \x1b\\[31m",
        ".",
    ),
    Case(
        Attack("a signal that is no signal", run=_tell(_exit_signal(b"_SETMASK"))),
        "unknown signal _SETMASK",
        ".",
    ),
    Case(
        Attack("a reason of 27 kB", run=_say(DISCONNECT, UInt32(2), String(EVIL), String(b""))),
        _BROKE,
        "Received disconnect",
    ),
    Case(
        Attack(
            "a reason that is no UTF-8",
            run=_say(DISCONNECT, UInt32(2), String(b"\xff"), String(b"")),
        ),
        _BROKE,
        "Received disconnect",
    ),
    Case(
        Attack(
            "sessions opened by the server",
            run=_say(CHANNEL_OPEN, String(b"session"), UInt32(1), UInt32(1), UInt32(1), again=True),
        ),
        _BROKE,
        ".",
    ),
    Case(
        Attack("half a line, and no end", run=lambda channel: channel.write(b"half a")),
        _ENDED,
        _NO_LOGIN,
        stdout=b"half a",
    ),
    # -- floods
    Case(
        Attack(
            "debug messages",
            run=_say(DEBUG, Boolean(True), String(b"\x1b[2J"), String(b""), again=True),
        ),
        _ENDED,
        _NO_LOGIN,
    ),
    Case(Attack("unknown packets", run=_say(150, b"", again=True)), _ENDED, _NO_LOGIN),
    Case(
        Attack(
            "questions, and deaf",
            run=_say(GLOBAL_REQUEST, String(b"a@b"), Boolean(True), again=True, deaf=True),
        ),
        _ENDED,
        _NO_LOGIN,
    ),
    Case(
        Attack(
            "output of no bytes",
            run=lambda channel: flood(
                channel._conn, lambda: channel.send_packet(DATA, String(b""))
            ),
        ),
        _ENDED,
        _NO_LOGIN,
    ),
    Case(Attack("output in single bytes", run=lambda channel: _fill(channel, b"x")), _ENDED, "."),
    Case(Attack("output", run=lambda channel: _fill(channel, b"y\n" * 8000)), _ENDED, _ENDED),
    # Each takes its time on a busy machine.
    Case(Attack(f"{_REKEYS} new keys", run=_rekey), f"exited with 0|{_ENDED}", "."),
)
