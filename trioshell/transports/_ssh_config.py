"""What ssh_config(5) files say of a host: the first value found counts.

The files are read once. Asking is then a walk over what was read, without I/O (except
`Match exec`, which is a command), so thousands of hosts cost one reading.
"""

from __future__ import annotations

import fnmatch
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trioshell.transports import _ssh_options as known
from trioshell.transports._ssh_config_file import (
    NEVER,
    Block,
    Entry,
    Include,
    Place,
    Reader,
    Setting,
)
from trioshell.transports._ssh_tokens import expand, expand_command, tokens


@dataclass(slots=True)
class HostSettings:
    """What the files say of one host.

    Attributes:
        values: the arguments by keyword in lower case, still with their % tokens.
        places: where each was said.
    """

    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    def first(self, keyword: str) -> str | None:
        """The only argument of a keyword; None if nothing was said of it."""
        values = self.values.get(keyword)
        return values[0] if values else None

    def flag(self, keyword: str, default: bool) -> bool:
        """A yes or no, which was checked when the file was read."""
        value = self.first(keyword)
        return default if value is None else known.parse_flag(value)

    def tokens(self, host: str, local_user: str) -> dict[str, str]:
        """What % tokens stand for, for the host that the caller names so."""
        return tokens(
            host,
            self.first("hostname"),
            self.first("port") or "22",
            self.first("user") or local_user,
            local_user,
            self.first("hostkeyalias"),
        )

    def take(self, setting: Setting) -> None:
        """Add a setting that applies to this host."""
        keyword = setting.keyword
        if keyword in known.COLLECTED:
            known_before = self.values.get(keyword, ())
            if known_before == ("none",) or (
                keyword != "sendenv" and setting.values[0] in known_before
            ):
                return
            self.values[keyword] = known_before + setting.values
            self.places.setdefault(keyword, setting.place)
        elif keyword not in self.values:
            self.values[keyword] = setting.values
            self.places[keyword] = setting.place


class SshConfig:
    """The settings of some files and of the caller, for every host.

    Args:
        overrides: what comes before all files, as ``ssh -o`` does: keyword to value.
        files: the files in the order of their weight. One that does not exist is an
            error unless it is in `optional`.
        optional: files that need not be there.

    Raises:
        ValueError: a file can't be read, or holds a mistake; it names file and line.
    """

    def __init__(
        self,
        overrides: Mapping[str, str] | None = None,
        files: Sequence[Path] = (),
        optional: Sequence[Path] = (),
    ) -> None:
        self._reader = Reader()
        self._overrides = [
            self._reader.override(keyword, value) for keyword, value in (overrides or {}).items()
        ]
        self._asked = {setting.keyword for setting in self._overrides}
        self._files = [self._reader.read(file, missing_ok=file in optional) for file in files]

    @property
    def has_exec(self) -> bool:
        """True if `lookup` runs commands, and so blocks."""
        return self._reader.has_exec

    def not_honoured(self) -> dict[str, Place]:
        """The keywords that would change what happens, and do not here; where each is said."""
        return {
            keyword: place
            for keyword, place in self._reader.not_ours.items()
            if keyword not in self._asked  # the caller has said otherwise
        }

    def mentions(self, keyword: str) -> bool:
        """True if a keyword (in lower case) is in any of the files or options."""
        return keyword in self._reader.mentioned

    def lookup(
        self, host: str, user: str | None, local_user: str, port: int | None = None
    ) -> HostSettings:
        """What holds for `host`, as the caller named it.

        Runs the commands of `Match exec`, if there are any.
        """
        found = HostSettings()
        if user is not None:
            found.values["user"] = (user,)
        if port is not None:
            found.values["port"] = (str(port),)
        for setting in self._overrides:
            found.take(setting)
        asked = _Question(host, local_user, found)
        for entries in self._files:
            asked.ask(entries)
        if self._reader.has_final:
            # By now a host has a name, and what a second pass says of it comes too late.
            found.values.setdefault("hostname", (host.replace("%", "%%"),))
            asked.final = True
            for entries in self._files:
                asked.ask(entries)
        return found


class _Question:
    """What is asked of the entries: a host, and what is known of it so far."""

    def __init__(self, host: str, local_user: str, found: HostSettings) -> None:
        self.host = host
        self.local_user = local_user
        self.found = found
        self.final = False
        self._seen: set[Setting] = set()
        self._ran: dict[str, bool] = {}

    def ask(self, entries: Iterable[Entry]) -> None:
        """Take from a file what holds for this host."""
        for setting in self._answer(entries):
            if not (self.final and setting in self._seen):  # a second time
                self._seen.add(setting)
                self.found.take(setting)

    def _answer(self, entries: Iterable[Entry], matching: bool = True) -> Iterator[Setting]:
        """The settings of those blocks that match, in order; lazily, for they build up."""
        outer = matching
        for entry in entries:
            if isinstance(entry, Block):
                matching = outer and all(self._holds(*one) for one in entry.rule)
            elif isinstance(entry, Include):
                for file in entry.files:
                    yield from self._answer(file, matching)
            elif matching:
                yield entry

    def _holds(self, criterion: str, negated: bool, pattern: str) -> bool:
        return self._is(criterion, pattern) != negated

    def _is(self, criterion: str, pattern: str) -> bool:
        if criterion == "all":
            return True
        if criterion == "final":
            return self.final
        if criterion in NEVER or criterion == "canonical":
            return False
        if criterion == "exec":
            return self._exec(pattern)
        return matches(self._value(criterion), pattern)

    def _value(self, criterion: str) -> str:
        if criterion == "host":
            name = self.found.first("hostname")
            return self.host if name is None else expand(name, {"h": self.host, "n": self.host})
        return {
            "originalhost": self.host,
            "localuser": self.local_user,
            "user": self.found.first("user") or self.local_user,
            "tagged": self.found.first("tag") or "",
            "sessiontype": "exec",
            "command": "",
        }[criterion]

    def _exec(self, command: str) -> bool:
        command = expand_command(command, self.found.tokens(self.host, self.local_user))
        if command not in self._ran:
            done = subprocess.run(
                [os.environ.get("SHELL") or "/bin/sh", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            self._ran[command] = done.returncode == 0
        return self._ran[command]


def matches(value: str, patterns: str) -> bool:
    """True if one of the comma-separated patterns fits `value`, and none with a ``!`` does."""
    fits = False
    for pattern in patterns.split(","):
        negated = pattern.startswith("!")
        if _fits(value.lower(), pattern.removeprefix("!").lower()):
            if negated:
                return False
            fits = True
    return fits


def _fits(value: str, pattern: str) -> bool:
    # Only * and ? are special to ssh; to fnmatch, [ is too.
    return fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))
