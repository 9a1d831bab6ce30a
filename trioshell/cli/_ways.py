"""The transport that a command line asks for, set up as it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trioshell.cli._parser import UsageError
from trioshell.cli._ssh_words import parse_ssh_words

if TYPE_CHECKING:
    from trioshell.cli._options import Options
    from trioshell.transports import Transport

_SSH = ("ssh", "openssh")


def make_transport(options: Options, warn: Callable[[str], None]) -> str | Transport:
    """The transport of ``-R`` with what ``-l``, ``-i`` and ``-o`` say; others by their name.

    Args:
        warn: is told what cannot be honoured.

    Raises:
        UsageError: ``-o`` cannot be understood.
        ValueError: or TypeError; the transport refuses a setting.
    """
    if options.transport not in _SSH:
        return options.transport
    if options.ssh_path is not None and options.ssh_path.split("/")[-1] != "ssh":
        warn(f"the setting ssh_path ({options.ssh_path}) is not honoured")
    from trioshell import transports

    kind = transports.SshTransport if options.transport == "ssh" else transports.OpenSshTransport
    return kind(**_arguments(options))


def _arguments(options: Options) -> dict[str, Any]:
    words = parse_ssh_words(options.ssh_options)
    wanted = {
        "user": options.user or words.user,
        "port": words.port,
        "identity_files": (*options.identity_files, *words.identity_files),
        "jump": words.jump,
        "config": words.config,
        "host_keys": _host_keys(words.options),
        "options": words.options,
    }
    return {name: value for name, value in wanted.items() if value}


def _host_keys(options: dict[str, str]) -> str | None:
    """StrictHostKeyChecking, which has an argument of its own; taken out of `options`."""
    for keyword in tuple(options):
        if keyword.lower() == "stricthostkeychecking":
            value = options.pop(keyword).lower()
            known = {"yes": "strict", "ask": "strict", "accept-new": "accept-new"}
            known |= {"no": "off", "off": "off"}
            if value not in known:
                raise UsageError(
                    f"option -o: StrictHostKeyChecking is yes, accept-new or no, not {value!r}"
                )
            return known[value]
    return None
