"""The machine and the versions that figures were taken with."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "trioshell",
    "trio",
    "trio-asyncio",
    "asyncssh",
    "cryptography",
    "ClusterShell",
    "parallel-ssh",
    "ssh2-python",
)
# Each with the argument that makes it say its version.
PROGRAMS = {
    "pdsh": "-V",
    "xargs": "--version",
    "parallel": "--version",
    "ssh": "-V",
}


def machine() -> dict[str, str]:
    """What it is that figures depend on most."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
    }


def versions() -> dict[str, str]:
    """Of Python, of the packages and of the programs that are installed."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if "trioshell" not in found:  # run from a checkout that is not installed
        from trioshell import __version__

        found["trioshell"] = __version__
    for program, argument in PROGRAMS.items():
        if shutil.which(program):
            found[program] = _first_line([program, argument])
    return found


def load() -> float:
    """How many processes wanted to run during the last minute."""
    return os.getloadavg()[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(argv: list[str]) -> str:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )
    return (done.stdout or done.stderr).partition("\n")[0].strip()
