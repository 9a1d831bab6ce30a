"""ssh_config(5) files, read once and asked for each host: the first value found counts.

Reading finds every mistake, with its file and line, whichever host it would concern. Asking
is then a walk over what was read, without I/O (except `Match exec`, which is a command). So
thousands of hosts cost one reading.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trioshell.transports import _ssh_options as known

_DEEPEST_INCLUDE: Final = 16

# What `Match` takes. A criterion of the second group is never true here.
_CRITERIA: Final = frozenset(
    {"host", "originalhost", "user", "localuser", "tagged", "exec", "sessiontype", "command"}
)
_NEVER: Final = frozenset({"localnetwork", "version"})
_ALONE: Final = frozenset({"all", "canonical", "final"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was said, for messages."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file} line {self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class _Setting:
    keyword: str
    values: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class _Block:
    """What follows a `Host` or `Match` line: the rule, as (criterion, negated, patterns)."""

    rule: tuple[tuple[str, bool, str], ...]


@dataclass(frozen=True, slots=True)
class _Include:
    files: tuple[tuple[_Entry, ...], ...]


_Entry = _Setting | _Block | _Include


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

    def take(self, setting: _Setting) -> None:
        """Add a setting that applies to this host."""
        keyword = setting.keyword
        if keyword in known.COLLECTED:
            if self.values.get(keyword) != ("none",):
                self.values[keyword] = self.values.get(keyword, ()) + setting.values
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
        self._not_ours: dict[str, Place] = {}
        self._mentioned: set[str] = set()
        self.has_exec = False
        self._has_final = False
        self._ignored: list[str] = []
        # What the caller asks for is asked for: what we do not do is his mistake.
        self._overrides = [
            self._setting(keyword, _words_of(keyword, value), Place(f"options[{keyword!r}]", 0))
            for keyword, value in (overrides or {}).items()
        ]
        self._asked = {setting.keyword for setting in self._overrides}
        self._files: list[tuple[_Entry, ...]] = []
        for file in files:
            self._files.append(self._read(file, 0, missing_ok=file in optional))

    def not_honoured(self) -> dict[str, Place]:
        """The keywords that would change what happens, and do not here; where each is said."""
        return {
            keyword: place
            for keyword, place in self._not_ours.items()
            if keyword not in self._asked  # the caller has said otherwise
        }

    def mentions(self, keyword: str) -> bool:
        """True if a keyword (in lower case) is in any of the files or options."""
        return keyword in self._mentioned

    def lookup(
        self, host: str, user: str | None, local_user: str, port: int | None = None
    ) -> HostSettings:
        """What holds for `host`, as the caller named it.

        Runs the commands of `Match exec`, so it blocks if `has_exec` is true.
        """
        found = HostSettings()
        if user is not None:
            found.values["user"] = (user,)
        if port is not None:
            found.values["port"] = (str(port),)
        for setting in self._overrides:
            found.take(setting)
        asked = _Question(host, local_user, found)
        for final in (False, True) if self._has_final else (False,):
            asked.final = final
            for entries in self._files:
                for setting in asked.answer(entries):
                    # Only a second pass could bring the same collected line again.
                    if not (final and setting in asked.seen):
                        asked.seen.add(setting)
                        found.take(setting)
        return found

    # -- reading ------------------------------------------------------------------------

    def _read(self, file: Path, depth: int, missing_ok: bool) -> tuple[_Entry, ...]:
        try:
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            if missing_ok:
                return ()
            raise ValueError(f"config file {file} does not exist") from None
        except OSError as exc:
            if missing_ok and isinstance(exc, PermissionError) and depth == 0:
                return ()
            raise ValueError(f"config file {file} cannot be read: {exc.strerror}") from None
        entries: list[_Entry] = []
        for number, line in enumerate(text.splitlines(), 1):
            place = Place(str(file), number)
            keyword, rest = _split_keyword(line)
            if not keyword:
                continue
            try:
                entries += self._entry(keyword, rest, place, file.parent, depth)
            except _Mistake as mistake:
                raise ValueError(f"{place}: {mistake}") from None
        return tuple(entries)

    def _entry(
        self, keyword: str, rest: str, place: Place, folder: Path, depth: int
    ) -> Iterator[_Entry]:
        words = _words_of(keyword, rest)
        lower = keyword.lower()
        if lower == "host":
            if not words:
                raise _Mistake("Host takes one or more patterns")
            yield _Block((("originalhost", False, ",".join(words)),))
        elif lower == "match":
            yield _Block(tuple(self._rule(words)))
        elif lower == "include":
            yield self._include(words, place, folder, depth)
        elif lower == "ignoreunknown":
            self._ignored += [pattern.lower() for word in words for pattern in word.split(",")]
        elif not self._is_ignored(lower):
            yield self._setting(keyword, words, place)

    def _is_ignored(self, keyword: str) -> bool:
        keyword = known.ALIASES.get(keyword, keyword)
        return not known.is_known(keyword) and any(
            fnmatch.fnmatchcase(keyword, pattern) for pattern in self._ignored
        )

    def _setting(self, keyword: str, words: list[str], place: Place) -> _Setting:
        lower = known.ALIASES.get(keyword.lower(), keyword.lower())
        said = f"{keyword} in {place}" if not place.line else keyword
        if not known.is_known(lower):
            raise _Mistake(f"{said} is not an option that ssh knows")
        if not words:
            raise _Mistake(f"{said} has no value")
        if len(words) > 1 and lower in known.HONOURED and lower not in known.MANY:
            raise _Mistake(f"{said} takes one value, not {len(words)}")
        check = known.CHECKS.get(lower)
        try:
            if check:
                check(words[0])
        except ValueError as exc:
            raise _Mistake(f"{said} {exc}, not {words[0]!r}") from None
        self._mentioned.add(lower)
        self._note_not_ours(lower, words, place)
        return _Setting(lower, tuple(words), place)

    def _note_not_ours(self, keyword: str, words: list[str], place: Place) -> None:
        if keyword not in known.NOT_OURS:
            return
        value = words[0].lower()
        if keyword == "stricthostkeychecking":
            # "no" of a file is not enough to take any key; of the caller, it is.
            if place.line and value in ("no", "off", "false"):
                self._not_ours.setdefault(keyword, place)
        elif value in known.OFF:
            return
        elif place.line:
            self._not_ours.setdefault(keyword, place)
        elif keyword != "forwardagent":
            reason = known.NOT_OURS[keyword]
            hint = f" ({reason})" if reason else ""
            raise ValueError(f"{place} cannot be honoured{hint}; transport 'openssh' can")

    def _rule(self, words: list[str]) -> Iterator[tuple[str, bool, str]]:
        if not words:
            raise _Mistake("Match takes one or more criteria")
        todo = list(words)
        while todo:
            criterion, equals, pattern = todo.pop(0).partition("=")
            negated = criterion.startswith("!")
            criterion = criterion.removeprefix("!").lower()
            if criterion in _ALONE:
                pattern = ""
                self._has_final |= criterion == "final"
            elif criterion not in _CRITERIA and criterion not in _NEVER:
                raise _Mistake(f"Match does not know the criterion {criterion!r}")
            elif not equals:
                if not todo:
                    raise _Mistake(f"Match {criterion} takes a pattern")
                pattern = todo.pop(0)
            self.has_exec |= criterion == "exec"
            yield criterion, negated, pattern

    def _include(self, words: list[str], place: Place, folder: Path, depth: int) -> _Include:
        if depth >= _DEEPEST_INCLUDE:
            raise _Mistake("Include goes too deep; does a file include itself?")
        if not words:
            raise _Mistake("Include takes one or more files")
        files: list[tuple[_Entry, ...]] = []
        base = folder if folder == Path("/etc/ssh") else Path("~/.ssh").expanduser()
        for word in words:
            path = base / Path(_expand_environment(word)).expanduser()
            files += [self._read(name, depth + 1, missing_ok=False) for name in sorted(_glob(path))]
        return _Include(tuple(files))


class _Mistake(ValueError):
    """A mistake in a line; whoever knows the file and the line says so."""


class _Question:
    """What is asked of the entries: a host, and what is known of it so far."""

    def __init__(self, host: str, local_user: str, found: HostSettings) -> None:
        self.host = host
        self.local_user = local_user
        self.found = found
        self.final = False
        self.seen: set[_Setting] = set()
        self._ran: dict[str, bool] = {}

    def answer(self, entries: Iterable[_Entry], matching: bool = True) -> Iterator[_Setting]:
        """The settings of those blocks that match, in order; lazily, for they build up."""
        outer = matching
        for entry in entries:
            if isinstance(entry, _Block):
                matching = outer and all(self._holds(*one) for one in entry.rule)
            elif isinstance(entry, _Include):
                for file in entry.files:
                    yield from self.answer(file, matching)
            elif matching:
                yield entry

    def _holds(self, criterion: str, negated: bool, pattern: str) -> bool:
        return self._is(criterion, pattern) != negated

    def _is(self, criterion: str, pattern: str) -> bool:
        if criterion == "all":
            return True
        if criterion == "final":
            return self.final
        if criterion in _NEVER or criterion == "canonical":
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
        command = expand_command(command, tokens(self.host, self.found, self.local_user))
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


def tokens(host: str, settings: HostSettings, local_user: str) -> dict[str, str]:
    """What the % tokens of ssh stand for, for this host."""
    here = socket.gethostname()
    name = settings.first("hostname")
    return {
        "h": host if name is None else expand(name, {"h": host, "n": host}),
        "n": host,
        "p": settings.first("port") or "22",
        "r": settings.first("user") or local_user,
        "u": local_user,
        "d": os.path.expanduser("~"),
        "i": str(os.getuid()),
        "l": here,
        "L": here.partition(".")[0],
        "k": settings.first("hostkeyalias") or host,
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
    return Path(os.path.expanduser(expand(_expand_environment(text), values)))


def _expand_environment(text: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise _Mistake(f"the environment has no variable {found[1]}")
        return os.environ[found[1]]

    return re.sub(r"\$\{([^}]*)\}", value, text)


def _glob(path: Path) -> list[Path]:
    if not any(char in str(path) for char in "*?["):
        return [path] if path.is_file() else []
    relative = str(path).lstrip("/")
    return [found for found in Path("/").glob(relative) if found.is_file()]


def _split_keyword(line: str) -> tuple[str, str]:
    line = line.strip(" \t\r\f")
    if not line or line.startswith("#"):
        return "", ""
    found = re.match(r'"([^"]*)"|([^\s="]+)', line)
    if found is None:
        return line, ""
    rest = line[found.end() :].lstrip()
    return found[1] or found[2], rest[1:].lstrip() if rest.startswith("=") else rest


def _words_of(keyword: str, rest: str) -> list[str]:
    if keyword.lower() in known.WHOLE_LINE:
        return [rest] if rest else []
    lexer = shlex.shlex(rest, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.whitespace = " \t\r\f"
    lexer.commenters = ""
    lexer.escape = "\\"
    try:
        words = list(lexer)
    except ValueError:
        raise _Mistake(f"{keyword} has a quote that is not closed") from None
    # A comment may follow the arguments, as ssh has it since 8.5.
    for at, word in enumerate(words):
        if word.startswith("#"):
            return words[:at]
    return words
