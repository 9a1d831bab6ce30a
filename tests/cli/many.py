"""A script: one program, many command lines, each in a process of its own that is only forked.

Starting an interpreter and importing everything takes far longer than what is compared. The
command lines come as JSON on standard input, and what each has said and how it ended goes to
standard output, the bytes as latin-1.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from importlib import import_module
from typing import Any

# Everything that either program imports late, so that no fork has to do it again.
IMPORTED = {
    "clush": ("ClusterShell.CLI.Clush", "ClusterShell.Worker.Exec"),
    "trioshell": ("trioshell.cli._program", "trioshell.cli._config", "trioshell.cli._nodes"),
}


def main() -> None:
    program = sys.argv[1]
    for name in IMPORTED[program]:
        import_module(name)
    json.dump([run(program, words) for words in json.load(sys.stdin)], sys.stdout)


def run(program: str, words: list[str]) -> tuple[int, str, str]:
    """Fork, have the child be the program with these words, and wait for it."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            become(program, words, out.fileno(), err.fileno())
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), read(out), read(err)


def become(program: str, words: list[str], out: int, err: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, taken in enumerate((null, out, err)):
        os.dup2(taken, fd)
    sys.argv = [program, *words]
    status: Any = 1
    try:
        if program == "clush":
            import_module("ClusterShell.CLI.Clush").main()
        else:
            status = import_module("trioshell.cli").main()
    except SystemExit as exc:
        status = exc.code
    except BaseException:  # noqa: BLE001  # whatever it was, this process must not come back
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)


def read(file: Any) -> str:
    file.seek(0)
    text: str = file.read().decode("latin-1")
    return text


if __name__ == "__main__":
    main()
