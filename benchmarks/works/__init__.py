"""All workloads, one file for each kind, in the order in which they are run and shown."""

from __future__ import annotations

from benchmarks.workload import Workload
from benchmarks.works import (
    breakdown,
    bulk,
    copying,
    echo,
    ending,
    finding,
    folding,
    gathering,
    growth,
    lines,
    pending,
    ssh,
    startup,
    watchdog,
)

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for module in (
        echo,
        lines,
        bulk,
        gathering,
        folding,
        pending,
        ssh,
        copying,
        ending,
        finding,
        watchdog,
        startup,
        growth,
        breakdown,
    )
    for workload in module.WORKLOADS
}
