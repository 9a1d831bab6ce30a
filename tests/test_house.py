"""The rules of the house that no linter knows, and that what the README shows is what happens."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for folder in ("trioshell", "tests", "benchmarks", "reliability")
    for path in (ROOT / folder).rglob("*.py")
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def heads(source: str) -> Iterator[str]:
    """A file opens with a sentence that says what it is for, and with no surprise after it."""
    body = ast.parse(source).body
    docstring = ast.get_docstring(ast.Module(body, [])) or ""
    if not re.match(r"[^\n].*?[.:?](\s|$)", docstring, re.DOTALL):
        yield "1: the file does not open with a sentence"
    if len(body) > 1 and ast.unparse(body[1]) != "from __future__ import annotations":
        yield f"{body[1].lineno}: the first import is not `from __future__ import annotations`"


# What is left of a comment when these are taken out of it is the reason.
LINT = r"noqa(:? ?[A-Z]+\d+,?)*|pragma: no cover"
TYPE = r"type: ignore(\[[\w, -]*\])?"


def lints(source: str) -> Iterator[str]:
    """An ignored lint says why, on its own line or on one beside it."""
    return without_reason(LINT, source)


def types(source: str) -> Iterator[str]:
    """So does an ignored type error. (In a test the test is the reason.)"""
    return without_reason(TYPE, source)


def without_reason(ignore: str, source: str) -> Iterator[str]:
    said = comments(source)
    reasons = {line: re.sub(f"{LINT}|{TYPE}", "", comment) for line, comment in said.items()}
    for line, comment in said.items():
        beside = " ".join(reasons.get(near, "") for near in (line - 1, line, line + 1))
        is_one = re.match(rf"#\s*({LINT}|{TYPE})", comment) and re.search(ignore, comment)
        if is_one and not re.search(r"\w{2}", beside):
            yield f"{line}: no reason beside {comment}"


def shields(source: str) -> Iterator[str]:
    """A shield, and a handler for everything, says why: beside it, above it or first in it."""
    explained = comments(source)
    for node in ast.walk(ast.parse(source)):
        first, last = 0, -1
        match node:
            case ast.ExceptHandler(type=None | ast.Name("BaseException")):
                first, last = node.lineno - 1, node.body[0].lineno
            case ast.keyword(arg="shield", value=ast.Constant(True)):
                first, last = node.lineno - 2, node.lineno + 1
            case ast.Assign(targets=[ast.Attribute(attr="shield")], value=ast.Constant(True)):
                first, last = node.lineno - 2, node.lineno
        if first <= last and not any(line in explained for line in range(first, last + 1)):
            yield f"{last}: a shield or an `except BaseException` without its reason"


def leftovers(source: str) -> Iterator[str]:
    """Nothing is left for later in a comment."""
    for line, comment in comments(source).items():
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", comment):
            yield f"{line}: left for later: {comment}"


def comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


RULES: tuple[Callable[[str], Iterator[str]], ...] = (heads, lints, types, shields, leftovers)


@pytest.mark.parametrize("rule", RULES)
def test_every_file_keeps_the_rule(rule: Callable[[str], Iterator[str]]) -> None:
    sources = [path for path in SOURCES if rule is not types or ROOT / "tests" not in path.parents]
    assert sources
    broken = [f"{path.relative_to(ROOT)}:{at}" for path in sources for at in rule(path.read_text())]
    assert broken == []


HEAD = '"""A file."""\nfrom __future__ import annotations\n'

BROKEN = {
    "no docstring": (heads, "import os\n"),
    "no sentence": (heads, '"""utilities"""\n'),
    "no future import": (heads, '"""A file."""\nimport os\n'),
    "noqa": (lints, "import os  # noqa: F401\n"),
    "bare noqa": (lints, "import os  # noqa\n"),
    "one above the other": (lints, "import os  # noqa: F401\nimport re  # noqa: F401\n"),
    "two codes": (lints, "import os  # noqa: F401, BLE001\n"),
    "type: ignore": (types, "x: int = ''  # type: ignore[assignment]\n"),
    "both": (lints, "x: int = ''  # type: ignore[assignment]  # noqa: F401\n"),
    "except BaseException": (shields, "try: pass\nexcept BaseException:\n    pass\n"),
    "bare except": (shields, "try: pass\nexcept:\n    pass\n"),
    "shield": (shields, "\nwith CancelScope(deadline=3,\n  shield=True):\n    pass\n"),
    "shielded later": (shields, "\n\nscope.shield = True\n"),
    "left for later": (leftovers, "x = 1  # TO" + "DO: better\n"),
}

SOUND = {
    "head": "",
    "noqa": "import os  # noqa: F401  # imported for its effect\n",
    "noqa, two codes": "import os  # noqa: F401, BLE001 - imported for its effect\n",
    "noqa, above": "# imported for its effect\nimport os  # noqa: F401\n",
    "type: ignore": "x: int = ''  # type: ignore[assignment]  # a lie for the test\n",
    "beside": "try: pass\nexcept BaseException:  # whatever it was\n    pass\n",
    "first in it": "try: pass\nexcept BaseException:\n    # whatever it was\n    pass\n",
    "above": "# the way home\nwith CancelScope(shield=True):\n    pass\n",
    "shield beside": "with CancelScope(\n  shield=True,  # the way home\n):\n    pass\n",
    "others": "try: pass\nexcept Exception:\n    scope.shield = False\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found(name: str) -> None:
    rule, source = BROKEN[name]
    assert list(rule(source))


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_passes(name: str) -> None:
    assert [at for rule in RULES for at in rule(HEAD + SOUND[name])] == []


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def test_the_example_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    (program,) = blocks(ROOT / "README.md", "python")
    (text,) = blocks(ROOT / "README.md", "text")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == (text, "", 0)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_a_page_links_to_what_there_is(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_dependency_is_pinned() -> None:
    pinned = {}
    for line in (ROOT / "requirements" / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pinned[name.lower().replace("_", "-")] = version
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        *PROJECT["build-system"]["requires"],
        *PROJECT["project"]["dependencies"],
        *extras["cli"],
        *extras["test"],
    ]
    for requirement in map(Requirement, wanted):
        assert pinned[requirement.name.lower()] in requirement.specifier, requirement


def test_the_version_is_said_once() -> None:
    assert import_module("trioshell").__version__ == PROJECT["project"]["version"]


def test_the_command_is_there() -> None:
    module, _, name = PROJECT["project"]["scripts"]["trioshell"].partition(":")
    assert callable(getattr(import_module(module), name))


def test_a_wheel_holds_all_that_is_needed(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    (wheel,) = tmp_path.glob("trioshell-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "trioshell").rglob("*.py")}
    info = f"trioshell-{PROJECT['project']['version']}.dist-info"
    assert sources <= names
    assert {"trioshell/py.typed", f"{info}/entry_points.txt", f"{info}/licenses/LICENSE"} <= names
    assert {name.partition("/")[0] for name in names} == {"trioshell", info}
