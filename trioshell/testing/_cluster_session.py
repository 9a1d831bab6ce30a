"""One SSH session of a cluster node: a command, a shell or SFTP, on one channel."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable
from signal import Signals

import asyncssh

from trioshell.testing._cluster_faults import (
    DropsInOutput,
    Floods,
    GoesSilent,
    HangsInChannel,
    NeverCloses,
)
from trioshell.testing._cluster_node import ClusterNode
from trioshell.testing._cluster_process import CommandProcess
from trioshell.testing._cluster_processes import Processes
from trioshell.testing._cluster_wire import Wire

_SHELL = "/bin/sh"
_SFTP_VERSION = 3  # what OpenSSH's server speaks


class NodeSession(asyncssh.SSHServerSession[bytes]):
    """The node's end of a session, which behaves as sshd's does, faults apart.

    Args:
        node: the node that it belongs to.
        wire: the connection that it runs over.
        processes: where its process gets its environment from, and is booked.
        closed: called once, when its channel is closed.
    """

    def __init__(
        self, node: ClusterNode, wire: Wire, processes: Processes, closed: Callable[[], None]
    ) -> None:
        self._node = node
        self._wire = wire
        self._processes = processes
        self._closed = closed
        self._process: CommandProcess | None = None
        self._sftp: asyncssh.SSHServerProcess[bytes] | None = None
        self._sent = 0
        self._exited = self._output_done = False
        self._flood: bytes | None = None
        self._paused = False

    # What the client asks for, in asyncssh's words.

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._chan = chan

    def shell_requested(self) -> bool:
        return self._spawn([_SHELL])

    def exec_requested(self, command: str) -> bool:
        hang = self._node.fault(HangsInChannel)
        if hang is not None and hang.at == "exec":
            # asyncssh takes None as "the answer comes later", which it uses itself for
            # requests that it answers from a task. Ours never comes.
            return None  # type: ignore[return-value]
        return self._spawn([_SHELL, "-c", command])

    def subsystem_requested(self, subsystem: str) -> bool:
        if subsystem != "sftp":
            return False
        # asyncssh serves SFTP only through a session class of its own: let one do it, and
        # hand it all that this session is told.
        root = os.fsencode(self._node.root)
        self._sftp = asyncssh.SSHServerProcess(
            _no_process,
            lambda _: asyncssh.SFTPServer(self._chan, chroot=root),
            _SFTP_VERSION,
            False,
        )
        self._sftp.connection_made(self._chan)
        return True

    def session_started(self) -> None:
        self._node.count(sessions=1)
        if self._sftp is not None:
            self._sftp.session_started()
        elif (floods := self._node.fault(Floods)) is not None:
            self._flood = floods.line * (1 + 32768 // max(1, len(floods.line)))
            self._pour()
        elif self._process is not None:
            self._process.start()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._sftp is not None:
            self._sftp.data_received(data, datatype)
        elif self._process is not None:
            self._process.feed(data)

    def eof_received(self) -> bool:
        if self._sftp is not None:
            return bool(self._sftp.eof_received())
        if self._process is not None:
            self._process.feed_eof()
        return True  # the command may go on writing

    def signal_received(self, signal: str) -> None:
        if self._process is not None and not self._exited and "SIG" + signal in Signals.__members__:
            self._processes.signal_group(self._process.pid, Signals["SIG" + signal])

    def pause_writing(self) -> None:
        self._paused = True
        if self._sftp is not None:
            self._sftp.pause_writing()
        elif self._process is not None:
            self._process.pause()

    def resume_writing(self) -> None:
        self._paused = False
        if self._sftp is not None:
            self._sftp.resume_writing()
        elif self._flood is not None:
            self._pour()
        elif self._process is not None:
            self._process.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed()
        if self._sftp is not None:
            self._sftp.connection_lost(exc)
        elif self._process is not None:
            self._process.detach()

    # What the process reports (it never does once it is detached).

    def output(self, stream: str, data: bytes) -> None:
        if self._chan.is_closing():  # the client has closed it, and we hear of it in a moment
            return
        drops, silence = self._node.fault(DropsInOutput), self._node.fault(GoesSilent)
        limits = [fault.after_bytes for fault in (drops, silence) if fault is not None]
        if not limits:
            self._write(stream, data)
            return
        limit = min(limits)
        passes = max(0, limit - self._sent)
        self._write(stream, data[:passes])
        if self._sent >= limit:
            if drops is not None and drops.after_bytes == limit:
                self._wire.drop()
            else:
                self._wire.set_silent(True)
                self._write(stream, data[passes:])  # kept by the wire until the node is healed

    def _write(self, stream: str, data: bytes) -> None:
        self._sent += len(data)
        if stream == "stdout":
            self._chan.write(data)
        else:
            self._chan.write_stderr(data)

    def output_ended(self) -> None:
        self._output_done = True
        if not self._chan.is_closing():
            self._chan.write_eof()
        self._close_when_done()

    def exited(self, returncode: int) -> None:
        self._exited = True
        # asyncssh's own exit() closes the channel as well. sshd reports the exit at once
        # and keeps the channel open for as long as somebody holds the output open.
        if returncode >= 0:
            self._chan._send_request(b"exit-status", struct.pack(">I", returncode))
        else:
            name = Signals(-returncode).name.removeprefix("SIG").encode()
            self._chan._send_request(b"exit-signal", _string(name), b"\0", _string(b"") * 2)
        if self._node.fault(NeverCloses) is not None:
            self._wire.set_deaf()
        self._close_when_done()

    def stdin_full(self, full: bool) -> None:
        if full:
            self._chan.pause_reading()
        else:
            self._chan.resume_reading()

    def stdin_closed(self) -> None:
        # OpenSSH's own word for "end of write": its client then stops to read its input.
        self._chan._send_request(b"eow@openssh.com")

    def _spawn(self, argv: list[str]) -> bool:
        if self._node.fault(Floods) is not None:
            return True
        env = self._processes.environment(self._node, self._chan.get_environment())
        self._node.count(commands_now=1)
        try:
            self._process = CommandProcess(
                argv, cwd=self._node.root, env=env, sink=self, ended=self._command_ended
            )
        except OSError:  # no process or no descriptor left: the request is refused
            self._command_ended()
            return False
        return True

    def _command_ended(self) -> None:
        self._node.count(commands_now=-1)

    def _close_when_done(self) -> None:
        if self._exited and self._output_done and self._node.fault(NeverCloses) is None:
            self._chan.close()

    def _pour(self) -> None:
        """Write block after block, until the channel says stop (by `pause_writing`)."""
        if not self._paused and not self._chan.is_closing() and self._flood is not None:
            self._chan.write(self._flood)
            asyncio.get_running_loop().call_soon(self._pour)


def _no_process(_process: asyncssh.SSHServerProcess[bytes]) -> None:
    raise AssertionError("only SFTP is left to asyncssh's own session class")


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
