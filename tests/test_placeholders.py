"""Placeholders: every value is put in as one piece of one word, proved on real shells."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from ClusterShell.Worker.Exec import ExecWorker
from ClusterShell.Worker.Worker import WorkerError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trioshell._placeholders import Template

SHELLS = [["/bin/sh"], *([["bash"], ["bash", "--posix"]] if shutil.which("bash") else [])]

# What would be noticed if it were executed, in the wrappings that break out of somewhere.
CANARY = ">pwned"
HOSTILE = ["$(!)", "`!`", ";!;", "|!", "&!&", "\n!\n", "';!;'", '";!;"', "';!;#", '";!;#', ");!;("]
HOSTILE += [
    "\\';!;\\'",
    '\\";!;\\"',
    "};!;{",
    "'\"';!;'\"'",
    "$(!\n",
    "EOF\n!\n",
    "#\n!",
    "a[$(!)]",
]
HOSTILE = [name.replace("!", CANARY) for name in HOSTILE]
HOSTILE += ["'", '"', "\\", "x\\", "#", "$", "`", "$(", "${", "*", "?", "~", "{a,b}", "a b", ""]
names = (
    st.sampled_from(HOSTILE)
    | st.lists(st.sampled_from([*HOSTILE, "a", "=", "1"]), max_size=4).map("".join)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
)


def output(command: str, shell: Sequence[str], where: Path, **variables: str) -> tuple[bytes, int]:
    done = subprocess.run(
        [*shell, "-c", command],
        cwd=where,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )
    return done.stdout, done.returncode


def rendered(command: str, host: str, hosts: str = "n[1-2]", rank: int = 7) -> str:
    text = Template(command).render(host, hosts, rank)
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo %h %host %{h} %{host}x", "echo n1 n1 n1 n1x"),
        ("echo %n %rank %{n}th %{rank}", "echo 7 7 7th 7"),
        ("echo %hosts,%{hosts}", "echo 'n[1-2]','n[1-2]'"),
        ("%h.%h-%h/%h", "n1.n1-n1/n1"),
        ("$v%h%h", "$v'n1'n1"),
        ("100%% %%h %%%h", "100% %h %n1"),
        ("", ""),
        ("uname -r", "uname -r"),
    ],
)
def test_what_is_replaced(command: str, expected: str) -> None:
    template = Template(command)
    assert template.render("n1", "n[1-2]", 7) == expected
    assert template.uses_hosts is ("hosts" in command)


def test_in_an_argument_vector_a_value_goes_in_as_it_is() -> None:
    template = Template(("echo", "%h;%n", "'%hosts'", "$%h", "`%{h}x`", "%%", ""))
    for name in HOSTILE:
        template.check([name], name)
        assert template.render(name, "n[1-2]", 7) == (
            "echo", f"{name};7", "'n[1-2]'", f"${name}", f"`{name}x`", "%", ""
        )  # fmt: skip
    assert template.uses_hosts
    assert not Template(("echo", "%h")).uses_hosts
    assert Template(()).render("n1", "n1", 0) == ()


WRONG = ["%", "a%", "% h", "%d", "%s", "%H", "%Host", "%hostname", "%nodes", "%hx", "%h_", "%h1"]
WRONG += ["%ranks", "%{hx}", "%{}", "%{h", "%é", "%%%", "%(h)s", "%\n"]


@pytest.mark.parametrize("command", WRONG)
def test_what_is_no_placeholder_is_refused_as_in_clustershell(command: str) -> None:
    for some in (command, ("echo", command)):
        with pytest.raises(ValueError, match=r"^command: .* is no placeholder; .*%% is a percent"):
            Template(some)
    with pytest.raises(WorkerError):
        by_clustershell(command)


def by_clustershell(command: str) -> str:
    """`command` as ClusterShell's ExecWorker would run it on the node n1, of rank 0."""
    worker = ExecWorker(nodes="n1", command=command, handler=None)
    (client,) = worker._clients
    text, _ = client._build_cmd()
    assert isinstance(text, str)
    return text


