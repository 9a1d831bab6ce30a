"""The options that are known, and their help: clush's, and a few of our own."""

from __future__ import annotations

import optparse
import re
from typing import NoReturn

import trioshell

# optparse and not argparse: the options of a command line end here at the command's first
# word, and a value may begin with a dash (-o -oPort=2022). Both are what clush users type,
# and what argparse does not do.

USAGE = "%prog -w NODES | -g GROUP | -a [options] command"

EXAMPLES = """\
Examples:
  trioshell -w node[1-8] uname -r             one line a node, as it comes
  trioshell -w node[1-8] -b uname -r          equal output once, with the nodes folded
  trioshell -w @compute -u 30 -S make test    30 seconds each; exit with the largest code
  trioshell -R exec -w node[1-8] ping -c1 %h  run here, once for each node
  echo hello | trioshell -w node[1-8] -b cat  our input is the input of every command
  trioshell -w node[1-8] --copy /etc/motd     to the same place on every node
  trioshell demo                              see it work on a cluster inside this machine

Exit status:
  0 whatever the commands returned; with -S or --fail-fast the largest of their codes, or 255
  if one ran into its timeout. 1 for an error of ours, 2 for a wrong command line, 128 + n
  when signal n ended us (^C: 130).
"""


class UsageError(Exception):
    """The command line is wrong; the message is one sentence that says what and why."""


class _Formatter(optparse.IndentedHelpFormatter):
    def format_epilog(self, epilog: str | None) -> str:
        """Our examples, with the line ends that they have."""
        return "\n" + epilog if epilog else ""


class Parser(optparse.OptionParser):
    """An option parser that raises `UsageError` where optparse would print and exit."""

    def error(self, msg: str) -> NoReturn:
        raise UsageError(msg)

    def get_version(self) -> str:
        """Our name and version."""
        return f"{self.get_prog_name()} {trioshell.__version__}"


def _check_name(_option: optparse.Option, opt: str, value: str) -> str:
    """A value that is neither empty nor the next option, which clush refuses as well."""
    if not value or value.startswith("-"):
        raise optparse.OptionValueError(f"option {opt}: invalid value: {value!r}")
    return value


def _check_fanout(_option: optparse.Option, opt: str, value: str) -> int | str:
    """A whole number, or the word that leaves it to us."""
    try:
        return value if value == "auto" else int(value)
    except ValueError:
        raise optparse.OptionValueError(f"option {opt}: invalid integer value: {value!r}") from None


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _check_size(_option: optparse.Option, opt: str, value: str) -> int:
    """A number of bytes, 1 or more, perhaps with a unit."""
    match = re.fullmatch("([0-9]{1,15})([KMGkmg]?)", value)
    size = int(match[1]) * _UNITS[match[2].upper()] if match else 0
    if not size:
        accepted = "a number of bytes from 1, such as 65536, 64K, 10M or 1G"
        raise optparse.OptionValueError(f"option {opt}: {value!r} is not {accepted}")
    return size


class _Option(optparse.Option):
    TYPES = (*optparse.Option.TYPES, "fanout", "name", "size")
    TYPE_CHECKER = {  # noqa: RUF012  # optparse looks for it here; nobody changes it
        **optparse.Option.TYPE_CHECKER,
        "fanout": _check_fanout,
        "name": _check_name,
        "size": _check_size,
    }


def _copying(
    option: optparse.Option, _opt: str, _value: None, parser: optparse.OptionParser
) -> None:
    """With a copy there is no command whose options could be meant: ours may follow."""
    assert option.dest is not None
    setattr(parser.values, option.dest, True)
    parser.enable_interspersed_args()


def make_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        USAGE,
        prog="trioshell",
        option_class=_Option,
        version=trioshell.__version__,
        formatter=_Formatter(max_help_position=30),
        epilog=EXAMPLES,
    )
    parser.disable_interspersed_args()
    for title, add in (
        ("Which nodes", _add_nodes),
        ("What is shown, and how", _add_display),
        ("Running", _add_running),
        ("Reaching the nodes", _add_connection),
        ("Copying files", _add_copy),
        ("Settings", _add_settings),
    ):
        group = optparse.OptionGroup(parser, title)
        add(group)
        parser.add_option_group(group)
    return parser


def _flag(group: optparse.OptionGroup, *names: str, dest: str, help: str) -> None:
    group.add_option(*names, action="store_true", default=False, dest=dest, help=help)


def _names(group: optparse.OptionGroup, *names: str, dest: str, metavar: str, help: str) -> None:
    group.add_option(
        *names, action="append", type="name", default=[], dest=dest, metavar=metavar, help=help
    )


def _value(
    group: optparse.OptionGroup,
    *names: str,
    dest: str,
    metavar: str,
    help: str,
    type: str = "string",
    default: str | None = None,
) -> None:
    group.add_option(*names, type=type, default=default, dest=dest, metavar=metavar, help=help)


