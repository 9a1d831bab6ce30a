"""Fixtures of the tests with real processes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.real.probes import Mark


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mark]:
    """Everything that the test starts from now on can be found by this mark."""
    mark = Mark(f"TRIOSHELL_REAL_{secrets.token_hex(6)}")
    monkeypatch.setenv(mark.name, "1")
    yield mark
    mark.kill()