@given(
    st.lists(
        st.sampled_from(
            ["%h", "%host", "%hosts", "%n", "%rank", "%%", "%{h}", "%{hosts}", *"%host_1{}-/é"]
        ),
        max_size=8,
    ).map("".join)
)
def test_clustershell_replaces_the_same(command: str) -> None:
    try:
        theirs = by_clustershell(command) if command else ""
    except WorkerError:
        with pytest.raises(ValueError, match="no placeholder"):
            Template(command)
    else:
        assert rendered(command, "n1", "n1", 0) == theirs


PLAIN = ["n1", "node-1.example.com", "10.0.0.7", "fe80::1", "n%1"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name_is_put_in_plainly(name: str) -> None:
    for command in ("a %h", "a '%h'", 'a "%h"', "a `%h`", "a \\%h", "a # %h", "a <<E\n%h\nE\n"):
        Template(command).check([name], "n[1-2]")
        assert rendered(command, name) == command.replace("%h", name)


# Sources of shell words, each with what it comes to. NAME stands for the value of %{h} there.
NAME = "\0"
Pairs = tuple[tuple[str, str], ...]
IN_SINGLE: Pairs = tuple((char, char) for char in ("a", '"', "\\", "`", "$v", "#", "$(", "\n", " "))
IN_SINGLE += (("%{h}", NAME), ("$%{h}", f"${NAME}"), ("%%", "%"))
IN_DOUBLE: Pairs = tuple(
    (char, char) for char in ("a", "'", "#", " ", "\n", "<<", "(", ";&|", "\\a")
)
IN_DOUBLE += (('\\"', '"'), ("\\\\", "\\"), ("\\$", "$"), ("\\`", "`"), ("\\\n", ""), ("%%", "%"))
IN_DOUBLE += (
    ("%{h}", NAME),
    ("$v%{h}", f"V{NAME}"),
    ("$v-", "V-"),
    ("${v}", "V"),
    ("$#%{h}", f"0{NAME}"),
)
OUTSIDE: Pairs = tuple((char, char) for char in ("a", "1", "=", "/", ",", ".", "_", "a#"))
OUTSIDE += (("\\'", "'"), ('\\"', '"'), ("\\\\", "\\"), ("\\ ", " "), ("\\#", "#"), ("\\$", "$"))
OUTSIDE += (
    ("%{h}", NAME),
    ("$v%{h}", f"V{NAME}"),
    ("$v-", "V-"),
    ("${v}", "V"),
    ("$#%{h}", f"0{NAME}"),
)
OUTSIDE += (
    ("\\\n", ""),
    ("\\`", "`"),
    ("%%", "%"),
    ("$(printf %%s a)", "a"),
    ("$(: # it's %%h\n: '%{h}')", ""),
)


def pieces(pairs: Pairs, quote: str = "") -> st.SearchStrategy[tuple[str, str]]:
    return st.lists(st.sampled_from(pairs), max_size=5).map(
        lambda chosen: (
            quote + "".join(source for source, _ in chosen) + quote,
            "".join(value for _, value in chosen),
        )
    )


def together(parts: list[tuple[str, str]]) -> tuple[str, str]:
    return "".join(source for source, _ in parts), "".join(value for _, value in parts)


words = st.tuples(
    st.sampled_from([("w", "w"), ("%{h}", NAME), ("''", ""), ('""', "")]),
    st.lists(pieces(OUTSIDE) | pieces(IN_SINGLE, "'") | pieces(IN_DOUBLE, '"'), max_size=4).map(
        together
    ),
).map(lambda parts: together(list(parts)))


@st.composite
def scripts(draw: st.DrawFn) -> tuple[str, str]:
    """A script that prints words, and what it prints."""
    script, printed = "", ""
    for _ in range(draw(st.integers(1, 3))):
        chosen = draw(st.lists(words, min_size=1, max_size=3))
        between = draw(st.sampled_from([" ", "\t", "  ", " \\\n"]))
        statement = "printf '<%%s>' " + between.join(source for source, _ in chosen)
        printed += "".join(f"<{value}>" for _, value in chosen)
        wrap = draw(
            st.sampled_from(
                ["!", "(!)", "{ !; }", "if true; then\n!\nfi", "for i in 1; do !; done"]
            )
        )
        script += wrap.replace("!", statement)
        script += draw(
            st.sampled_from([";", "\n", " && \\\n", " # it's\n# it's `\n", '\n#"\n', " >&1;"])
        )
    return script + "true", printed


on_real_shells = settings(
    max_examples=150,
    deadline=None,  # it starts processes
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # nothing is left in tmp_path
)


@on_real_shells
@given(scripts(), names)
def test_a_value_is_a_piece_of_its_word_and_nothing_else(
    tmp_path: Path, script: tuple[str, str], name: str
) -> None:
    command, printed = script
    template = Template(command)
    template.check([name], name)
    text = template.render(name, name, 0)
    assert isinstance(text, str)
    for shell in SHELLS:
        expected = printed.replace(NAME, name).encode()
        assert output(text, shell, tmp_path, v="V") == (expected, 0)
    assert list(tmp_path.iterdir()) == []


CHAOS = ["'", '"', "\\", "\n", "\\\n", "#", " ", "$", "$v", "${v}", "${v:-", "}", "(", ")", "$("]
CHAOS += ["$((", "))", "`", "<<EOF", "\nEOF\n", "<", ";", "&&", "a", "1", "=", "[", "]", "{", "~"]
CHAOS += ["!", "|", "$'", '$"', "case a in", "esac", "$#", "$$", "((", "[[", "echo", "%%", "%h"]


@on_real_shells
@given(st.lists(st.sampled_from(CHAOS), max_size=10), st.sampled_from(HOSTILE), st.integers(0, 10))
@example(["echo", " ", "<", "\\\n", "<EOF\n'\nEOF\necho"], "\n>pwned\n", 5)
@example(['echo "$', "\\\n", "("], "';>pwned;'", 3)
@example(["echo ", "#'\n", "echo "], ";>pwned;", 3)
@example(["echo ", "\\"], "';>pwned;'", 2)
@example(["echo ", '"', "\\"], '";>pwned;"', 3)
@example(["echo ", "$"], "(>pwned)", 2)
@example(["echo ", "$'\\''"], ";>pwned;", 2)
@example(['echo "`echo "'], "';>pwned;'", 1)
def test_whatever_the_command_is_no_value_is_executed(
    tmp_path: Path, tokens: list[str], name: str, at: int
) -> None:
    try:
        template = Template("".join([*tokens[:at], "%h", *tokens[at:]]))
        template.check([name], name)
    except ValueError:
        return
    text = template.render(name, name, 0)
    assert isinstance(text, str)
    for shell in SHELLS:
        output(text, shell, tmp_path, v="V")
        assert not (tmp_path / "pwned").exists(), text
        for made in tmp_path.iterdir():
            made.unlink()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("cat <<E\n%h\nE\n", "after '<<'"),
        ("cat <<E\n'\nE\necho %h", "after '<<'"),
        ("echo `echo %h`", "after a backquote"),
        ('echo "`echo %h`"', "after a backquote"),
        ("echo `date` %h", "after a backquote"),
        ('echo "$(echo %h)"', "after a '$(' in double quotes"),
        ("echo $((%h + 1))", "arithmetic"),
        ("((%h > 1))", "arithmetic"),
        ("echo $[%h]", "arithmetic"),
        ('echo "$[%h]"', "arithmetic"),
        ("echo ${v:-%h}", "after a '${'"),
        ('echo "${v:-%h}"', "after a '${'"),
        ("echo $'%h'", 'after "$\'"'),
        ("true # %h", "in a comment"),
        ("# it's\n\n# %h", "in a comment"),
        ("echo \\%h", "after a backslash"),
        ('echo "\\%h"', "after a backslash"),
        ("(\\\n(%h))", "after a '(' at the end"),
        ("echo <\\\n<E %h", "after a '<' at the end"),
        ('echo "$\\\n(%h)"', "after a '$' at the end"),
    ],
)
def test_where_the_place_is_unsure_only_inert_values_are_put_in(command: str, why: str) -> None:
    template = Template(command)
    inert = "n1-a.b_c@d%e+f=g:h,i/[1-2]"
    template.check(["n1", inert], "n[1-2]")
    assert template.render(inert, "n1", 0) == command.replace("%h", inert)
    for name in HOSTILE:
        with pytest.raises(ValueError, match=r"^command: %h stands .* argument vector") as caught:
            template.check(["n1", name, "n2"], "n[1-2]")
        assert why in str(caught.value)
        with pytest.raises(ValueError, match=r"^command: %h stands"):
            template.render(name, "n1", 0)


