"""Files import only downward: each from its own floor and the ones below, never in a circle.

The rules are functions over a tree of sources; each is applied to the library, and each is
shown a small tree that breaks it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# The one table: what lives on which floor, lowest first. A name with a "*" stands for every
# module of that package; a name without a file is a file that is still to be written.
FLOORS: tuple[tuple[str, str], ...] = (
    ("words", "_errors _events _handler _results"),
    (
        "pure",
        "_arguments _caps _gathering _governor _lifecycle _lines _message _msgtree _placeholders "
        "_targets",
    ),
    ("ways", "transports transports.*"),
    (
        "engine",
        "_books _conduct _consumers _copy _dispatch _distant _engine _fanout _feeder _input _local "
        "_overall _pace _reports _stream _task _timer _worker",
    ),
    ("doors", "__init__ _run testing testing.*"),
    ("command line", "__main__ cli cli.*"),
)

# Floors 0 and 1 know no scheduler, no clock and no I/O.
NOT_PURE = (
    "asyncio ctypes fcntl multiprocessing os select selectors shutil signal socket "
    "subprocess tempfile threading time trio"
)
ONLY_IN = {
    "asyncssh": ("transports._ssh*", "testing.*cluster*"),
    "trio_asyncio": ("transports._ssh*", "testing.*cluster*"),
}
# ClusterShell is there for its node sets. Its engine and its gathering are what we replace.
CLUSTERSHELL = ("Defaults", "NodeSet", "NodeUtils", "RangeSet")

# Sources by module name, without the leading "trioshell.".
Tree = Mapping[str, str]


@dataclass(frozen=True)
class Import:
    """That `importer` imports `module`, and whether only a type checker ever does it."""

    importer: str
    module: str
    for_types: bool = False


def read_tree(package: Path) -> Tree:
    tree = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        tree[".".join(parts)] = path.read_text()
    return tree


def floor_of(module: str) -> int | None:
    for number, (_, names) in enumerate(FLOORS):
        if any(fnmatchcase(module, name) for name in names.split()):
            return number
    return None


def imports_of(module: str, tree: Tree) -> Iterator[Import]:
    """Every import in a module, wherever it stands.

    Two things count that are not written as imports: the full name of a module in a string,
    and, in a module that has a `__getattr__`, what it imports for type checkers, for that is
    what it hands out when it is asked.
    """
    body = ast.parse(tree[module]).body
    hands_out = any(
        isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in body
    )
    pending: list[tuple[ast.AST, bool]] = [(node, False) for node in body]
    while pending:
        node, for_types = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending += [(child, not hands_out) for child in node.body]
            pending += [(child, for_types) for child in node.orelse]
            continue
        for name in _imported_names(node, tree):
            if _ours(name) != module:  # an entry-point group may be called as its module is
                yield Import(module, name, for_types)
        pending += [(child, for_types) for child in ast.iter_child_nodes(node)]


def _imported_names(node: ast.AST, tree: Tree) -> Iterator[str]:
    match node:
        case ast.Import():
            yield from (alias.name for alias in node.names)
        case ast.ImportFrom(level=0, module=str(source)):
            # `from package import module` is the import of that module, where there is one.
            names = [f"{source}.{alias.name}" for alias in node.names]
            modules = [name for name in names if _ours(name) in tree]
            yield from modules
            if len(modules) < len(names):
                yield source
        case ast.ImportFrom():
            yield f"(relative) {ast.unparse(node)}"
        case ast.Constant(value=str(text)) if _ours(text) in tree and "." in text:
            yield text


def _ours(module: str) -> str | None:
    """The name of one of our modules as it is in a tree; None for a module of others."""
    if module == "trioshell":
        return "__init__"
    return module.removeprefix("trioshell.") if module.startswith("trioshell.") else None


def unlisted(tree: Tree) -> list[str]:
    return [f"{module} is on no floor" for module in tree if floor_of(module) is None]


def upward(tree: Tree) -> list[str]:
    found = []
    for module in tree:
        for item in imports_of(module, tree):
            target = _ours(item.module)
            if item.module.startswith("(relative)"):
                found.append(f"{module} says {item.module}")
            elif target is not None and not item.for_types:
                here, there = floor_of(module), floor_of(target)
                if here is not None and (there is None or there > here):
                    found.append(f"{module} imports {target} from above")
    return found


def circles(tree: Tree) -> list[str]:
    below = {
        module: {
            target
            for item in imports_of(module, tree)
            if not item.for_types and (target := _ours(item.module)) in tree
        }
        for module in tree
    }
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        circle = error.args[1][:0:-1]  # it comes with its first module repeated at the end
        first = circle.index(min(circle))  # where it starts is chance
        return [" -> ".join([*circle[first:], *circle[: first + 1]])]
    return []


def impure(tree: Tree) -> list[str]:
    return [
        f"{module} imports {item.module}, and is pure"
        for module in tree
        if floor_of(module) in (0, 1)
        for item in imports_of(module, tree)
        if item.module.partition(".")[0] in NOT_PURE.split() and not item.for_types
    ]


def out_of_place(tree: Tree) -> list[str]:
    found = []
    for module in tree:
        for item in imports_of(module, tree):
            package, _, rest = item.module.partition(".")
            places = ONLY_IN.get(package, ("*",))
            if not any(fnmatchcase(module, place) for place in places):
                found.append(f"{module} imports {item.module}")
            if package == "ClusterShell" and rest not in CLUSTERSHELL:
                found.append(f"{module} imports {item.module}")
    return found


RULES = (unlisted, upward, circles, impure, out_of_place)
LIBRARY = read_tree(Path(__file__).parent.parent / "trioshell")


@pytest.mark.parametrize("rule", RULES)
def test_the_library_keeps_the_rule(rule: Callable[[Tree], list[str]]) -> None:
    assert rule(LIBRARY) == []


def test_the_library_was_read() -> None:
    assert {"__init__", "_errors", "transports._base"} <= LIBRARY.keys()
    assert Import("_errors", "trioshell._results", for_types=True) in [
        *imports_of("_errors", LIBRARY)
    ]


def test_no_module_is_on_two_floors() -> None:
    for module in LIBRARY:
        floors = [
            title
            for title, names in FLOORS
            if any(fnmatchcase(module, name) for name in names.split())
        ]
        assert len(floors) <= 1, module


BROKEN = {
    "a module on no floor": (unlisted, {"_extra": ""}, "_extra is on no floor"),
    "a package on no floor": (unlisted, {"more._a": ""}, "more._a is on no floor"),
    "import from above": (
        upward,
        {"_lines": "from trioshell._task import Task", "_task": ""},
        "_lines imports _task from above",
    ),
    "from package import module": (
        upward,
        {"_lines": "from trioshell import _task", "_task": "", "__init__": ""},
        "_lines imports _task from above",
    ),
    "of the doors, from the engine": (
        upward,
        {"_task": "import trioshell", "__init__": ""},
        "_task imports __init__ from above",
    ),
    "in a function": (
        upward,
        {"transports._base": "def f():\n    import trioshell._worker", "_worker": ""},
        "transports._base imports _worker from above",
    ),
    "in a lambda's default, by a string": (
        upward,
        {"_results": "load = lambda name='trioshell.cli': name", "cli": ""},
        "_results imports cli from above",
    ),
    "in the other branch of TYPE_CHECKING": (
        upward,
        {
            "_lines": "if TYPE_CHECKING:\n    pass\nelse:\n    from trioshell._task import Task",
            "_task": "",
        },
        "_lines imports _task from above",
    ),
    "a relative import": (
        upward,
        {"cli._main": "from . import _options", "cli._options": ""},
        "cli._main says (relative) from . import _options",
    ),
    "a circle": (
        circles,
        {"_task": "import trioshell._worker", "_worker": "import trioshell._task"},
        "_task -> _worker -> _task",
    ),
    "a circle through a function": (
        circles,
        {
            "_task": "from trioshell import _worker",
            "_worker": "from trioshell._timer import Timer",
            "_timer": "def f():\n    from trioshell._task import Task",
        },
        "_task -> _worker -> _timer -> _task",
    ),
    "a circle through what a package hands out": (
        circles,
        {
            "transports": "if TYPE_CHECKING:\n    from trioshell.transports._exec import Exec\n"
            "def __getattr__(name): ...",
            "transports._exec": "from trioshell.transports import Transport",
        },
        "transports -> transports._exec -> transports",
    ),
    "a pure file with a clock": (
        impure,
        {"_lifecycle": "def f():\n    import time"},
        "_lifecycle imports time, and is pure",
    ),
    "a word with I/O": (
        impure,
        {"_errors": "from os.path import join"},
        "_errors imports os.path, and is pure",
    ),
    "asyncssh elsewhere": (
        out_of_place,
        {"transports._openssh": "def f():\n    import asyncssh"},
        "transports._openssh imports asyncssh",
    ),
    "the bridge elsewhere": (
        out_of_place,
        {"testing._simulated": "from trio_asyncio import open_loop"},
        "testing._simulated imports trio_asyncio",
    ),
    "ClusterShell's engine": (
        out_of_place,
        {"_worker": "from ClusterShell.Worker.Worker import DistantWorker"},
        "_worker imports ClusterShell.Worker.Worker",
    ),
    "all of ClusterShell": (out_of_place, {"_task": "import ClusterShell"}, "_task imports "),
}

SOUND: dict[str, Tree] = {
    "downward, sideways": {
        "_task": "from trioshell import _worker\nfrom trioshell.transports import Transport",
        "_worker": "from trioshell._errors import WorkerError",
        "_errors": "",
        "transports": "from trioshell.transports._base import Transport",
        "transports._base": "import trio",
    },
    "upward and in a circle, for annotations": {
        "_events": "if TYPE_CHECKING:\n    from trioshell._worker import Worker",
        "_worker": "import trioshell._events\nif typing.TYPE_CHECKING:\n    import trioshell._task",
        "_task": "from trioshell._worker import Worker",
    },
    "what each may use": {
        "_targets": "def f():\n    from ClusterShell.NodeSet import NodeSet\nimport re",
        "transports._ssh_pool": "import asyncssh, trio_asyncio",
        "testing._cluster_server": "import asyncssh",
        "__main__": "from trioshell.cli import main",
        "cli": "LAZY = {'main': 'trioshell.cli._main'}\nGROUP = 'trioshell.cli'",
        "cli._main": "import argparse",
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_tree_is_found(name: str) -> None:
    rule, tree, message = BROKEN[name]
    (found,) = rule(tree)
    assert found.startswith(message)


@pytest.mark.parametrize("tree", SOUND.values(), ids=SOUND)
def test_a_sound_tree_passes(tree: Tree) -> None:
    assert [rule(tree) for rule in RULES] == [[] for _ in RULES]
