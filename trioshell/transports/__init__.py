"""The ways to reach nodes, and how one is found by its name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trioshell._errors import SpawnError, TransportError
from trioshell.transports._base import Chunk, Command, Copy, Job, Session, Transport

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from trioshell.transports._exec import ExecTransport
    from trioshell.transports._openssh import OpenSshTransport
    from trioshell.transports._ssh import SshTransport

__all__ = [
    "Chunk",
    "Command",
    "Copy",
    "ExecTransport",
    "Job",
    "OpenSshTransport",
    "Session",
    "SpawnError",
    "SshTransport",
    "Transport",
    "TransportError",
    "check_transport",
    "find_transport",
]

_ENTRY_POINTS = "trioshell.transports"

# Imported when first asked for: a program that only uses SSH needs no epoll, and the other
# way round.
_OURS = {
    "ExecTransport": "_exec",
    "OpenSshTransport": "_openssh",
    "SshTransport": "_ssh",
}
_NAMES = {"exec": "ExecTransport", "openssh": "OpenSshTransport", "ssh": "SshTransport"}


def __getattr__(name: str) -> Any:
    if name not in _OURS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OURS[name]}"), name)


def check_transport(transport: object) -> str | Transport:
    """A `Transport`, or a name that stands for one; nothing is loaded.

    Raises:
        ValueError: nobody has registered that name.
        TypeError: it is neither a string nor a `Transport`.
    """
    if isinstance(transport, Transport):
        return transport
    if not isinstance(transport, str):
        raise TypeError(f"transport must be a name or a Transport, not {transport!r}")
    if transport not in _NAMES and transport not in _registered():
        known = ", ".join(repr(known) for known in sorted({*_NAMES, *_registered()}))
        raise ValueError(f"transport must be one of {known}, not {transport!r}")
    return transport


def find_transport(transport: str | Transport) -> Transport:
    """The transport that a name stands for, made with its defaults; an object as it is.

    Raises:
        ValueError: or TypeError, as `check_transport`.
        TransportError: what is registered under the name can't be loaded.
    """
    found = check_transport(transport)
    if isinstance(found, Transport):
        return found
    made: Any = (__getattr__(_NAMES[found]) if found in _NAMES else _load(found))()
    if not isinstance(made, Transport):
        raise TransportError(f"what is registered as transport {found!r} makes no Transport")
    return made


def _registered() -> dict[str, EntryPoint]:
    from importlib import metadata  # a third of what our whole import costs

    return {point.name: point for point in metadata.entry_points(group=_ENTRY_POINTS)}


def _load(name: str) -> Any:
    try:
        return _registered()[name].load()
    except Exception as exc:  # whatever a third party's module does when it is imported
        raise TransportError(f"transport {name!r} can't be loaded: {exc}") from exc
