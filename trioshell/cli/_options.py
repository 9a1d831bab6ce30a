"""The command line (and clush's configuration) parsed into one frozen record, `Options`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trioshell.cli._parser import UsageError, make_parser
from trioshell.cli._settings import Settings

if TYPE_CHECKING:
    import optparse

QUIET, STANDARD, VERBOSE, DEBUG = range(4)


@dataclass(frozen=True, slots=True)
class Options:
    """All that was asked for, decided: nothing here is still to be looked up elsewhere.

    Where clush has both an option and a setting of clush.conf, the option wins, then the
    setting, then the default.

    Attributes:
        words: the words of the command, or with `copy` and `rcopy` the sources.
        nodes, exclude, groups, exclude_groups, all_nodes, hostfiles, pick: how the targets
            are chosen, in clush's order.
        group_source: the group source of ``-g``, ``-X``, ``-a`` and ``-r``; None for the default.
        groups_conf: a file read instead of groups.conf; None for the usual ones.
        fanout: at most so many commands at once; from 1. ``"auto"`` for as many as is best.
        connect_timeout, command_timeout: seconds, above 0; None for no limit.
        gather, gather_all, line_mode, diff: the form of the output.
        label: False for output without node names.
        node_count: True to count the nodes in headers and messages.
        verbosity: from `QUIET` to `DEBUG`.
        color: ``"never"``, ``"always"``, ``"auto"``, or ``""``: auto, if no variable of the
            environment says otherwise.
        outdir, errdir: the directories that get a file a node; None for none.
        max_output_bytes, max_line_bytes: how much of a node's output, and of a line, is kept
            and shown; None for all.
        command_prefix: words that are put before every command.
        password_prompt: True to ask for a password, and to send it ahead of the input.
        history_size: how many lines of the interactive mode are remembered; below 0 all.
        fd_max: up to how many open descriptors the soft limit may be raised.
    """

    words: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    exclude_groups: tuple[str, ...] = ()
    all_nodes: bool = False
    hostfiles: tuple[str, ...] = ()
    pick: int | None = None
    group_source: str | None = None
    groups_conf: str | None = None
    transport: str = "ssh"
    user: str | None = None
    ssh_options: str = ""
    ssh_path: str | None = None
    identity_files: tuple[str, ...] = ()
    fanout: int | Literal["auto"] = 64
    connect_timeout: float | None = 10.0
    command_timeout: float | None = None
    gather: bool = False
    gather_all: bool = False
    line_mode: bool = False
    diff: bool = False
    regroup: bool = False
    group_prefix: bool = True
    axis: str | None = None
    label: bool = True
    node_count: bool = True
    max_rc: bool = False
    verbosity: int = STANDARD
    color: str = "auto"
    progress: bool = False
    outdir: str | None = None
    errdir: str | None = None
    max_output_bytes: int | None = None
    max_line_bytes: int | None = None
    no_stdin: bool = False
    copy: bool = False
    rcopy: bool = False
    dest: str | None = None
    preserve: bool = False
    json: bool = False
    fail_fast: bool = False
    mode: str | None = None
    command_prefix: tuple[str, ...] = ()
    password_prompt: bool = False
    history_size: int = 100
    fd_max: int = 8192


# What reads the configuration: from a file's name or None, a run mode or None, to settings.
ConfigLoader = Callable[[str | None, str | None], Mapping[str, str]]


def parse(argv: Sequence[str], load: ConfigLoader) -> Options:
    """Turn a command line into `Options`.

    Options end at the first word that is none, or at ``--``, as clush's do; with ``--copy``
    and ``--rcopy`` they may also follow the sources.

    Args:
        argv: the words after the program's name.
        load: gives the settings of clush.conf and of a run mode.

    Raises:
        UsageError: the command line is wrong; says what, and what is accepted.
        ConfigError: a setting is wrong.
        SystemExit: ``--help`` or ``--version`` has been printed.
    """
    values, words = make_parser().parse_args(list(argv))
    settings = Settings(load(values.conf, values.mode), values.option, _given(values))
    options = _build(values, tuple(words), settings)
    _check(options)
    return options


def _given(values: optparse.Values) -> dict[str, tuple[str, object]]:
    """The settings that have an option, each with its option and the value given, or None."""
    return {
        "verbosity": ("-q", _verbosity(values)),
        "fanout": ("-f", values.fanout),
        "ssh_user": ("-l", values.user),
        "ssh_options": ("-o", values.options),
        # 0 is "not given", as in clush
        "connect_timeout": ("-t", values.connect_timeout or None),
        "command_timeout": ("-u", values.command_timeout or None),
        "color": ("--color", values.whencolor),
        "maxrc": ("-S", "yes" if values.maxrc or values.fail_fast else None),
    }


def _verbosity(values: optparse.Values) -> int | None:
    """The verbosity asked for by an option: of several, the most talkative wins."""
    if values.debug:
        return DEBUG
    if values.verbose:
        return VERBOSE
    return QUIET if values.quiet else None


def _build(values: optparse.Values, words: tuple[str, ...], settings: Settings) -> Options:
    import shlex  # not at the top: --help does without it

    return Options(
        words=words,
        nodes=tuple(values.nodes),
        exclude=tuple(values.exclude),
        groups=tuple(values.group),
        exclude_groups=tuple(values.exgroup),
        all_nodes=values.nodes_all,
        hostfiles=tuple(values.hostfile),
        pick=values.pick,
        group_source=values.groupsource,
        groups_conf=values.groupsconf,
        transport=values.worker,
        user=settings.text("ssh_user") or None,
        ssh_options=settings.text("ssh_options"),
        ssh_path=settings.text("ssh_path") or None,
        identity_files=tuple(values.identity),
        fanout=settings.fanout("fanout"),
        connect_timeout=settings.seconds("connect_timeout"),
        command_timeout=settings.seconds("command_timeout"),
        gather=values.gather or values.gatherall or values.diff,
        gather_all=values.gatherall,
        line_mode=values.line_mode,
        diff=values.diff,
        regroup=values.regroup,
        group_prefix=not values.groupbase,
        axis=values.axis,
        label=values.label,
        node_count=settings.boolean("node_count"),
        max_rc=settings.boolean("maxrc"),
        verbosity=settings.whole("verbosity", least=QUIET),
        color=settings.choice("color", ("", "never", "always", "auto")),
        progress=values.progress,
        outdir=values.outdir,
        errdir=values.errdir,
        max_output_bytes=values.max_output_bytes,
        max_line_bytes=values.max_line_bytes,
        no_stdin=values.nostdin,
        copy=values.copy,
        rcopy=values.rcopy and not values.copy,
        dest=values.dest_path,
        preserve=values.preserve_flag,
        json=values.json,
        fail_fast=values.fail_fast,
        mode=values.mode,
        command_prefix=tuple(shlex.split(settings.text("command_prefix"))),
        password_prompt=settings.boolean("password_prompt"),
        history_size=settings.whole("history_size"),
        fd_max=settings.whole("fd_max", least=1),
    )


def _check(options: Options) -> None:
    """Refuse what contradicts itself."""
    if options.diff and options.line_mode:
        raise UsageError("--diff cannot be used together with -L")
    if options.json and (options.gather or options.line_mode):
        raise UsageError("--json cannot be used together with -b, -B, -L or --diff")
    if (options.copy or options.rcopy) and not options.words:
        raise UsageError("--copy and --rcopy need at least one file or directory to copy")
    if (
        options.outdir
        and options.errdir
        and os.path.realpath(options.outdir) == os.path.realpath(options.errdir)
    ):
        raise UsageError("--outdir and --errdir must be two directories")
    if options.words and not " ".join(options.words).strip():
        raise UsageError("the command is empty")
    if options.pick is not None and options.pick < 0:
        raise UsageError(f"option --pick: {options.pick} is not a number of nodes, from 0 on")
