"""Arguments, checked at the call: one sentence that names it, what it was and what is accepted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import PurePath


def check_seconds(name: str, value: object) -> float | None:
    """A duration in seconds, 0 or more; None, or infinity, for no bound."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} must be 0 seconds or more, not {value!r}")
    return None if math.isinf(value) else float(value)


def check_finite_seconds(name: str, value: object) -> float:
    """A duration in seconds, 0 or more, that has an end."""
    seconds = check_seconds(name, value)
    if seconds is None:
        raise ValueError(f"{name} must be a finite number of seconds, not {value!r}")
    return seconds


def check_fanout(name: str, value: object) -> int:
    """A number of sessions, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {value!r}")
    return value


def check_fanout_or_auto(name: str, value: object) -> int | None:
    """A number of sessions, 1 or more; None for the word that leaves it to us."""
    if value == "auto":
        return None
    if isinstance(value, str):
        raise TypeError(f"{name} must be a whole number or 'auto', not {value!r}")
    return check_fanout(name, value)


def check_cap(name: str, value: object) -> float | None:
    """A number of bytes, 1 or more; infinity for no bound, None for nothing said."""
    if value is None:
        return None
    if value == math.inf:
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number of bytes or None, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be 1 byte or more, not {value!r}")
    return value


def check_flag(name: str, value: object) -> bool:
    """True or False, and nothing that merely counts as one of them."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def check_hashable(name: str, value: object) -> None:
    """Something to look results up by."""
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"{name} must be hashable, and {value!r} is not") from None


def check_command(value: object) -> str | tuple[str, ...]:
    """A shell command line, or an argument vector as a tuple."""
    if isinstance(value, str):
        words: tuple[object, ...] = (value,)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        words = tuple(value)
    else:
        raise TypeError(f"command must be a string or a sequence of strings, not {value!r}")
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"command must be made of strings, not {word!r}")
        if "\0" in word:
            raise ValueError(f"command must not contain a NUL character: {word!r}")
        try:
            word.encode(errors="surrogateescape")  # as bytes that are not UTF-8 are handed on
        except UnicodeEncodeError:
            raise ValueError(f"command must not contain lone surrogates: {word!r}") from None
    if not words or not str(words[0]).strip():
        raise ValueError(f"command must not be empty, but was {value!r}")
    return value if isinstance(value, str) else tuple(str(word) for word in words)


def check_path(name: str, value: object) -> str:
    """A path of a file, here or elsewhere."""
    if isinstance(value, PurePath):
        value = str(value)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a path, not {value!r}")
    if not value or "\0" in value:
        raise ValueError(f"{name} must be a path, without NUL characters, not {value!r}")
    return value


def check_files(name: str, value: object) -> Iterable[object]:
    """File names, in a collection; one of them alone would be taken for one of letters."""
    if isinstance(value, str | bytes | PurePath) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of file names, not {value!r}")
    return value


def check_data(name: str, value: object) -> bytes:
    """Bytes to be written, taken as they are now."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{name} must be bytes, not {value!r}")
    return bytes(value)
