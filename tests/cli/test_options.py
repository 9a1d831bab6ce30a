"""Command lines into options: clush's rules, and clear sentences for what is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from trioshell.cli._options import DEBUG, QUIET, STANDARD, VERBOSE, Options, parse
from trioshell.cli._parser import UsageError
from trioshell.cli._settings import ConfigError


def options(*words: str, **settings: str) -> Options:
    def load(_conf: str | None, _mode: str | None) -> Mapping[str, str]:
        return settings

    return parse(words, load)


def test_nothing_asked_for_is_the_defaults() -> None:
    assert options() == Options()


def test_options_end_at_the_first_word_of_the_command() -> None:
    asked = options("-w", "n1", "ls", "-b", "--", "-x", "n2")
    assert asked.words == ("ls", "-b", "--", "-x", "n2")
    assert not asked.gather
    assert asked.exclude == ()


def test_options_end_at_two_dashes() -> None:
    assert options("-w", "n1", "--", "-b", "x").words == ("-b", "x")


def test_short_options_combine() -> None:
    asked = options("-bLNS", "-f3", "-wn1", "-qu5", "ls")
    assert (asked.gather, asked.line_mode, asked.label, asked.max_rc) == (True, True, False, True)
    assert (asked.fanout, asked.nodes, asked.verbosity) == (3, ("n1",), QUIET)
    assert asked.command_timeout == 5


def test_long_options_may_be_shortened_and_have_an_equals_sign() -> None:
    asked = options("--fan=3", "--command_timeout", "7", "--work=exec", "ls")
    assert (asked.fanout, asked.command_timeout, asked.transport) == (3, 7, "exec")


def test_a_value_may_begin_with_a_dash() -> None:
    assert options("-o", "-oPort=22 -v", "ls").ssh_options == "-oPort=22 -v"


@pytest.mark.parametrize("option", ["-w", "-x", "-g", "-X", "-l", "-s", "-i"])
@pytest.mark.parametrize("value", ["", "-x"])
def test_a_name_is_neither_empty_nor_an_option(option: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{option}: invalid value: '{value}'"):
        options(option, value, "ls")


def test_options_may_follow_what_is_copied() -> None:
    asked = options("--copy", "a", "b", "--dest", "/c", "-p", "-w", "n1")
    assert (asked.copy, asked.words, asked.dest, asked.preserve) == (True, ("a", "b"), "/c", True)
    assert asked.nodes == ("n1",)


def test_copy_wins_over_rcopy() -> None:
    asked = options("--rcopy", "--copy", "a")
    assert (asked.copy, asked.rcopy) == (True, False)


def test_repeated_sets_of_nodes_add_up() -> None:
    asked = options("-w", "a", "-w", "b", "-x", "c", "-x", "d", "-g", "e", "-X", "f", "ls")
    assert (asked.nodes, asked.exclude) == (("a", "b"), ("c", "d"))
    assert (asked.groups, asked.exclude_groups) == (("e",), ("f",))


@pytest.mark.parametrize(
    ("words", "verbosity"),
    [
        ((), STANDARD),
        (("-q",), QUIET),
        (("-v",), VERBOSE),
        (("-v", "-q"), VERBOSE),
        (("-d", "-v"), DEBUG),
    ],
)
def test_the_most_talkative_wins(words: tuple[str, ...], verbosity: int) -> None:
    assert options(*words).verbosity == verbosity


def test_gathering_has_three_names() -> None:
    assert options("-B").gather
    assert options("-B").gather_all
    assert options("--diff").gather
    assert options("--dshbak").gather


def test_fail_fast_tells_by_the_exit_status() -> None:
    assert options("--fail-fast").max_rc


# -- settings ------------------------------------------------------------------------------


def test_an_option_wins_over_a_setting_and_that_over_the_file() -> None:
    settings = {"fanout": "1", "command_timeout": "1", "connect_timeout": "1"}
    asked = options("-O", "fanout=2", "-O", "command_timeout=2", "-f", "3", **settings)
    assert (asked.fanout, asked.command_timeout, asked.connect_timeout) == (3, 2, 1)


def test_settings_of_the_file_count() -> None:
    asked = options(
        maxrc="yes",
        node_count="no",
        verbosity="2",
        color="never",
        ssh_user="me",
        ssh_options="-v",
        command_prefix="sudo -p ''",
    )
    assert (asked.max_rc, asked.node_count, asked.verbosity) == (True, False, VERBOSE)
    assert (asked.color, asked.user, asked.ssh_options) == ("never", "me", "-v")
    assert asked.command_prefix == ("sudo", "-p", "")


@pytest.mark.parametrize(
    ("given", "size"),
    [("1", 1), ("65536", 65536), ("64K", 65536), ("10m", 10 << 20), ("2G", 2 << 30)],
)
def test_sizes_may_have_a_unit(given: str, size: int) -> None:
    asked = options("--max-output-bytes", given, f"--max-line-bytes={given}", "ls")
    assert (asked.max_output_bytes, asked.max_line_bytes) == (size, size)


@pytest.mark.parametrize(
    "given", ["", "0", "0K", "-1", "K", "10X", "10KB", "1.5M", "\u0661", "9" * 9999]
)
def test_what_is_no_size_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"--max-line-bytes: .* is not a number of bytes from 1"):
        options("--max-line-bytes", given, "ls")


def test_no_seconds_are_no_bound() -> None:
    assert options(command_timeout="0", connect_timeout="0").connect_timeout is None
    assert options("-u", "inf").command_timeout is None


def test_zero_seconds_on_the_command_line_are_not_given_as_in_clush() -> None:
    asked = options("-u", "0", "-t", "0", command_timeout="7", connect_timeout="8")
    assert (asked.command_timeout, asked.connect_timeout) == (7, 8)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("fanout", "-O fanout: a setting is given as KEY=VALUE"),
        ("fanout=x", "the setting fanout is 'x', which is not a whole number"),
        ("fanout=0", "the setting fanout is '0', which is not a whole number from 1"),
        ("color=x", "the setting color is 'x', which is not never or always or auto"),
        ("maxrc=perhaps", "the setting maxrc is 'perhaps', which is not yes or no"),
        ("verbosity=-1", "the setting verbosity is '-1', which is not a whole number from 0"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options("-O", setting)
    assert str(caught.value) == sentence


def test_a_setting_that_does_not_exist_is_refused_only_on_the_command_line() -> None:
    assert options(unknown="1") == Options()
    assert options("-O", "rsh_path=x") == Options()
    with pytest.raises(ConfigError, match="-O unknown=1: there is no such setting"):
        options("-O", "unknown=1")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-w",), "-w option requires 1 argument"),
        (("--nope",), "no such option: --nope"),
        (("-Z",), "no such option: -Z"),
        (("-f", "x"), "option -f: invalid integer value: 'x'"),
        (("-u", "x"), "option -u: invalid floating-point value: 'x'"),
        (("-f", "0"), "option -f: '0' is not a whole number from 1"),
        (("-f", "-1"), "option -f: '-1' is not a whole number from 1"),
        (("-u", "-3"), "option -u: '-3.0' is not a number of seconds from 0"),
        (("-u", "nan"), "option -u: 'nan' is not a number of seconds from 0"),
        (("-t", "-1"), "option -t: '-1.0' is not a number of seconds from 0"),
        (("--color", "blue"), "option --color: 'blue' is not never or always or auto"),
        (("--diff", "-L"), "--diff cannot be used together with -L"),
        (("--json", "-b"), "--json cannot be used together with -b, -B, -L or --diff"),
        (("--copy",), "--copy and --rcopy need at least one file or directory to copy"),
        (("-w", "n1", " "), "the command is empty"),
        (("--pick", "-1"), "option --pick: -1 is not a number of nodes, from 0 on"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        options(*words)
    assert str(caught.value) == sentence


def test_help_names_every_option_of_clush(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        options("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    names = (
        "-w -x -g -X -a --hostfile --pick -R -f -t -u -l -o -b -B -L -N -S -q -v -r -P --progress "
        "-c --copy --rcopy --dest -p --diff --outdir --errdir --color -n -O -m --json --fail-fast "
        "--max-output-bytes --max-line-bytes"
    )
    assert [name for name in names.split(" ") if f" {name}" not in text] == []
    assert max(map(len, text.splitlines())) <= 100
