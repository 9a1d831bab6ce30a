"""The options of ssh(1) as ``-o`` takes them, read as what our transports are given."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from trioshell.cli._parser import UsageError

# From an option of ssh without a value to the keyword and value of ssh_config(5) that say the
# same; None for what is so anyway when a program uses ssh (no terminal, no prompt).
_FLAGS: dict[str, tuple[str, str] | None] = {
    "4": ("AddressFamily", "inet"),
    "6": ("AddressFamily", "inet6"),
    "A": ("ForwardAgent", "yes"),
    "a": ("ForwardAgent", "no"),
    "C": ("Compression", "yes"),
    "K": ("GSSAPIAuthentication", "yes"),
    "k": ("GSSAPIDelegateCredentials", "no"),
    "X": ("ForwardX11", "yes"),
    "Y": ("ForwardX11Trusted", "yes"),
    "q": ("LogLevel", "QUIET"),
    "v": ("LogLevel", "VERBOSE"),
    "x": None,
    "n": None,
    "T": None,
}

# The same for options with a value; an empty keyword for those that have a place of their own.
_VALUED = {
    "b": "BindAddress",
    "B": "BindInterface",
    "c": "Ciphers",
    "m": "MACs",
    "I": "PKCS11Provider",
    **dict.fromkeys("pliJFo", ""),
}


@dataclass
class SshWords:
    """What the options of an ssh command line say, under the names of our transports."""

    user: str | None = None
    port: int | None = None
    identity_files: list[str] = field(default_factory=list)
    jump: str | None = None
    config: str | None = None
    options: dict[str, str] = field(default_factory=dict)


def parse_ssh_words(text: str) -> SshWords:
    """Read ``-p 2022 -i ~/.ssh/key -oStrictHostKeyChecking=no``, as a shell would split it.

    Of an option that is given twice the first counts, as for ssh.

    Raises:
        UsageError: it has an option that ssh does not know, or that makes no sense here.
    """
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise UsageError(f"option -o: {text!r} cannot be split into words: {exc}") from None
    found = SshWords()
    while words:
        word = words.pop(0)
        if not word.startswith("-") or len(word) < 2:
            raise UsageError(f"option -o: {word!r} is not an option of ssh")
        _read_word(found, word, words)
    return found


def _read_word(found: SshWords, word: str, rest: list[str]) -> None:
    """Read one word of options; the value of its last one may be the first of `rest`."""
    for place, letter in enumerate(word[1:], start=2):
        if letter in _VALUED:
            value = word[place:] or (rest.pop(0) if rest else "")
            if not value:
                raise UsageError(f"option -o: ssh's option -{letter} needs a value")
            _take(found, letter, value)
            return
        if letter not in _FLAGS:
            raise UsageError(f"option -o: ssh's option -{letter} cannot be used here")
        flag = _FLAGS[letter]
        if flag is not None:
            _set(found, *flag)


def _take(found: SshWords, letter: str, value: str) -> None:
    match letter:
        case "p":
            found.port = _port(value) if found.port is None else found.port
        case "l":
            found.user = found.user or value
        case "i":
            found.identity_files.append(value)
        case "J":
            found.jump = found.jump or value
        case "F":
            found.config = found.config or value
        case "o":
            keyword, _, setting = value.replace("=", " ", 1).strip().partition(" ")
            if not setting.strip():
                raise UsageError(f"option -o: {value!r} is not KEYWORD=VALUE of ssh_config(5)")
            _set(found, keyword, setting.strip())
        case _:
            _set(found, _VALUED[letter], value)


def _set(found: SshWords, keyword: str, value: str) -> None:
    if keyword.lower() not in map(str.lower, found.options):
        found.options[keyword] = value


def _port(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 65535:
        raise UsageError(f"option -o: {value!r} is not a port from 1 to 65535")
    return int(value)
