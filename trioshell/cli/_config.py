"""The settings of clush.conf and of the run modes defined beside it, as plain text."""

from __future__ import annotations

import configparser
import glob
import os
import string
from collections.abc import Iterator, Mapping

from trioshell.cli._settings import ConfigError

_MAIN = "Main"


def load_config(conf: str | None, mode: str | None) -> Mapping[str, str]:
    """Read the settings, as clush would find them.

    Args:
        conf: the one file to read; None for all usual places, of which a later one wins over
            an earlier: system, user's installation, virtual environment, user.
        mode: a run mode, whose settings win over all those outside it; None for none.

    Raises:
        ConfigError: `conf` cannot be read, a file cannot be understood, or there is no such mode.
    """
    parser = configparser.ConfigParser()
    try:
        read = parser.read([conf] if conf is not None else _usual_places())
        if conf is not None and not read:
            raise ConfigError(f"--conf {conf}: the file cannot be read")
        if read:
            parser.read(_mode_files(parser, os.path.dirname(read[-1])))
        settings = dict(parser[_MAIN]) if parser.has_section(_MAIN) else {}
        if mode is not None:
            settings |= _mode(parser, mode)
    except (configparser.Error, UnicodeDecodeError) as exc:
        raise ConfigError("clush.conf: " + " ".join(str(exc).split())) from None
    return settings


def _usual_places() -> list[str]:
    from ClusterShell.Defaults import config_paths  # the one list that clush itself goes by

    return [str(path) for path in config_paths("clush.conf")]


def _mode_files(parser: configparser.ConfigParser, directory: str) -> Iterator[str]:
    """The files in which modes are defined, ``$CFGDIR`` being where clush.conf was found."""
    import shlex

    for pattern in dict.fromkeys(shlex.split(parser.get(_MAIN, "confdir", fallback=""))):
        place = string.Template(pattern).safe_substitute(CFGDIR=directory)
        yield from sorted(glob.glob(os.path.join(glob.escape(place), "*.conf")))


def _mode(parser: configparser.ConfigParser, mode: str) -> Mapping[str, str]:
    prefix = "mode:"
    section = prefix + mode
    if not parser.has_section(section):
        known = [name.removeprefix(prefix) for name in parser.sections() if name.startswith(prefix)]
        raise ConfigError(
            f"--mode {mode}: there is no such run mode in clush.conf; there "
            + (f"are: {', '.join(known)}" if known else "are none")
        )
    return dict(parser[section])
