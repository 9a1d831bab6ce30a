"""Every example in the page about testing runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_example_runs(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", EXAMPLES[number]]
    env = {**os.environ, "PYTHONPATH": str(PAGE.parents[1])}
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_script_in_the_table_is_one() -> None:
    names: dict[str, object] = {}
    exec("import math; from trioshell.testing import *", names)
    scripts = re.findall(r"^\| `(Script\(.*?\))` \|", PAGE.read_text(), re.MULTILINE)
    assert len(scripts) > 12
    for script in scripts:
        exec(script, names)
