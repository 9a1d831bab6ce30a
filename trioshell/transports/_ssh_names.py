"""Host names into addresses: at once where that needs no DNS, else in a thread."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, TypeAlias

import trio

# A family, and what connect() takes.
Address: TypeAlias = tuple[int, tuple[Any, ...]]

_HOSTS: Final = Path("/etc/hosts")
_SWITCH: Final = Path("/etc/nsswitch.conf")

# So many look-ups at once; each holds a thread, for as long as a name server keeps silent.
_LOOKUPS: Final = 16


class Names:
    """Looks names up. Addresses and what stands in the hosts file cost no thread.

    The hosts file is only believed where the system's resolver asks it first.
    """

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_LOOKUPS)
        self._stamp: object = None
        self._hosts: dict[str, list[str]] = {}
        self._files_first = _asks_files_first()

    async def lookup(self, host: str, port: int, family: int) -> list[Address]:
        """The addresses of `host`, best first; never empty.

        Raises:
            OSError: (`socket.gaierror`) there is none.
        Cancelled, a look-up that is under way goes on in its thread, and is forgotten.
        """
        for address in (host, *self._from_file(host)):
            found = _numeric(address, port, family)
            if found:
                return found
        return await trio.to_thread.run_sync(
            _resolve, host, port, family, limiter=self._limiter, abandon_on_cancel=True
        )

    def _from_file(self, host: str) -> list[str]:
        if not self._files_first:
            return []
        try:
            stat = os.stat(_HOSTS)
            if self._stamp != (stat.st_mtime_ns, stat.st_size):
                self._stamp = (stat.st_mtime_ns, stat.st_size)
                self._hosts = _parse_hosts(_HOSTS.read_text(errors="replace"))
        except OSError:
            return []
        found = self._hosts.get(host.lower(), [])
        # More than one: their order is the resolver's business.
        return found if len(found) == 1 else []


def _numeric(host: str, port: int, family: int) -> list[Address]:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    except socket.gaierror:
        return []
    return [(entry[0], entry[4]) for entry in found]


def _resolve(host: str, port: int, family: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    return [(entry[0], entry[4]) for entry in found]


def _parse_hosts(text: str) -> dict[str, list[str]]:
    hosts: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            hosts[name.lower()].append(address)
    return hosts


def _asks_files_first() -> bool:
    try:
        lines = _SWITCH.read_text(errors="replace").splitlines()
    except OSError:
        return True
    for line in lines:
        database, _, sources = line.partition("#")[0].partition(":")
        if database.strip() == "hosts":
            return sources.split()[:1] == ["files"]
    return True
