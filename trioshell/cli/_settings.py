"""Settings as text, read as what they are to be, with a sentence for each that is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from trioshell.cli._parser import UsageError

DEFAULTS: Mapping[str, str] = {
    "fanout": "64",
    "connect_timeout": "10",
    "command_timeout": "0",
    "color": "auto",
    "verbosity": "1",
    "node_count": "yes",
    "maxrc": "no",
    "password_prompt": "no",
    "command_prefix": "",
    "history_size": "100",
    "fd_max": "8192",
    "ssh_user": "",
    "ssh_path": "",
    "ssh_options": "",
}

# Known to clush, and without a meaning here.
_CLUSH_ONLY = frozenset(
    ("confdir", "scp_path", "scp_options", "rsh_path", "rcp_path", "rsh_options")
)

_BOOLEANS = {
    **dict.fromkeys(("1", "yes", "true", "on"), True),
    **dict.fromkeys(("0", "no", "false", "off"), False),
}


class ConfigError(Exception):
    """A setting of clush.conf, or of ``-O``, cannot be used; says which, and what is accepted."""


class Settings:
    """The settings in force: an option of the command line, else ``-O``, else the files.

    Args:
        files: what clush.conf says.
        overrides: the words given with ``-O``.
        options: from the name of a setting to the option that sets it and the value given,
            None for options that were not given.
    """

    def __init__(
        self,
        files: Mapping[str, str],
        overrides: list[str],
        options: Mapping[str, tuple[str, object]],
    ) -> None:
        given = {key: pair for key, pair in options.items() if pair[1] is not None}
        self._option = {key: option for key, (option, _) in given.items()}
        self._values = {
            **DEFAULTS,
            **files,
            **dict(map(_split, overrides)),
            **{key: str(value) for key, (_, value) in given.items()},
        }

    def text(self, key: str) -> str:
        return self._values[key]

    def whole(self, key: str, least: int | None = None) -> int:
        """A whole number, not below `least`."""
        try:
            value = int(self._values[key])
        except ValueError:
            raise self._wrong(key, "a whole number") from None
        if least is not None and value < least:
            raise self._wrong(key, f"a whole number from {least}")
        return value

    def fanout(self, key: str) -> int | Literal["auto"]:
        """A whole number from 1, or the word that leaves it to us."""
        return "auto" if self._values[key] == "auto" else self.whole(key, least=1)

    def seconds(self, key: str) -> float | None:
        """A bound in seconds; None for 0 and for infinity, which are none."""
        try:
            value = float(self._values[key])
        except ValueError:
            value = math.nan
        if not value >= 0:  # so that NaN is refused too
            raise self._wrong(key, "a number of seconds from 0")
        return value if 0 < value < math.inf else None

    def boolean(self, key: str) -> bool:
        value = _BOOLEANS.get(self._values[key].lower())
        if value is None:
            raise self._wrong(key, "yes or no")
        return value

    def choice(self, key: str, accepted: tuple[str, ...]) -> str:
        """One of the words that are accepted."""
        value = self._values[key]
        if value not in accepted:
            raise self._wrong(key, " or ".join(filter(None, accepted)))
        return value

    def _wrong(self, key: str, accepted: str) -> UsageError | ConfigError:
        value = self._values[key]
        if key in self._option:
            return UsageError(f"option {self._option[key]}: {value!r} is not {accepted}")
        return ConfigError(f"the setting {key} is {value!r}, which is not {accepted}")


def _split(setting: str) -> tuple[str, str]:
    """A setting given with ``-O``."""
    key, equals, value = (part.strip() for part in setting.partition("="))
    if not equals:
        raise ConfigError(f"-O {setting}: a setting is given as KEY=VALUE")
    if key not in DEFAULTS and key not in _CLUSH_ONLY:
        raise ConfigError(
            f"-O {setting}: there is no such setting; there are {', '.join(DEFAULTS)}"
        )
    return key, value
