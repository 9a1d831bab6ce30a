"""known_hosts files, read once and indexed: which keys a host is known by, and where it says so.

asyncssh reads and parses such a file anew for every connection, with every key in it. Here a
key is decoded when the first host of its line is asked for; plain names are found by a
dictionary, and only patterns and hashed names are tried one by one.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hmac
import os
import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DEFAULT_PORT: Final = 22
_MARKERS: Final = ("", "@cert-authority", "@revoked")


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key of a known_hosts line.

    Attributes:
        marker: ``""``, ``"@cert-authority"`` or ``"@revoked"``.
        key: the type and the base64 of the key, as a public key is written.
        place: the file and the line.
    """

    marker: str
    key: str
    place: str


class KnownHosts:
    """The files of known host keys, in the order in which they are asked.

    A file that does not exist is empty; one that changes is read again. Lines that hold no
    key we understand are skipped, as ssh skips them.

    Args:
        files: the files; the first is where `add` writes.
        hashed: True to write names hashed.
    """

    def __init__(self, files: Sequence[Path], *, hashed: bool = False) -> None:
        self.files = tuple(files)
        self._hashed = hashed
        self._indexes: dict[Path, tuple[object, _Index]] = {}

    def lookup(self, host: str, port: int) -> list[KnownKey]:
        """All that is known of `host`. If nothing is under its port, what is without one."""
        name = _name(host, port)
        found = [key for index in self._current() for key in index.find(name)]
        if not found and name != host.lower():
            found = [key for index in self._current() for key in index.find(host.lower())]
        return found

    def add(self, host: str, port: int, key: str) -> None:
        """Write down `key` (its type and base64) as the one of `host`.

        Raises:
            OSError: the file cannot be written.
        """
        name = _name(host, port)
        if self._hashed:
            salt = secrets.token_bytes(20)
            name = f"|1|{_encode(salt)}|{_encode(_hash(salt, name))}"
        file = self.files[0]
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with open(fd, "r+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
            # The last line of a file edited by hand may lack its end.
            lead = b"" if end == 0 or stream.read(1) == b"\n" else b"\n"
            stream.write(lead + f"{name} {key}\n".encode())

    def _current(self) -> Iterator[_Index]:
        for file in self.files:
            try:
                stat = os.stat(file)
                stamp: object = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            except OSError:
                continue
            known = self._indexes.get(file)
            if known is None or known[0] != stamp:
                known = (stamp, _Index(file))
                self._indexes[file] = known
            yield known[1]


class _Index:
    """The lines of one file, by name."""

    def __init__(self, file: Path) -> None:
        self._plain: dict[str, list[KnownKey]] = defaultdict(list)
        self._patterns: list[tuple[list[str], KnownKey]] = []
        self._hashed: list[tuple[bytes, bytes, KnownKey]] = []
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return  # no permission: nothing is known from it
        for number, line in enumerate(text.splitlines(), 1):
            self._add(line, f"{file} line {number}")

    def _add(self, line: str, place: str) -> None:
        words = line.split()
        marker = words.pop(0) if line.startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or marker not in _MARKERS:
            return
        names, kind, blob = words[:3]
        known = KnownKey(marker, f"{kind} {blob}", place)
        if names.startswith("|"):
            try:
                _, magic, salt, digest = names.split("|")
                if magic == "1":
                    entry = (binascii.a2b_base64(salt), binascii.a2b_base64(digest), known)
                    self._hashed.append(entry)
            except ValueError:  # binascii's too
                pass
        elif any(char in names for char in "*?!"):
            self._patterns.append((names.lower().split(","), known))
        else:
            for name in names.lower().split(","):
                self._plain[name].append(known)

    def find(self, name: str) -> Iterator[KnownKey]:
        yield from self._plain.get(name, ())
        for patterns, known in self._patterns:
            if _fits(name, patterns):
                yield known
        encoded = name.encode()
        for salt, digest, known in self._hashed:
            if hmac.digest(salt, encoded, "sha1") == digest:
                yield known


def _fits(name: str, patterns: list[str]) -> bool:
    fits = False
    for pattern in patterns:
        # Only * and ? are special here; [ is not, as names with a port begin with it.
        if fnmatch.fnmatchcase(name, pattern.lstrip("!").replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            fits = True
    return fits


def _name(host: str, port: int) -> str:
    return host.lower() if port == _DEFAULT_PORT else f"[{host.lower()}]:{port}"


def _hash(salt: bytes, name: str) -> bytes:
    return hmac.digest(salt, name.encode(), "sha1")


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