def _add_nodes(group: optparse.OptionGroup) -> None:
    _names(group, "-w", dest="nodes", metavar="NODES", help="run on these nodes: node[1-8],@group")
    _names(group, "-x", dest="exclude", metavar="NODES", help="but not on these")
    _flag(group, "-a", "--all", dest="nodes_all", help="run on all nodes of the group source")
    _names(group, "-g", "--group", dest="group", metavar="GROUP", help="run on a group of nodes")
    _names(group, "-X", dest="exgroup", metavar="GROUP", help="but not on the nodes of this group")
    group.add_option(
        "--hostfile",
        "--machinefile",
        action="append",
        default=[],
        metavar="FILE",
        dest="hostfile",
        help="run on the nodes listed in a file, separated by white space",
    )
    _value(group, "--pick", dest="pick", type="int", metavar="N", help="only on N, taken at random")
    _value(
        group,
        "-s",
        "--groupsource",
        dest="groupsource",
        type="name",
        metavar="SOURCE",
        help="the group source for -g, -X, -a and -r",
    )


def _add_display(group: optparse.OptionGroup) -> None:
    _flag(group, "-b", "--dshbak", dest="gather", help="gather: show equal output once")
    _flag(group, "-B", dest="gatherall", help="the same, with standard error gathered too")
    _flag(
        group,
        "-L",
        dest="line_mode",
        help="no header blocks, in node order; with -b or -B gathered line by line, live",
    )
    group.add_option(
        "-N",
        action="store_false",
        default=True,
        dest="label",
        help="without the names of the nodes",
    )
    _flag(group, "--diff", dest="diff", help="show only how the gathered outputs differ")
    _flag(group, "-r", "--regroup", dest="regroup", help="name nodes by their groups: @compute")
    _flag(group, "-G", "--groupbase", dest="groupbase", help="groups without their source's name")
    _value(
        group,
        "--axis",
        dest="axis",
        metavar="RANGESET",
        help="fold names with several numbers along these axes only",
    )
    _flag(group, "-P", "--progress", dest="progress", help="show how far it has come")
    _value(
        group,
        "--color",
        dest="whencolor",
        metavar="WHEN",
        help="colour the names of nodes: never, always or auto",
    )
    _flag(group, "-q", "--quiet", dest="quiet", help="say little; with -S no exit codes either")
    _flag(group, "-v", "--verbose", dest="verbose", help="say more; with -b show lines live, too")
    _flag(group, "-d", "--debug", dest="debug", help="say what is going on inside")
    _flag(group, "--json", dest="json", help="one JSON object a node, one a line")
    _value(group, "--outdir", dest="outdir", metavar="DIR", help="also write outputs to DIR/NODE")
    _value(group, "--errdir", dest="errdir", metavar="DIR", help="and standard errors to DIR/NODE")
    for name, what in (("output", "the output of a node"), ("line", "a line")):
        _value(
            group,
            f"--max-{name}-bytes",
            dest=f"max_{name}_bytes",
            type="size",
            metavar="SIZE",
            help=f"leave out what {what} has beyond this: 65536, 64K, 10M, 1G",
        )


def _add_running(group: optparse.OptionGroup) -> None:
    _value(
        group,
        "-f",
        "--fanout",
        dest="fanout",
        type="fanout",
        metavar="N",
        help="at most N at the same time (64), or auto for as many as is best",
    )
    _value(
        group,
        "-u",
        "--command_timeout",
        dest="command_timeout",
        type="float",
        metavar="SECONDS",
        help="end a command, and all that it started, after so long",
    )
    _flag(group, "-S", "--maxrc", dest="maxrc", help="exit with the largest exit code")
    _flag(group, "--fail-fast", dest="fail_fast", help="end all as soon as one fails; implies -S")
    _flag(group, "-n", "--nostdin", dest="nostdin", help="leave our standard input alone")


def _add_connection(group: optparse.OptionGroup) -> None:
    _value(
        group,
        "-R",
        "--worker",
        dest="worker",
        default="ssh",
        metavar="WAY",
        help="ssh (ours, the default), openssh (your ssh), exec (run here; %h is the node), "
        "or an installed transport",
    )
    _value(
        group,
        "-t",
        "--connect_timeout",
        dest="connect_timeout",
        type="float",
        metavar="SECONDS",
        help="give up a node that was not reached after so long (10)",
    )
    _value(group, "-l", "--user", dest="user", type="name", metavar="USER", help="log in as USER")
    _names(group, "-i", "--identity", dest="identity", metavar="FILE", help="log in with this key")
    _value(
        group,
        "-o",
        "--options",
        dest="options",
        metavar="OPTIONS",
        help="options as ssh takes them: '-p 2022 -oStrictHostKeyChecking=accept-new'",
    )


def _add_copy(group: optparse.OptionGroup) -> None:
    for names, dest, text in (
        (("-c", "--copy"), "copy", "copy files or directories to the nodes"),
        (("--rcopy",), "rcopy", "copy them from the nodes, to NAME.NODE"),
    ):
        group.add_option(
            *names, action="callback", callback=_copying, dest=dest, default=False, help=text
        )
    _value(group, "--dest", dest="dest_path", metavar="PATH", help="where to (the same place)")
    _flag(group, "-p", dest="preserve_flag", help="keep modification times and modes")


def _add_settings(group: optparse.OptionGroup) -> None:
    _value(group, "-m", "--mode", dest="mode", metavar="MODE", help="a run mode of clush.conf")
    group.add_option(
        "-O",
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="option",
        help="a setting of clush.conf",
    )
    _value(group, "--conf", dest="conf", metavar="FILE", help="read FILE instead of clush.conf")
    _value(
        group, "--groupsconf", dest="groupsconf", metavar="FILE", help="and instead of groups.conf"
    )
