"""What a clause of the contract is checked with: sessions, their output, and a look around."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from trioshell.testing._commands import marked
from trioshell.transports._base import Command, Job, Session, Transport

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet


def require(condition: object, seen: str) -> None:
    """Raise an AssertionError that says what was `seen` instead, unless `condition` holds."""
    if not condition:
        raise AssertionError(seen)


def shown(data: bytes) -> str:
    """`data` for a message: how much it is, and how it begins and ends."""
    if len(data) <= 120:
        return repr(data)
    return f"{len(data)} bytes, {data[:50]!r} ... {data[-50:]!r}"


def new_marker() -> str:
    """A number that no process has among its arguments, to know one's own processes by."""
    return str(700_000_000 + uuid.uuid4().int % 100_000_000)


@dataclass
class Probe:
    """The transport under test, entered, and where and with what it is tried.

    Attributes:
        nodes: the targets; every clause uses the first one, some use them all.
        unreachable: a target that cannot be reached; None if that clause is excluded.
        marker: replaces MARK in this clause's commands; another one for each clause.
    """

    transport: Transport
    nodes: NodeSet
    commands: Mapping[str, Command]
    unreachable: str | None
    marker: str = field(default_factory=new_marker)

    def command(self, name: str) -> Command:
        """The command of that name, with this clause's marker in it."""
        return marked(self.commands[name], self.marker)

    async def open(
        self, name: str, *, node: str | None = None, stdin: bool = False, stderr: bool = False
    ) -> Session:
        """Open a session that runs the command `name` on `node`, or on the first one."""
        node = self.nodes[0] if node is None else node
        nodes = self.nodes | self.nodes.fromlist([node])
        job = Job(self.command(name), nodes, stdin=stdin, stderr=stderr)
        self.transport.check(job)
        return await self.transport.open(job, node, list(nodes).index(node))

    @asynccontextmanager
    async def opened(
        self, name: str, *, node: str | None = None, stdin: bool = False, stderr: bool = False
    ) -> AsyncIterator[Session]:
        """The same, closed again at the end of the block, whatever has happened in it."""
        session = await self.open(name, node=node, stdin=stdin, stderr=stderr)
        try:
            yield session
        finally:
            # Shielded, so that a clause that runs out of time leaves nothing to the next one;
            # bounded, since the transport is not trusted here.
            with trio.CancelScope(deadline=trio.current_time() + 5, shield=True):
                await session.aclose()

    async def alive(self, node: str | None = None) -> list[str]:
        """The commands with this clause's marker on `node`, seen through the transport."""
        async with self.opened("processes", node=node) as session:
            listed = await read_all(session)
        return [line for line in listed.decode(errors="replace").split("\n") if self.marker in line]

    async def soon_gone(self, node: str | None = None) -> list[str]:
        """What is still `alive` after having had a moment to go, two seconds at most."""
        give_up = trio.current_time() + 2
        # Looked for again and again: nobody tells when a process elsewhere goes.
        while (left := await self.alive(node)) and trio.current_time() < give_up:  # noqa: ASYNC110
            await trio.sleep(0.02)
        return left


async def read_chunks(session: Session, into: list[tuple[str, bytes]]) -> None:
    """Add every chunk to `into` until the run is over, each one looked at."""
    while chunks := await session.receive():
        for sname, data in chunks:
            require(sname in ("stdout", "stderr"), f"a chunk of a stream {sname!r}")
            require(data and isinstance(data, bytes), f"a chunk that is {data!r}")
            into.append((sname, data))


async def read_all(session: Session, sname: str | None = None) -> bytes:
    """All output of the stream `sname`, or of both, until the run is over."""
    chunks: list[tuple[str, bytes]] = []
    await read_chunks(session, chunks)
    return b"".join(data for name, data in chunks if sname in (None, name))


async def read_lines(session: Session, lines: int) -> bytes:
    """Output up to the chunk in which so many lines are complete, which must come."""
    data = b""
    while data.count(b"\n") < lines:
        chunks = await session.receive()
        require(chunks, f"over after {shown(data)}, with {session.exit}, while it should run")
        data += b"".join(chunk for _, chunk in chunks)
    return data


@dataclass(frozen=True)
class Holdings:
    """What this process holds: open file descriptors, and child processes as far as /proc tells."""

    descriptors: frozenset[int]
    children: frozenset[int]

    @classmethod
    def now(cls) -> Holdings:
        """As of now, without what looking itself needs."""
        children: set[int] = set()
        try:
            for thread in os.listdir("/proc/self/task"):
                with open(f"/proc/self/task/{thread}/children") as file:
                    children.update(int(pid) for pid in file.read().split())
        except OSError:  # no /proc here, or a thread that has just ended
            pass
        names = os.listdir("/dev/fd")
        return cls(frozenset(fd for fd in map(int, names) if _is_open(fd)), frozenset(children))

    async def soon_again(self) -> None:
        """Require that no more is held than then, at once or within a second."""
        give_up = trio.current_time() + 1
        # Looked for again and again: nobody tells when a connection is closed for good.
        while (more := self._more_now()) and trio.current_time() < give_up:  # noqa: ASYNC110
            await trio.sleep(0.02)
        require(not more, f"more than before: {more}")

    def _more_now(self) -> str:
        now = Holdings.now()
        descriptors = len(now.descriptors) - len(self.descriptors)
        children = len(now.children - self.children)
        if descriptors <= 0 and not children:
            return ""
        return f"{max(descriptors, 0)} file descriptors, {children} child processes"


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
