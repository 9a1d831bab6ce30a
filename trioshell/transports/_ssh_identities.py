"""The user's private keys on disk: found and looked at without asyncssh, loaded with it."""

from __future__ import annotations

import binascii
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncssh

# What ssh tries when nobody names a key, in its order.
DEFAULT_NAMES: Final = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")

_OPENSSH_MAGIC: Final = b"openssh-key-v1\0"


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key that somebody has named.

    Attributes:
        file: where it is.
        said: who named it, for messages: a parameter, or a file and a line.
        needed: True if its absence is an error (it was a parameter, not a config).
    """

    file: Path
    said: str
    needed: bool = False


def default_identities() -> list[Identity]:
    """The keys in ``~/.ssh`` that ssh tries by itself, as far as they exist."""
    folder = Path("~/.ssh").expanduser()
    found = [Identity(folder / name, "the defaults") for name in DEFAULT_NAMES]
    return [identity for identity in found if identity.file.exists()]


def check_identity(identity: Identity, *, unlockable: bool) -> None:
    """Look whether a key can be used, without decoding it.

    Args:
        unlockable: True if an encrypted one is no obstacle: there is an agent that may hold
            it, or somebody to ask for its passphrase.

    Raises:
        ValueError: it is needed and not there, can't be read, is no private key, or needs a
            passphrase that nobody can give. It names the file and who asked for it.
    """
    what = f"key file {identity.file} ({identity.said})"
    try:
        data = identity.file.read_bytes()
    except FileNotFoundError:
        if identity.needed:
            raise ValueError(f"{what} does not exist") from None
        return
    except OSError as exc:
        raise ValueError(f"{what} cannot be read: {exc.strerror}") from None
    if not identity.needed and _is_public(data):
        return  # names a key of the agent
    if b"PRIVATE KEY-----" not in data:
        raise ValueError(f"{what} holds no private key")
    if is_encrypted(data) and not unlockable:
        raise ValueError(
            f"{what} needs a passphrase, and there is neither an ssh-agent nor a password "
            "callback to give it"
        )


def _is_public(data: bytes) -> bool:
    return data.startswith((b"ssh-", b"ecdsa-", b"sk-"))


def is_encrypted(data: bytes) -> bool:
    """True if the private key in `data` is protected by a passphrase."""
    if b"ENCRYPTED" in data[:400]:  # PEM and PKCS#8 say so in their first lines
        return True
    _, begin, rest = data.partition(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    if not begin:
        return False
    try:
        blob = binascii.a2b_base64(rest.partition(b"-----END")[0])
    except binascii.Error:
        return False  # loading it will say what is wrong
    if not blob.startswith(_OPENSSH_MAGIC):
        return False
    at = len(_OPENSSH_MAGIC)
    size = int.from_bytes(blob[at : at + 4], "big")
    return blob[at + 4 : at + 4 + size] != b"none"


@dataclass(slots=True)
class LoadedIdentity:
    """A key in memory.

    Attributes:
        file: where it came from.
        public: the public key's data, by which an agent's key is recognised.
        pairs: what asyncssh takes: the key with each of its certificates, and the key. None
            if only its public half is known (it is locked, or a file with a public key).
    """

    file: Path
    public: bytes
    pairs: list[Any]


class IdentityStore:
    """Keys by file, each read and decoded once (again only if its file changes)."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[Path, bool], tuple[object, LoadedIdentity | None]] = {}

    def load(
        self, identity: Identity, certificates: tuple[Path, ...], passphrase: str | None = None
    ) -> LoadedIdentity | None:
        """The key and its certificates; None if its file is not there, or locked.

        Raises:
            ValueError: there is something wrong with it; names the file.
        """
        stamp = _stamp(identity.file)
        if stamp is None:
            return None
        where = (identity.file, passphrase is not None)
        known = self._loaded.get(where)
        if known is None or known[0] != stamp:
            known = (stamp, _load(identity, certificates, passphrase))
            self._loaded[where] = known
        return known[1]


def _stamp(file: Path) -> object:
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _load(
    identity: Identity, certificates: tuple[Path, ...], passphrase: str | None
) -> LoadedIdentity | None:
    import asyncssh

    data = identity.file.read_bytes()
    if _is_public(data):
        return LoadedIdentity(identity.file, asyncssh.import_public_key(data).public_data, [])
    try:
        key = asyncssh.import_private_key(data, passphrase)
    except ValueError as exc:  # all of asyncssh's own among them
        if not is_encrypted(data):
            raise ValueError(f"key file {identity.file} cannot be used: {exc}") from None
        if passphrase is not None:
            raise ValueError(f"key file {identity.file} cannot be unlocked: {exc}") from None
        return _public_half(identity.file)
    pairs: list[Any] = [
        (key, certificate)
        for file in (*certificates, Path(f"{identity.file}-cert.pub"))
        for certificate in _certificates(file)
        if certificate.key.public_data == key.public_data
    ]
    return LoadedIdentity(identity.file, key.public_data, [*pairs, key])


def _public_half(file: Path) -> LoadedIdentity | None:
    import asyncssh

    try:
        return LoadedIdentity(file, asyncssh.read_public_key(f"{file}.pub").public_data, [])
    except (OSError, asyncssh.KeyImportError):
        return None


def _certificates(file: Path) -> list[asyncssh.SSHCertificate]:
    import asyncssh

    try:
        return [asyncssh.read_certificate(file)]
    except FileNotFoundError:
        return []
    except (OSError, asyncssh.KeyImportError) as exc:
        raise ValueError(f"certificate {file} cannot be used: {exc}") from None
