"""What libraries log, told in our own way, which no terminal obeys."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from trioshell.cli._tell import tell


class _Telling(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).splitlines():
            tell(line)


@contextmanager
def telling_logs() -> Iterator[None]:
    """Tell what Python would otherwise write to standard error as it is, which is warnings.

    They may quote what a node has said.
    """
    before, logging.lastResort = logging.lastResort, _Telling(logging.WARNING)
    try:
        yield
    finally:
        logging.lastResort = before
