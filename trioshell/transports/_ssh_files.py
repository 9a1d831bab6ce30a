"""Copying a file or a tree to a server, or from it, over SFTP; for asyncio.

A file is written under another name beside its final one and renamed when it is whole. What a
server says a file is called is a name in a directory of ours and nothing else, or an error.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import asyncssh
from asyncssh.constants import (
    FILEXFER_TYPE_DIRECTORY,
    FILEXFER_TYPE_SYMLINK,
    FXF_CREAT,
    FXF_EXCL,
    FXF_WRITE,
)

from trioshell.transports._base import Copy

# asyncssh sends a piece of this size as many requests at once.
_PIECE_BYTES: Final = 1_048_576

# A server may list directories within directories without an end.
_DEEPEST: Final = 256

# How long to wait for a half-written file on the server to be removed.
_REMOVE_SECONDS: Final = 1.0

_LONGEST_NAME: Final = 255


class Failed(Exception):
    """A file could not be copied; the others still can. Its text is for the user."""


class Transfer:
    """One copy on one node.

    Attributes:
        done_bytes: how much of the files has been copied.
        total_bytes: how much there is to copy, as far as it has been looked at.
        failed: True if something could not be copied.
    """

    def __init__(self, sftp: Any, node: str, copy: Copy, say: Callable[[str], None]) -> None:
        self.done_bytes = 0
        self.total_bytes = 0
        self.failed = False
        self._sftp = sftp
        self._node = node
        self._copy = copy
        self._say = say

    async def run(self) -> None:
        """Copy all of it; what could not be copied is said, and `failed` is set."""
        source, dest = os.fsencode(self._copy.source), os.fsencode(self._copy.dest)
        with_node = os.fsencode(f".{self._node}")
        try:
            if self._copy.reverse:
                source = _at_home(source)
                name = os.path.basename(source.rstrip(b"/"))
                _check_name(name + with_node)
                await self._get(source, os.path.join(dest, name + with_node), 0)
            else:
                self.total_bytes = _size(source)
                await self._put(source, await self._destination(source, _at_home(dest)), ())
        except Failed as failure:
            self._fail(str(failure))

    def _fail(self, why: str) -> None:
        self.failed = True
        self._say(why)

    # -- to the server ------------------------------------------------------------------

    async def _destination(self, source: bytes, dest: bytes) -> bytes:
        if await self._is_directory(dest):
            return os.path.join(dest, _name_of(source))
        if dest.endswith(b"/"):
            raise Failed(f"{_show(dest)}: not a directory")
        return dest

    async def _put(self, path: bytes, dest: bytes, parents: tuple[tuple[int, int], ...]) -> None:
        """Copy a file or a tree; `parents` are the directories above it, which may not recur."""
        try:
            status = os.stat(path)
        except OSError as exc:
            raise Failed(f"{_show(path)}: {exc.strerror}") from None
        if stat.S_ISREG(status.st_mode):
            await self._put_file(path, status, dest)
            return
        if not stat.S_ISDIR(status.st_mode):
            raise Failed(f"{_show(path)}: not a regular file")
        here = (status.st_dev, status.st_ino)
        if here in parents:
            raise Failed(f"{_show(path)}: a link to a directory above it")
        await self._make_directory(dest, status)
        for name in _listed(path):
            try:
                await self._put(
                    os.path.join(path, name), os.path.join(dest, name), (*parents, here)
                )
            except Failed as failure:
                self._fail(str(failure))
        if self._copy.preserve:
            await self._reported(dest, self._sftp.setstat(dest, _attributes(status)))

    async def _make_directory(self, dest: bytes, status: os.stat_result) -> None:
        if not await self._is_directory(dest):
            # Ours to write into, whatever its mode will be.
            mode = stat.S_IMODE(status.st_mode) & 0o777 | 0o700
            attributes = asyncssh.SFTPAttrs(permissions=mode)
            await self._reported(dest, self._sftp.mkdir(dest, attributes))

    async def _put_file(self, path: bytes, status: os.stat_result, dest: bytes) -> None:
        dest = await self._follow(dest)
        existing = await self._mode_of(dest)
        keep_mode = self._copy.preserve or existing is None
        mode = stat.S_IMODE(status.st_mode) & 0o777 if keep_mode else existing
        partial = _partial(dest)
        try:
            # Local files are read and written in place: a piece takes less than going to a
            # thread and back would.
            with open(path, "rb") as source:  # noqa: ASYNC230  # see above
                attributes = asyncssh.SFTPAttrs(permissions=mode)
                flags = FXF_WRITE | FXF_CREAT | FXF_EXCL
                file = await self._reported(
                    dest, self._sftp.open(partial, flags, attributes, encoding=None)
                )
                try:
                    await self._reported(dest, self._send(source, file))
                    if self._copy.preserve:
                        await self._reported(dest, file.setstat(_attributes(status)))
                    elif existing is not None:
                        await self._reported(dest, file.chmod(existing))
                    await self._reported(dest, file.close())
                    await self._reported(dest, self._rename(partial, dest))
                except BaseException:  # also cancelled: half a file must not stay there
                    await self._remove(file, partial)
                    raise
        except OSError as exc:
            raise Failed(f"{_show(path)}: {exc.strerror}") from None

    async def _send(self, source: Any, file: Any) -> None:
        offset = 0
        while piece := source.read(_PIECE_BYTES):
            await file.write(piece, offset)
            offset += len(piece)
            self.done_bytes += len(piece)

    async def _follow(self, dest: bytes) -> bytes:
        """Where `dest` leads if it is a symbolic link: that is what is written, not the link."""
        try:
            attributes = await self._sftp.lstat(dest)
        except asyncssh.SFTPError:
            return dest
        if attributes.type != FILEXFER_TYPE_SYMLINK:
            return dest
        return bytes(await self._reported(dest, self._sftp.realpath(dest)))

    async def _mode_of(self, dest: bytes) -> int | None:
        try:
            attributes = await self._sftp.stat(dest)
        except asyncssh.SFTPError:
            return None
        if attributes.type == FILEXFER_TYPE_DIRECTORY:
            raise Failed(f"{_show(dest)}: is a directory")
        mode: int | None = attributes.permissions
        return None if mode is None else stat.S_IMODE(mode) & 0o777

    async def _rename(self, partial: bytes, dest: bytes) -> None:
        try:
            await self._sftp.posix_rename(partial, dest)
        except asyncssh.SFTPOpUnsupported:
            # Then there is no way to replace a file in one step; the new one is whole.
            try:
                await self._sftp.remove(dest)
            except asyncssh.SFTPError:
                pass  # there is none
            await self._sftp.rename(partial, dest)

    async def _remove(self, file: Any, partial: bytes) -> None:
        async def remove() -> None:
            try:
                await file.close()
                await self._sftp.remove(partial)
            except (asyncssh.SFTPError, OSError, asyncssh.Error, ValueError):
                pass  # the connection is gone, or the file is; what failed before counts

        # In a task of its own: we may be in the middle of being cancelled.
        await asyncio.wait({asyncio.ensure_future(remove())}, timeout=_REMOVE_SECONDS)

    # -- from the server ----------------------------------------------------------------

    async def _get(self, source: bytes, dest: bytes, depth: int) -> None:
        attributes = await self._reported(source, self._sftp.stat(source))
        if attributes.type != FILEXFER_TYPE_DIRECTORY:
            await self._get_file(source, attributes, dest)
            return
        if depth > _DEEPEST:
            raise Failed(f"{_show(source)}: too deep; is there a link to a directory above it?")
        try:
            _make_local_directory(dest)
        except OSError as exc:
            raise Failed(f"{_show(dest)}: {exc.strerror}") from None
        async for name in self._names(source):
            try:
                _check_name(name)
                await self._get(os.path.join(source, name), os.path.join(dest, name), depth + 1)
            except Failed as failure:
                self._fail(str(failure))
        if self._copy.preserve:
            _set_attributes(dest, attributes)

    async def _names(self, source: bytes) -> AsyncIterator[bytes]:
        entries = self._sftp.scandir(source)
        while True:
            try:
                entry = await self._reported(source, anext(entries))
            except StopAsyncIteration:
                return
            if entry.filename not in (b".", b".."):
                yield entry.filename

    async def _get_file(self, source: bytes, attributes: Any, dest: bytes) -> None:
        mode = stat.S_IMODE(attributes.permissions or 0o644) & 0o777
        self.total_bytes += attributes.size or 0
        partial = _partial(dest)
        file = await self._reported(source, self._sftp.open(source, "rb", encoding=None))
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            fd = os.open(partial, flags, mode)
            try:
                with open(fd, "wb") as target:  # noqa: ASYNC230  # see `_put_file`
                    await self._reported(source, self._receive(file, target))
                if self._copy.preserve:
                    _set_attributes(partial, attributes)
                os.replace(partial, dest)
            except BaseException:  # also cancelled: half a file must not stay here
                os.unlink(partial)
                raise
        except OSError as exc:
            raise Failed(f"{_show(dest)}: {exc.strerror}") from None
        finally:
            await self._close(file)

    async def _receive(self, file: Any, target: Any) -> None:
        offset = 0
        while piece := await file.read(_PIECE_BYTES, offset):
            target.write(piece)
            offset += len(piece)
            self.done_bytes += len(piece)

    async def _close(self, file: Any) -> None:
        try:
            await file.close()
        except (asyncssh.Error, OSError):
            pass  # it was read to the end, or the connection is gone: said elsewhere

    # -- both ---------------------------------------------------------------------------

    async def _is_directory(self, path: bytes) -> bool:
        try:
            return bool((await self._sftp.stat(path)).type == FILEXFER_TYPE_DIRECTORY)
        except asyncssh.SFTPError as exc:
            _raise_if_lost(exc)
            return False

    async def _reported(self, path: bytes, awaitable: Any) -> Any:
        """Await it; what the server has against it becomes `Failed`."""
        try:
            return await awaitable
        except asyncssh.SFTPError as exc:
            _raise_if_lost(exc)
            raise Failed(f"{self._node}:{_show(path)}: {exc.reason}") from None


def _raise_if_lost(exc: asyncssh.SFTPError) -> None:
    if isinstance(exc, (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost)):
        raise asyncssh.ConnectionLost(exc.reason) from None


def _name_of(path: bytes) -> bytes:
    return os.path.basename(os.path.abspath(path))


def _size(path: bytes) -> int:
    """The bytes of all files below `path`; what can't be looked at counts nothing."""
    if not os.path.isdir(path):
        return os.path.getsize(path) if os.path.exists(path) else 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def _listed(path: bytes) -> list[bytes]:
    try:
        return sorted(os.listdir(path))
    except OSError as exc:
        raise Failed(f"{_show(path)}: {exc.strerror}") from None


def _make_local_directory(path: bytes) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        # A link would lead out of the destination.
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise


def _set_attributes(path: bytes, attributes: Any) -> None:
    if attributes.permissions is not None:
        os.chmod(path, stat.S_IMODE(attributes.permissions) & 0o777)
    if attributes.atime is not None and attributes.mtime is not None:
        os.utime(path, (attributes.atime, attributes.mtime))


def _attributes(status: os.stat_result) -> asyncssh.SFTPAttrs:
    return asyncssh.SFTPAttrs(
        permissions=stat.S_IMODE(status.st_mode) & 0o777,
        atime=int(status.st_atime),
        mtime=int(status.st_mtime),
    )


def _at_home(path: bytes) -> bytes:
    """A path on the server; what is relative there is so to the home directory."""
    if path == b"~":
        return b"."
    return path.removeprefix(b"~/") or b"."


def _partial(dest: bytes) -> bytes:
    folder, name = os.path.split(dest)
    token = b".trioshell-" + secrets.token_hex(6).encode()
    return os.path.join(folder, b"." + name[: _LONGEST_NAME - 1 - len(token)] + token)


def _check_name(name: bytes) -> None:
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise Failed(f"{_show(name)}: not a name that a file here may have")


def _show(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
