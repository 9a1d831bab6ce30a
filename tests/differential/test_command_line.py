"""Many command lines through clush and through trioshell: the same output and exit status.

tests/cli/test_like_clush.py has those that are written by hand; here options are combined.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest

from tests.cli.conftest import Done, Programs
from tests.cli.test_like_clush import normal, sorted_lines

DIFFER = "case %n in 0) echo a;; 1) echo b; exit 2;; 2) ;; *) printf 'b\\n\\nc'; exit 3;; esac"
BOTH = "echo %h out; echo err >&2; test %n != 1"

FORMS = ((), ("-b",), ("-B",), ("-L",), ("-bL",), ("-BL",), ("--diff",))
NAMES = ((), ("-N",), ("-r",))
NOISE = ((), ("-q",), ("-v",))
STATUS = ((), ("-S",))
COLOUR = ("--color=always",)
COMMANDS = (DIFFER, BOTH)
MORE = (
    ("-n",),
    ("-o", "-p 22"),
    ("-l", "root", "-t", "3", "-u", "60"),
    ("-f", "1"),
    ("-P",),
    ("--outdir", "out", "-b"),
    ("--errdir", "err", "-L"),
    ("-x", "n1", "-q"),
    ("-w", "m[3,1]", "-bS"),
)

Words = tuple[str, ...]


def line(options: Sequence[Words], command: str) -> Words:
    return ("-w", "n[1-4]", *(word for words in options for word in words), command)


EVERY: tuple[Words, ...] = tuple(
    line(options, command)
    for options in (*product(FORMS, NAMES, NOISE, STATUS), *product(FORMS, NAMES, NOISE, [COLOUR]))
    for command in COMMANDS
)
# Each form of output with another option, and each of the rest once.
SOME: tuple[Words, ...] = (
    *(
        line([form, option], command)
        for form, option in zip(FORMS, (*NAMES, *NOISE[1:], STATUS[1], COLOUR), strict=True)
        for command in COMMANDS
    ),
    *(line([more], BOTH) for more in MORE),
)


def run(programs: Programs, command_lines: Sequence[Words]) -> list[str]:
    """The command lines on which the two differ, each with what came of it."""
    done = programs.run_many(*(("-R", "exec", *words) for words in command_lines))
    return [
        f"{' '.join(words)}: {clush} {trioshell}"
        for words, clush, trioshell in zip(
            command_lines, done["clush"], done["trioshell"], strict=True
        )
        if not same(words, normal(clush), trioshell)
    ]


def same(words: Words, clush: Done, trioshell: Done) -> bool:
    """Gathered output comes in a fixed order; anything else as the nodes report it."""
    in_order = {"-b", "-B", "-L", "-bL", "-BL", "--diff"} & set(words) and "-v" not in words
    if in_order and clush.out != trioshell.out:
        return False
    return sorted_lines(clush) == sorted_lines(trioshell)


def test_each_option(programs: Programs) -> None:
    assert run(programs, SOME) == []
    place = programs.place
    assert sorted(path.name for path in (place / "out").iterdir()) == ["n1", "n2", "n3", "n4"]


@pytest.mark.soak
def test_every_combination(programs: Programs) -> None:
    for first in range(0, len(EVERY), 50):  # a program is given a minute for them
        assert run(programs, EVERY[first : first + 50]) == []


def test_a_group_look_up_that_reads_its_input(programs: Programs) -> None:
    groups = programs.place / "settings" / "groups.conf"
    greedy = groups.read_text().replace("map: case", "map: cat >/dev/null; case")
    assert greedy != groups.read_text()
    groups.write_text(greedy)
    words = ("-R", "exec", "-w", "@io", "-b", "cat")
    clush, trioshell = (
        programs.run(program, *words, given=b"input\n") for program in ("clush", "trioshell")
    )
    assert trioshell == clush
    assert trioshell.out.endswith(b"input\n")
