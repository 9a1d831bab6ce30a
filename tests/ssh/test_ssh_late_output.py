"""Output that comes after the end of its command: it is waited for, but not for ever."""

from __future__ import annotations

import pytest

from trioshell import Exited, NodeResult, Unreachable, run
from trioshell.testing import DropsInOutput, GoesSilent, SshCluster
from trioshell.testing._cluster_faults import Fault

# The end of the command is told while something is still to come, as a server may do it.
LATE = "(sleep 0.05; head -c 5000 /dev/zero) & exit 0"


async def result_of(command: str, *faults: Fault, gather: bool = True) -> NodeResult:
    async with SshCluster(1) as cluster:
        cluster.fault("node1", *faults)
        transport = cluster.transport(keepalive=0.5)
        worker = await run(command, "node1", transport=transport, timeout=30, gather=gather)
        return worker.results()["node1"]


async def test_it_is_taken() -> None:
    result = await result_of(LATE)
    assert (result.outcome, len(result.stdout)) == (Exited(0), 5000)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(DropsInOutput(3000), "closed by the other side"), (GoesSilent(3000), "keepalive")],
)
async def test_a_connection_that_breaks_before_it_has_come_is_no_success(
    fault: Fault, reason: str
) -> None:
    result = await result_of(LATE, fault)
    assert isinstance(result.outcome, Unreachable)
    assert reason in result.outcome.reason
    assert "had exited with 0, but not all of its output has come" in result.outcome.reason
    # The report of the shell that leads the command is among the 3000 bytes.
    assert 2900 < len(result.stdout) < 3000


async def test_a_process_in_the_background_that_goes_on_writing_holds_nothing_up() -> None:
    result = await result_of("yes & exit 0", gather=False)
    assert result.outcome == Exited(0)
