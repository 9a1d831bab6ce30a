"""Copying a file or a tree to a node, or from it, over SFTP.

A file is written under another name beside its final one, and renamed when it is whole. What
a server says that a file is called is a name in a directory of ours and nothing else, or an
error.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Awaitable, Callable, Iterator
from typing import BinaryIO, Final, TypeVar

import trio

from trioshell.transports._base import Copy
from trioshell.transports._openssh_sftp import NAME_BYTES, PIECE_BYTES, Sftp
from trioshell.transports._openssh_sftp_packets import Attributes, SftpError, SftpLost

T = TypeVar("T")

# A server may list directories within directories without an end.
_DEEPEST: Final = 256

# How long a half-written file on the server may take to be removed when we have to go.
_REMOVE_SECONDS: Final = 1.0

# What the names of one node that wait to be copied may take in memory: those of some million
# files in one directory, with those of the directories above it.
_LISTED_BYTES: Final = 1 << 28

# What can't be copied is named so often, and with so many characters; the rest is counted.
_MOST_COMPLAINTS: Final = 1000
_SHOWN_CHARS: Final = 300

_LONGEST_NAME: Final = 255
_PERMISSIONS: Final = 0o777


class _Failed(Exception):
    """A file could not be copied; the others still can. Its text is for the user."""


class Transfer:
    """One copy on one node.

    Local files are read and written in place, piece by piece: that takes less than going to
    a thread and back would.

    Attributes:
        done_bytes: how much of the files has been copied.
        total_bytes: how much there is to copy, as far as it has been looked at.
        failed: True if something could not be copied.
    """

    def __init__(self, sftp: Sftp, node: str, copy: Copy, say: Callable[[str], object]) -> None:
        self.done_bytes = 0
        self.total_bytes = 0
        self.failed = False
        self._sftp = sftp
        self._node = node
        self._copy = copy
        self._say = say
        self._room = _LISTED_BYTES
        self._failures = 0

    async def run(self) -> None:
        """Copy all of it. What can't be copied is said, and `failed` is set.

        Raises:
            SftpLost: the connection broke.
        Cancelled, it removes the file that it has written in part, if it can.
        """
        source, dest = os.fsencode(self._copy.source), os.fsencode(self._copy.dest)
        try:
            if self._copy.reverse:
                await self._fetch(_at_home(source), dest)
            else:
                self.total_bytes = _size(source)
                await self._put(source, await self._destination(source, _at_home(dest)), ())
        except _Failed as failure:
            self._fail(failure)
        if self._failures > _MOST_COMPLAINTS:
            self._say(f"{self._failures - _MOST_COMPLAINTS} more could not be copied")

    def _fail(self, failure: _Failed) -> None:
        self.failed = True
        self._failures += 1
        if self._failures <= _MOST_COMPLAINTS:
            self._say(str(failure))

    # -- to the node -------------------------------------------------------------------

    async def _destination(self, source: bytes, dest: bytes) -> bytes:
        if await self._is_directory(dest):
            return os.path.join(dest, _name_of(source))
        if dest.endswith(b"/"):
            raise _Failed(f"{self._node}:{_show(dest)}: not a directory")
        return dest

    async def _put(self, path: bytes, dest: bytes, parents: tuple[tuple[int, int], ...]) -> None:
        """Copy a file or a tree; `parents` are the directories above it, which may not recur."""
        status = _local(path, os.stat, path)
        if stat.S_ISREG(status.st_mode):
            await self._put_file(path, status, dest)
            return
        if not stat.S_ISDIR(status.st_mode):
            raise _Failed(f"{_show(path)}: not a regular file")
        here = (status.st_dev, status.st_ino)
        if here in parents:
            raise _Failed(f"{_show(path)}: a link to a directory above it")
        if not await self._is_directory(dest):
            # Ours to write into, whatever its mode will be.
            mode = status.st_mode & _PERMISSIONS | 0o700
            await self._there(dest, self._sftp.mkdir(dest, mode))
        for name in _local(path, _listed, path):
            try:
                await self._put(
                    os.path.join(path, name), os.path.join(dest, name), (*parents, here)
                )
            except _Failed as failure:
                self._fail(failure)
        if self._copy.preserve:
            await self._there(dest, self._sftp.set_attributes(dest, _attributes(status)))

    async def _put_file(self, path: bytes, status: os.stat_result, dest: bytes) -> None:
        dest = await self._follow(dest)
        existing = await self._existing_mode(dest)
        keep = self._copy.preserve or existing is None
        mode = status.st_mode & _PERMISSIONS if keep else existing
        with _local(path, _opened, path) as source:
            partial = _partial(dest)
            handle = await self._there(dest, self._sftp.create(partial, mode or 0o600))
            try:
                await self._there(dest, self._sftp.write_all(handle, self._pieces(path, source)))
                if self._copy.preserve:
                    attributes = _attributes(status)
                    await self._there(dest, self._sftp.set_handle_attributes(handle, attributes))
                elif existing is not None:
                    attributes = Attributes(mode=existing)
                    await self._there(dest, self._sftp.set_handle_attributes(handle, attributes))
                await self._there(dest, self._sftp.close(handle))
                await self._there(dest, self._sftp.replace(dest, partial))
            except SftpLost:
                raise
            except BaseException:  # also cancelled: half a file must not stay there
                await self._remove(partial)
                raise

    def _pieces(self, path: bytes, source: BinaryIO) -> Iterator[bytes]:
        while piece := _local(path, source.read, PIECE_BYTES):
            yield piece
            self.done_bytes += len(piece)

    async def _follow(self, dest: bytes) -> bytes:
        """Where `dest` leads if it is a symbolic link: that is what is written, not the link."""
        try:
            mode = (await self._sftp.lstat(dest)).mode
        except SftpError:
            return dest
        if mode is None or not stat.S_ISLNK(mode):
            return dest
        return await self._there(dest, self._sftp.realpath(dest))

    async def _existing_mode(self, dest: bytes) -> int | None:
        try:
            mode = (await self._sftp.stat(dest)).mode
        except SftpError:
            return None
        if mode is None:
            return None
        if stat.S_ISDIR(mode):
            raise _Failed(f"{self._node}:{_show(dest)}: is a directory")
        return mode & _PERMISSIONS

    async def _is_directory(self, path: bytes) -> bool:
        try:
            mode = (await self._sftp.stat(path)).mode
        except SftpError:
            return False
        return mode is not None and stat.S_ISDIR(mode)

    async def _remove(self, partial: bytes) -> None:
        # Shielded, since we may be cancelled, and bounded, since the node may be gone.
        with trio.move_on_after(_REMOVE_SECONDS, shield=True):
            try:
                await self._sftp.remove(partial)
            except (SftpError, SftpLost):
                pass  # what failed before counts

    # -- from the node -----------------------------------------------------------------

    async def _fetch(self, source: bytes, dest: bytes) -> None:
        name = os.path.basename(source.rstrip(b"/"))
        if name in (b"", b".", b".."):  # the name is that of the directory which this leads to
            resolved = await self._there(source, self._sftp.realpath(source))
            name = os.path.basename(resolved.rstrip(b"/")) or b"root"
        name += os.fsencode(f".{self._node}")
        _check_name(name)
        await self._get(source, os.path.join(dest, name), ())

    async def _get(self, source: bytes, dest: bytes, parents: tuple[bytes, ...]) -> None:
        """Fetch a file or a tree; `parents` are the directories above it, which may not recur."""
        attributes = await self._there(source, self._sftp.stat(source))
        kind = stat.S_IFMT(attributes.mode or stat.S_IFREG)
        if kind not in (stat.S_IFDIR, stat.S_IFREG, 0):
            raise _Failed(f"{self._node}:{_show(source)}: not a regular file")
        if kind != stat.S_IFDIR:
            await self._get_file(source, attributes, dest)
            return
        here = await self._real(source)
        if here in parents or len(parents) > _DEEPEST:
            raise _Failed(
                f"{self._node}:{_show(source)}: a link to a directory above it, or too deep"
            )
        _local(dest, _make_directory, dest)
        names = await self._there(source, self._sftp.names(source, self._room))
        taken = sum(map(len, names)) + NAME_BYTES * len(names)
        self._room -= taken
        for name in names:
            # A server that answers before it is asked must not keep others from their turn.
            await trio.lowlevel.checkpoint()
            try:
                _check_name(name)
                await self._get(
                    os.path.join(source, name), os.path.join(dest, name), (*parents, here)
                )
            except _Failed as failure:
                self._fail(failure)
        self._room += taken
        if self._copy.preserve:
            _local(dest, _set_attributes, dest, attributes)

    async def _real(self, path: bytes) -> bytes:
        """Where `path` leads, as far as the server says so."""
        try:
            return await self._sftp.realpath(path)
        except SftpError:
            return path

    async def _get_file(self, source: bytes, attributes: Attributes, dest: bytes) -> None:
        size = attributes.size or 0
        self.total_bytes += size
        mode = (attributes.mode if attributes.mode is not None else 0o644) & _PERMISSIONS
        handle = await self._there(source, self._sftp.open(source))
        partial = _partial(dest)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = _local(dest, os.open, partial, flags, mode)
        try:
            with open(fd, "wb") as target:  # noqa: ASYNC230  # see the class

                def take(piece: bytes) -> None:
                    _local(dest, target.write, piece)
                    self.done_bytes += len(piece)

                await self._there(source, self._sftp.read_all(handle, size, take))
                _local(dest, target.flush)
            await self._there(source, self._sftp.close(handle))
            if self._copy.preserve:
                _local(dest, _set_attributes, partial, attributes)
            _local(dest, os.replace, partial, dest)
        except BaseException:  # also cancelled: half a file must not stay here
            os.unlink(partial)
            raise

    # -- both --------------------------------------------------------------------------

    async def _there(self, path: bytes, awaitable: Awaitable[T]) -> T:
        """Await it; what the server has against it becomes a failure of this file."""
        try:
            return await awaitable
        except SftpError as exc:
            raise _Failed(f"{self._node}:{_show(path)}: {exc}") from None


def _local(path: bytes, function: Callable[..., T], *arguments: object) -> T:
    """Call it; what the system has against it becomes a failure of this file."""
    try:
        return function(*arguments)
    except OSError as exc:
        raise _Failed(f"{_show(path)}: {exc.strerror}") from None


def _name_of(path: bytes) -> bytes:
    return os.path.basename(os.path.abspath(path))


def _size(path: bytes) -> int:
    """The bytes of all files below `path`; what can't be looked at counts nothing."""
    total = 0
    folders = os.walk(path) if os.path.isdir(path) else [(os.path.dirname(path), [], [path])]
    for folder, _, names in folders:
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def _listed(path: bytes) -> list[bytes]:
    return sorted(os.listdir(path))