@pytest.mark.parametrize(
    "command",
    [
        "echo '<<' %h", 'echo "<<" "%h"', "echo \\` %h", "echo '`' %h", "echo a#b %h",
        "echo %h#'%h'", "# it's\n# it's\necho %h",
        "echo '#' %h", "echo \\# %h", "# it's\necho %h", "echo $(date) %h", "echo ${v} %h",
        'echo "${v}%h"', "echo $# %h", "echo ${#v} %h", "(echo a; (echo %h))",
        "echo a \\\n %h", "echo a\\\n%h", 'echo "\\$\\\n(%h)"', 'echo "a\\\n%h"',
        "echo \\\\%h", 'echo "\\\\%h"', "echo '$%h'", "echo \\$%h", 'echo "\\$%h"', 'echo "$v" %h',
    ],
)  # fmt: skip
def test_where_the_place_is_sure_every_value_is_put_in(command: str) -> None:
    Template(command).check(HOSTILE, "x;y")
    for name in HOSTILE:
        rendered(command, name)


@pytest.mark.parametrize("command", ["echo $%h", 'echo "$%h"', "echo a$%{host}", "cat <<E\n$%n\nE"])
def test_a_value_is_no_name_of_a_variable(command: str) -> None:
    with pytest.raises(ValueError, match=r"^command: %.* directly after a '\$'"):
        Template(command)


