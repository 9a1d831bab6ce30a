"""The commands: `python -m reliability faults`, `soak` and `page`; see `--help` of each."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "faults": "try every fault with every tool, and write down what came of it",
    "soak": "do mixed work in one long-lived Task, and look at what grows",
    "page": "make docs/reliability.md anew from what the two have written down",
}


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name not in COMMANDS:
        print("usage: reliability COMMAND [--help]\n")
        for known, text in COMMANDS.items():
            print(f"  {known:<8}{text}")
        return 0 if name in ("-h", "--help") else 2
    command = import_module(f"reliability.{name}")
    return int(command.main(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