def _opened(path: bytes) -> BinaryIO:
    return open(path, "rb")


def _make_directory(path: bytes) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        # A link would lead out of the destination.
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise


def _set_attributes(path: bytes, attributes: Attributes) -> None:
    if attributes.mode is not None:
        os.chmod(path, attributes.mode & _PERMISSIONS)
    if attributes.times is not None:
        os.utime(path, attributes.times)


def _attributes(status: os.stat_result) -> Attributes:
    times = (int(status.st_atime), int(status.st_mtime))
    return Attributes(mode=status.st_mode & _PERMISSIONS, times=times)


def _at_home(path: bytes) -> bytes:
    """A path on the server; what is relative there is so to the home directory."""
    return b"." if path in (b"", b"~") else path.removeprefix(b"~/") or b"."


def _partial(dest: bytes) -> bytes:
    folder, name = os.path.split(dest)
    token = b".trioshell-" + secrets.token_hex(6).encode()
    return os.path.join(folder, b"." + name[: _LONGEST_NAME - 1 - len(token)] + token)


def _check_name(name: bytes) -> None:
    bad = not name or name in (b".", b"..") or b"/" in name or b"\0" in name
    if bad or len(name) > _LONGEST_NAME:
        raise _Failed(f"{_show(name)}: not a name that a file here may have")


def _show(path: bytes) -> str:
    shown = path.decode("utf-8", "backslashreplace")
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."