def test_all_names_folded_are_checked_where_they_stand() -> None:
    template = Template("cat <<E\n%hosts\nE")
    template.check(["x;y"], "n[1-2]")
    template.check([], "")
    with pytest.raises(ValueError, match=r"^command: %hosts stands after '<<'"):
        template.check(["n1"], "n1,x;y")


def test_checking_costs_nothing_where_every_value_can_be_put_in() -> None:
    def never() -> None:
        raise AssertionError("the names were looked at")

    hosts = map(lambda _: never(), [1])  # noqa: C417 - an iterator that fails when it is used
    Template("echo %h '%h' \"%hosts\" `echo %n`").check(hosts, "x;y")  # type: ignore[arg-type]  # never seen
    Template(("echo", "`%h`")).check(hosts, "x;y")  # type: ignore[arg-type]  # never seen


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("name", [*HOSTILE, *PLAIN])
def test_every_kind_of_quotes_prints_the_plain_name(
    name: str, shell: list[str], tmp_path: Path
) -> None:
    sources = {
        "%h": name,
        "'%h'": name,
        '"%h"': name,
        "a%h'b%h'\"c%h\"%{h}d": f"a{name}b{name}c{name}{name}d",
        "\"'%h'\"'\"%h\"'": f"'{name}'\"{name}\"",
        "v=%h#": f"v={name}#",
        "$v%h": f"V{name}",
        '"$v%h"': f"V{name}",
        "${v}%h'$v%h'": f"V{name}$v{name}",
        '\\\\%h"\\\\%h\\"%h"': f'\\{name}\\{name}"{name}',
        "\"'\"%h'\"'": f"'{name}\"",
    }
    text = rendered("printf '<%%s>' " + " ".join(sources), name)
    printed = "".join(f"<{value}>" for value in sources.values())
    assert output(text, shell, tmp_path, v="V") == (printed.encode(), 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_value_is_not_taken_for_syntax(shell: list[str], tmp_path: Path) -> None:
    for name in ("n1", "n2"):
        (tmp_path / name).touch()
    assert output(rendered("echo %hosts", "n1"), shell, tmp_path) == (b"n[1-2]\n", 0)
    assert output(rendered("echo {a,%hosts}", "n1", "n1,n2"), shell, tmp_path)[0] in (
        b"{a,n1,n2}\n",  # no such thing as a list in braces
        b"a n1,n2\n",
    )
    assert output(rendered("echo %n>n1; cat n1", "n1"), shell, tmp_path) == (b"7\n", 0)
    assert output(rendered("echo %n\\\n>n1; cat n1", "n1"), shell, tmp_path) == (b"7\n", 0)
    assert output(rendered("%h echo ran", "PATH=/"), shell, tmp_path) == (b"", 127)
    assert output(rendered("cat <%h", "n2"), shell, tmp_path) == (b"", 0)
