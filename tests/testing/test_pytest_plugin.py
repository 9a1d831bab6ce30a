"""Who installs trioshell has the fixture `ssh_cluster`, at no cost to a run without it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]


def plugin() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name = project["entry-points"]["pytest11"]["trioshell"]
    assert isinstance(name, str)
    return name


def test_the_entry_point_leads_to_the_fixture() -> None:
    assert hasattr(import_module(plugin()), "ssh_cluster")


def test_pytest_loads_it_without_ssh() -> None:
    code = f"import {plugin()}, sys; print(*sys.modules)"
    argv = [sys.executable, "-c", code]
    modules = subprocess.run(
        argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout.split()
    assert "pytest" in modules
    assert not {"asyncssh", "trio_asyncio", "trio"} & set(modules)
