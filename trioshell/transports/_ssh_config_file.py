"""ssh_config(5) files, read: into settings and the blocks that they stand in.

Reading finds every mistake, with its file and line, whichever host it would concern.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from trioshell.transports import _ssh_options as known
from trioshell.transports._ssh_tokens import expand_environment

_DEEPEST_INCLUDE: Final = 16

# What `Match` takes. A criterion of the second group is never true here.
_CRITERIA: Final = frozenset(
    {"host", "originalhost", "user", "localuser", "tagged", "exec", "sessiontype", "command"}
)
NEVER: Final = frozenset({"localnetwork", "version"})
_ALONE: Final = frozenset({"all", "canonical", "final"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was said, for messages."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file} line {self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Setting:
    """A keyword, in lower case and under its newest name, with its arguments."""

    keyword: str
    values: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Block:
    """What follows a `Host` or `Match` line: the rule, as (criterion, negated, patterns)."""

    rule: tuple[tuple[str, bool, str], ...]


@dataclass(frozen=True, slots=True)
class Include:
    """The files that stand in this place."""

    files: tuple[tuple[Entry, ...], ...]


Entry: TypeAlias = Setting | Block | Include


class Reader:
    """Reads files, and keeps what is to be known of all of them.

    Attributes:
        mentioned: every keyword that is in a file (in lower case).
        not_ours: keywords that would change what happens, and do not here; where each is said.
        has_exec: True if there is a `Match exec`.
        has_final: True if there is a `Match final`, for which a second pass is needed.
    """

    def __init__(self) -> None:
        self.mentioned: set[str] = set()
        self.not_ours: dict[str, Place] = {}
        self.has_exec = False
        self.has_final = False
        self._ignored: list[str] = []

    def read(self, file: Path, *, missing_ok: bool = False) -> tuple[Entry, ...]:
        """What a file says; nothing if it may be missing, and is.

        Raises:
            ValueError: it can't be read, or holds a mistake; names the file and the line.
        """
        return self._read(file, 0, missing_ok)

    def override(self, keyword: str, value: str) -> Setting:
        """A setting that the caller has asked for; what we do not do is then his mistake.

        Raises:
            ValueError: as `read`.
        """
        place = Place(f"options[{keyword!r}]", 0)
        return self._setting(keyword, _words_of(keyword, value), place)

    def _read(self, file: Path, depth: int, missing_ok: bool) -> tuple[Entry, ...]:
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
        entries: list[Entry] = []
        for number, line in enumerate(text.splitlines(), 1):
            place = Place(str(file), number)
            keyword, rest = _split_keyword(line)
            if not keyword:
                continue
            try:
                entries += self._entry(keyword, rest, place, file.parent, depth)
            except ValueError as mistake:
                raise ValueError(f"{place}: {mistake}") from None
        return tuple(entries)

    def _entry(
        self, keyword: str, rest: str, place: Place, folder: Path, depth: int
    ) -> Iterator[Entry]:
        words = _words_of(keyword, rest)
        lower = keyword.lower()
        if lower == "host":
            if not words:
                raise _Mistake("Host takes one or more patterns")
            yield Block((("originalhost", False, ",".join(words)),))
        elif lower == "match":
            yield Block(tuple(self._rule(words)))
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

    def _setting(self, keyword: str, words: list[str], place: Place) -> Setting:
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
        self.mentioned.add(lower)
        self._note_not_ours(lower, words, place)
        return Setting(lower, tuple(words), place)

    def _note_not_ours(self, keyword: str, words: list[str], place: Place) -> None:
        if keyword not in known.NOT_OURS:
            return
        value = words[0].lower()
        if keyword == "stricthostkeychecking":
            # "no" of a file is not enough to take any key; of the caller, it is.
            if place.line and value in ("no", "off", "false"):
                self.not_ours.setdefault(keyword, place)
        elif value in known.OFF:
            return
        elif place.line:
            self.not_ours.setdefault(keyword, place)
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
                self.has_final |= criterion == "final"
            elif criterion not in _CRITERIA and criterion not in NEVER:
                raise _Mistake(f"Match does not know the criterion {criterion!r}")
            elif not equals:
                if not todo:
                    raise _Mistake(f"Match {criterion} takes a pattern")
                pattern = todo.pop(0)
            self.has_exec |= criterion == "exec"
            yield criterion, negated, pattern

    def _include(self, words: list[str], place: Place, folder: Path, depth: int) -> Include:
        if depth >= _DEEPEST_INCLUDE:
            raise _Mistake("Include goes too deep; does a file include itself?")
        if not words:
            raise _Mistake("Include takes one or more files")
        files: list[tuple[Entry, ...]] = []
        base = folder if folder == Path("/etc/ssh") else Path("~/.ssh").expanduser()
        for word in words:
            path = base / Path(expand_environment(word)).expanduser()
            files += [self._read(name, depth + 1, missing_ok=False) for name in sorted(_glob(path))]
        return Include(tuple(files))


class _Mistake(ValueError):
    """A mistake in a line; whoever knows the file and the line says so."""


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
