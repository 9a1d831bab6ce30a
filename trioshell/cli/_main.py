"""The command line from its words to its exit status."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trioshell.cli._parser import UsageError
from trioshell.cli._tell import tell

if TYPE_CHECKING:
    from ClusterShell.NodeSet import NodeSet

    from trioshell.cli._options import Options

# Nothing heavy is imported up here: --help and a wrong command line are answered at once.

# What a run of our own has wrong, a wrong command line, and ^C before anything ran: as clush.
_FAILED = 1
_MISUSED = 2
_INTERRUPTED = 130

# Descriptors beside those of the commands: epoll, signals, connections being opened, files.
_OWN_DESCRIPTORS = 64
_DESCRIPTORS_EACH = 6


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status.

    Args:
        argv: the words after the program's name; None for those of this process.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["demo"]:
        from trioshell.testing._demo import main as demo

        return demo(words[1:])
    _open_standard_descriptors()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _run(words)
    except UsageError as exc:
        return _fail(f"error: {exc}", _MISUSED)
    except KeyboardInterrupt:
        return _fail("Keyboard interrupt.", _INTERRUPTED)
    except SystemExit:  # --help and --version have been answered
        _flush_answer()
        return 0


def _flush_answer() -> None:
    """Write what has been printed; a reader that has seen enough of it is no failure."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter will try again when it exits, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _run(words: list[str]) -> int:
    from trioshell.cli._config import load_config
    from trioshell.cli._options import DEBUG, parse
    from trioshell.cli._settings import ConfigError

    try:
        options = parse(words, load_config)
        nodes = _choose_nodes(options)
        if options.verbosity >= DEBUG:
            tell(_summary(options, nodes))
        _raise_descriptor_limit(options)
        return _run_on(options, nodes)
    except ConfigError as exc:
        return _fail(str(exc), _FAILED)
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        return _fail(f"{where}{exc.strerror}", _FAILED)
    except (ValueError, TypeError) as exc:  # bad input, which the library has described
        return _fail(str(exc), _FAILED)


def _choose_nodes(options: Options) -> NodeSet:
    from trioshell.cli._nodes import choose_nodes
    from trioshell.cli._options import VERBOSE

    nodes = choose_nodes(options, lambda text: _warn(options, text))
    if options.pick and options.verbosity >= VERBOSE:
        tell(f"picked at random: {nodes}")
    return nodes


def _summary(options: Options, nodes: NodeSet) -> str:
    """What will be done, in clush's words (``-d``)."""
    kind = "copy" if options.copy else "rcopy" if options.rcopy else "command"
    return (
        f"nodeset={nodes} fanout={options.fanout} [timeout conn={options.connect_timeout} "
        f"cmd={options.command_timeout}] transport={options.transport} "
        f'{kind}="{" ".join(options.words)}"'
    )


def _run_on(options: Options, nodes: NodeSet) -> int:
    """Run what was asked for on the nodes that were chosen."""
    import trio

    from trioshell import TrioshellError
    from trioshell.cli._logs import telling_logs

    known = (TrioshellError, OSError, KeyboardInterrupt)
    try:
        with telling_logs():
            if options.words or not _is_attended(options):
                return trio.run(_run_program, options, nodes)
            return _converse(options, nodes)
    except TrioshellError as exc:
        return _fail(str(exc), _FAILED)
    except BaseExceptionGroup as group:
        # In a group comes a ^C before or after we hear signals ourselves, a file that cannot
        # be written any more, and a transport that turns out to be unusable when it is
        # entered. The rest are defects of ours, of which the traceback is wanted.
        if group.split(known)[1] is not None:
            raise
        first = _first(group)
        if not isinstance(first, TrioshellError):
            raise first from None
        return _fail(str(first), _FAILED)


async def _run_program(options: Options, nodes: NodeSet) -> int:
    from trioshell.cli._naming import Naming
    from trioshell.cli._program import Program
    from trioshell.cli._ways import make_transport

    transport = make_transport(options, lambda text: _warn(options, text))
    first_input = _ask_password(options)
    return await Program(options, nodes, transport, Naming(options), first_input).run()


def _is_attended(options: Options) -> bool:
    """Whether somebody sits at a terminal to type commands, since none was given.

    Raises:
        UsageError: somebody does, but could not.
    """
    from trioshell.cli._stdin import is_foreground_terminal

    if not is_foreground_terminal(0):
        return False
    if options.no_stdin:
        raise UsageError("-n leaves nothing to read commands from, and none was given")
    if not is_foreground_terminal(1):
        raise UsageError("no command was given, and the interactive mode needs a terminal")
    return True


def _converse(options: Options, nodes: NodeSet) -> int:
    import trio

    from trioshell.cli._interactive import Conversation, ask, typing
    from trioshell.cli._naming import Naming
    from trioshell.cli._ways import make_transport
    from trioshell.transports import find_transport

    async def run() -> int:
        transport = find_transport(make_transport(options, lambda text: _warn(options, text)))
        naming = Naming(options)
        return await Conversation(options, nodes, transport, naming, ask, first_input).run()

    first_input = _ask_password(options)
    with typing(options.history_size):
        return trio.run(run)


def _ask_password(options: Options) -> bytes:
    """What the commands are given first: a password, if a run mode says so."""
    if not options.password_prompt:
        return b""
    import getpass

    try:
        password = getpass.getpass("Password: ")
    except EOFError:
        raise UsageError("a password was asked for, and none was given") from None
    return password.encode(errors="surrogateescape") + b"\n"


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _open_standard_descriptors() -> None:
    """Have 0, 1 and 2 open: whatever we open later must not become our standard output."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, this one


def _raise_descriptor_limit(options: Options) -> None:
    """Have descriptors enough for the fanout, if the system lets us."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    from trioshell._task import MAX_FANOUT  # not at the top: --help does without it

    at_once = MAX_FANOUT if options.fanout == "auto" else options.fanout
    wanted = at_once * _DESCRIPTORS_EACH + _OWN_DESCRIPTORS
    allowed = min(options.fd_max, hard) if hard != resource.RLIM_INFINITY else options.fd_max
    if soft != resource.RLIM_INFINITY and soft < min(wanted, allowed):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, allowed), hard))


def _show_warning(
    message: Warning | str, category: type[Warning], *_where: Any, **_more: Any
) -> None:
    """A warning of the library, as one line; those that are for programmers are not shown."""
    if category is UserWarning:
        tell(f"warning: {message}")


def _warn(options: Options, text: str) -> None:
    from trioshell.cli._options import QUIET

    if options.verbosity > QUIET:
        tell(f"warning: {text}")


def _fail(text: str, status: int) -> int:
    """Tell why; returns `status`."""
    tell(text)
    return status
