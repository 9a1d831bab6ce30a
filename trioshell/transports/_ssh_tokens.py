"""The % tokens, variables and tildes in the values of an ssh config, and what they stand for."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path


def tokens(
    host: str, hostname: str | None, port: str, user: str, local_user: str, alias: str | None
) -> dict[str, str]:
    """What the % tokens of ssh stand for, for the host that the caller names so."""
    here = socket.gethostname()
    return {
        "h": host if hostname is None else expand(hostname, {"h": host, "n": host}),
        "n": host,
        "p": port,
        "r": user,
        "u": local_user,
        "k": alias or host,
        "d": os.path.expanduser("~"),
        "i": str(os.getuid()),
        "l": here,
        "L": here.partition(".")[0],
        "j": "",
    }


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with its % tokens replaced.

    Raises:
        ValueError: a token that is not among `values`.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        if found[1] not in values:
            raise ValueError(f"%{found[1]} in {text!r} stands for nothing that is known here")
        return values[found[1]]

    return re.sub(r"%(.)", value, text)


def expand_command(text: str, values: Mapping[str, str]) -> str:
    """A shell command of a config, with its % tokens; nothing in them is for the shell.

    They are not quoted, since a command may have put quotes around them.

    Raises:
        ValueError: as `expand`; or the name of a host or a user has a character that a shell
            would make something of.
    """
    for token in "hnrk":
        if f"%{token}" in text and re.search(r"[^\w.:@%+,/~=-]", values[token]):
            raise ValueError(f"{values[token]!r} can't be put into the command {text!r}")
    return expand(text, values)


def expand_path(text: str, values: Mapping[str, str]) -> Path:
    """A file name of a config: with ``~``, ``${NAME}`` and % tokens.

    Raises:
        ValueError: a token or a variable that does not exist.
    """
    return Path(os.path.expanduser(expand(expand_environment(text), values)))


def expand_environment(text: str) -> str:
    """`text` with its ``${NAME}`` replaced.

    Raises:
        ValueError: there is no such variable.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise ValueError(f"the environment has no variable {found[1]}")
        return os.environ[found[1]]

    return re.sub(r"\$\{([^}]*)\}", value, text)
