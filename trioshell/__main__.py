"""``python -m trioshell`` is ``trioshell``."""

import sys

from trioshell.cli import main

if __name__ == "__main__":
    sys.exit(main())
