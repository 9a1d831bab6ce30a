"""What programs test themselves with: simulated nodes in virtual time, an embedded cluster."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioshell.testing._cluster import SshCluster
    from trioshell.testing._commands import COMMANDS, posix_like
    from trioshell.testing._contract import Checked, check_transport
    from trioshell.testing._grammar import check_grammar
    from trioshell.testing._recorder import Recorder
    from trioshell.testing._script import (
        Break,
        CloseOutput,
        CloseStdin,
        ListProcesses,
        ReadStdin,
        Script,
    )
    from trioshell.testing._simulate import simulate
    from trioshell.testing._simulated import SimulatedStatistics, SimulatedTransport
    from trioshell.testing._simulated_session import SessionRecord

__all__ = [
    "COMMANDS",
    "Break",
    "Checked",
    "CloseOutput",
    "CloseStdin",
    "ListProcesses",
    "ReadStdin",
    "Recorder",
    "Script",
    "SessionRecord",
    "SimulatedStatistics",
    "SimulatedTransport",
    "SshCluster",
    "check_grammar",
    "check_transport",
    "posix_like",
    "simulate",
]

# Imported when first asked for: the cluster brings asyncssh with it, which most tests
# never need, and whoever simulates needs none of the contract check.
_HOMES = {
    "COMMANDS": "_commands",
    "Break": "_script",
    "Checked": "_contract",
    "CloseOutput": "_script",
    "CloseStdin": "_script",
    "ListProcesses": "_script",
    "ReadStdin": "_script",
    "Recorder": "_recorder",
    "Script": "_script",
    "SessionRecord": "_simulated_session",
    "SimulatedStatistics": "_simulated",
    "SimulatedTransport": "_simulated",
    "SshCluster": "_cluster",
    "check_grammar": "_grammar",
    "check_transport": "_contract",
    "posix_like": "_commands",
    "simulate": "_simulate",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
