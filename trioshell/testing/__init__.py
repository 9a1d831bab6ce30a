"""What programs test themselves with: simulated nodes in virtual time, an embedded cluster."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioshell.testing._cluster import SshCluster
    from trioshell.testing._cluster_faults import (
        ChangedHostKey,
        DropsBeforeAuth,
        DropsInOutput,
        Fault,
        Floods,
        GoesSilent,
        HangsInAuth,
        HangsInChannel,
        HangsInKex,
        NeverCloses,
        NobodyListens,
        RefusesKey,
        RevokedHostKey,
        SaysNothing,
        SpeaksGarbage,
        UnknownHostKey,
    )
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
    "Break",
    "COMMANDS",
    "ChangedHostKey",
    "Checked",
    "CloseOutput",
    "CloseStdin",
    "DropsBeforeAuth",
    "DropsInOutput",
    "Fault",
    "Floods",
    "GoesSilent",
    "HangsInAuth",
    "HangsInChannel",
    "HangsInKex",
    "ListProcesses",
    "NeverCloses",
    "NobodyListens",
    "ReadStdin",
    "Recorder",
    "RefusesKey",
    "RevokedHostKey",
    "SaysNothing",
    "Script",
    "SessionRecord",
    "SimulatedStatistics",
    "SimulatedTransport",
    "SpeaksGarbage",
    "SshCluster",
    "UnknownHostKey",
    "check_grammar",
    "check_transport",
    "posix_like",
    "simulate",
]

# Imported when first asked for: the cluster brings asyncssh with it, which most tests
# never need, and whoever simulates needs none of the contract check.
_HOMES = {
    "Break": "_script",
    "COMMANDS": "_commands",
    "ChangedHostKey": "_cluster_faults",
    "Checked": "_contract",
    "CloseOutput": "_script",
    "CloseStdin": "_script",
    "DropsBeforeAuth": "_cluster_faults",
    "DropsInOutput": "_cluster_faults",
    "Fault": "_cluster_faults",
    "Floods": "_cluster_faults",
    "GoesSilent": "_cluster_faults",
    "HangsInAuth": "_cluster_faults",
    "HangsInChannel": "_cluster_faults",
    "HangsInKex": "_cluster_faults",
    "ListProcesses": "_script",
    "NeverCloses": "_cluster_faults",
    "NobodyListens": "_cluster_faults",
    "ReadStdin": "_script",
    "Recorder": "_recorder",
    "RefusesKey": "_cluster_faults",
    "RevokedHostKey": "_cluster_faults",
    "SaysNothing": "_cluster_faults",
    "Script": "_script",
    "SessionRecord": "_simulated_session",
    "SimulatedStatistics": "_simulated",
    "SimulatedTransport": "_simulated",
    "SpeaksGarbage": "_cluster_faults",
    "SshCluster": "_cluster",
    "UnknownHostKey": "_cluster_faults",
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
