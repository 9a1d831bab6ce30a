"""What asyncssh does for each packet and we can do without: notes for a log, and chaff.

Both cost more than the packet itself: lines for the log are made up although nobody has asked for
them there, and before each packet another, empty one is encrypted and sent. That one
protects ciphers in CBC mode, whose first block an eavesdropper could otherwise choose (Dai's
attack on SSH 2, RFC 4251 section 9.3.1). Other modes have no such weakness, and OpenSSH sends it
for none of them either.

asyncssh has no public way to say so. What is touched here are methods of its objects, and only
where they are there: should they be called otherwise one day, all works as it did, and slower.
"""

from __future__ import annotations

import logging
from typing import Any

from asyncssh.logging import SSHLogger, logger

# RFC 4253, section 12.
_MSG_IGNORE = 2

# asyncssh writes packets into its log at this level of detail (`asyncssh.set_debug_level`).
_PACKETS_LEVEL = 3


def make_lean(connection: Any) -> None:
    """Spare chaff and notes for a connection that is logged in."""
    spare_notes(connection)
    if hasattr(connection, "_logger") and not logger.isEnabledFor(logging.INFO):
        connection._logger = _Silent()
    cipher = connection.get_extra_info("send_cipher")
    send = getattr(connection, "send_packet", None)
    if send is None or not cipher or cipher.endswith("-cbc"):
        return

    def send_packet(pkttype: int, *args: bytes, **options: Any) -> None:
        if pkttype != _MSG_IGNORE:
            send(pkttype, *args, **options)

    connection.send_packet = send_packet


def spare_notes(packets: Any) -> None:
    """Spare notes for what takes packets: a connection, or a channel."""
    if getattr(SSHLogger, "_debug_level", _PACKETS_LEVEL) < _PACKETS_LEVEL:
        packets.log_sent_packet = packets.log_received_packet = _note_nothing


class _Silent(SSHLogger):
    """What a connection and its channels log to while nobody listens."""

    def __init__(self) -> None:
        super().__init__(logging.getLogger("asyncssh"))

    def get_child(self, child: str = "", context: str = "") -> SSHLogger:
        """The same for all: it says nothing that would have to be told apart."""
        return self

    def info(self, *_: object, **__: object) -> None:
        """Nothing; and so below."""

    debug1 = debug2 = packet = info


def _note_nothing(*_: object) -> None:
    pass
