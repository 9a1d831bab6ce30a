"""``python -m trioshell`` is ``trioshell``."""

from __future__ import annotations

import sys

from trioshell.cli import main

if __name__ == "__main__":
    sys.exit(main())
