"""``trioshell demo`` shows what it says, in time, and leaves nothing."""

from __future__ import annotations

import time

import pytest

from trioshell.testing._demo import main


def test_it_shows_every_part_and_takes_less_than_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = time.monotonic()
    assert main([]) == 0
    assert time.monotonic() - began < 10
    shown = capsys.readouterr().out
    for part in (
        "node[1-8] (8)",
        "node[1-4,6-8] (7)",
        "node3: exited with 1",
        "node6: unreachable",
        "Connection refused",
        "node2: timed out after 0.5 s",
        "node4: aborted",
        "sleep 600",
        "are left there: 0",
        "8 logins",
    ):
        assert part in shown


def test_it_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "usage: trioshell demo" in capsys.readouterr().out
    assert main(["--nodes", "3"]) == 2
    assert "--nodes" in capsys.readouterr().err
