"""known_hosts files, read once and indexed: which keys a host is known by, and where it says so.

asyncssh reads and parses such a file anew for every connection, with every key in it. Here a
key is decoded when the first host of its line is asked for, plain names are found by a
dictionary, and only patterns are tried one by one.

A hashed name can only be found by hashing the host's name with the salt of every line, which
takes milliseconds for some thousand lines. But once the host has shown its key, only the lines
with that key have to be tried; so hashed names are left for then (`lookup_readable`, `has`).
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hmac
import os
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Final

_DEFAULT_PORT: Final = 22
_SHA1_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))

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


def check_known_hosts(files: Sequence[Path]) -> None:
    """Look whether files that the caller has named, to know hosts by, can be read.

    Raises:
        ValueError: one is not there, or can't be read. It names the file.
    """
    for file in files:
        try:
            file.open("rb").close()
        except FileNotFoundError:
            raise ValueError(f"known_hosts file {file} does not exist") from None
        except OSError as exc:
            raise ValueError(f"known_hosts file {file} cannot be read: {exc.strerror}") from None


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

    def lookup_readable(self, host: str, port: int) -> tuple[list[KnownKey], bool]:
        """What `lookup` finds without trying all hashed names, and whether that may be all."""
        indexes = list(self._current())
        if not any(index.hashes for index in indexes):
            return self.lookup(host, port), True
        found = [key for index in indexes for key in index.find_readable(_name(host, port))]
        # A hashed line more would be another key of the same host, which is not missed as long
        # as the host shows one that we have.
        return found, any(key.marker == "" for key in found)

    def has(self, host: str, port: int, key: str) -> bool:
        """True if a hashed name is that of `host`, and its line has this key."""
        name = _name(host, port)
        return any(index.has_hashed(name, key) for index in self._current())

    def hashed_types(self) -> list[str]:
        """The types of the keys of hashed names, the most frequent first."""
        counts: Counter[str] = Counter()
        for index in self._current():
            counts += index.hashed_types
        return [kind for kind, _ in counts.most_common()]

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
    """The lines of one file, by name, and those with a hashed name by key.

    Attributes:
        hashed_types: how many hashed names there are for each type of key.
    """

    def __init__(self, file: Path) -> None:
        self.hashed_types: Counter[str] = Counter()
        self._plain: dict[str, list[KnownKey]] = defaultdict(list)
        self._patterns: list[tuple[list[str], KnownKey]] = []
        self._hashed: dict[str, list[_Hashed]] = defaultdict(list)
        self._hashed_marked: list[_Hashed] = []
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return  # no permission: nothing is known from it
        for number, line in enumerate(text.splitlines(), 1):
            self._add(line, f"{file} line {number}")

    @property
    def hashes(self) -> bool:
        return bool(self._hashed)

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
                raw_salt = binascii.a2b_base64(salt)
                entry = _Hashed(raw_salt, binascii.a2b_base64(digest), known)
            except ValueError:  # binascii's too
                return
            if len(raw_salt) > _SHA1_BLOCK_BYTES:
                return  # ssh makes none like that, and does not take them
            if magic == "1" and marker:
                self._hashed_marked.append(entry)
            elif magic == "1":
                self._hashed[known.key].append(entry)
                self.hashed_types[kind] += 1
        elif any(char in names for char in "*?!"):
            self._patterns.append((names.lower().split(","), known))
        else:
            for name in names.lower().split(","):
                self._plain[name].append(known)

    def find(self, name: str) -> Iterator[KnownKey]:
        """All lines of `name`."""
        yield from self.find_readable(name)
        encoded = name.encode()
        for entries in self._hashed.values():
            yield from (entry.known for entry in entries if entry.is_of(encoded))

    def find_readable(self, name: str) -> Iterator[KnownKey]:
        """Those in which the name can be read, or which have a marker."""
        yield from self._plain.get(name, ())
        for patterns, known in self._patterns:
            if _fits(name, patterns):
                yield known
        encoded = name.encode()
        yield from (entry.known for entry in self._hashed_marked if entry.is_of(encoded))

    def has_hashed(self, name: str, key: str) -> bool:
        """True if one of the hashed lines with this key is of `name`."""
        encoded = name.encode()
        return any(entry.is_of(encoded) for entry in self._hashed.get(key, ()))


class _Hashed:
    """A line whose name is hashed: by HMAC-SHA1 (RFC 2104), with a salt as its key.

    Written out, as the two halves of the key are always the same: it takes half the time.
    """

    __slots__ = ("_digest", "_inner", "_outer", "known")

    def __init__(self, salt: bytes, digest: bytes, known: KnownKey) -> None:
        self.known = known
        self._digest = digest
        block = salt.ljust(_SHA1_BLOCK_BYTES, b"\0")
        self._inner = block.translate(_INNER)
        self._outer = block.translate(_OUTER)

    def is_of(self, name: bytes) -> bool:
        inner = sha1(self._inner + name, usedforsecurity=False).digest()
        return sha1(self._outer + inner, usedforsecurity=False).digest() == self._digest


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
