"""The command line: clush's options, meaning and output."""

from __future__ import annotations

from trioshell.cli._main import main

__all__ = ["main"]
