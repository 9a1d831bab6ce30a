"""`fanout="auto"` beside fixed fanouts, where what runs out is another thing each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

from benchmarks.meter import Meter
from benchmarks.servers import running_sshd
from benchmarks.sshd import no_sshd
from benchmarks.workload import (
    OURS,
    Contender,
    Setting,
    Work,
    Workload,
    nothing_lacks,
    nothing_needed,
)
from benchmarks.works.ssh import place, transport

FIXED = (4, 16, 64, 256)

Fanout = int | Literal["auto"]
# Gives the transport, entered once and warm, that a workload needs.
Way = Callable[[], Any]


def local() -> Any:
    import trioshell.transports

    return trioshell.transports.ExecTransport()


def over_ssh() -> Any:
    return transport("SshTransport", place())


def narrow_sshd() -> AbstractContextManager[Mapping[str, str]]:
    """An sshd that drops logins as it does by default."""
    return running_sshd("10:30:100")


def run(way: Way, command: str, fanout: Fanout) -> Work:
    def work(amount: int, meter: Meter) -> None:
        import trio

        import trioshell

        async def main() -> None:
            async with way() as transport:
                await trioshell.run(command, "warm", transport=transport)
                with meter:
                    async with trioshell.Task(fanout=fanout, transport=transport) as task:
                        worker = task.shell(command, nodes=f"node[1-{amount}]", stdin=False)
            assert all(result.ok for result in worker.results().values())

        trio.run(main)

    return work


def workload(
    name: str,
    title: str,
    what: str,
    way: Way,
    command: str,
    amounts: tuple[int, int],
    *,
    lacks: Callable[[], str] = nothing_lacks,
    setting: Setting = nothing_needed,
) -> Workload:
    amount, quick = amounts
    values: tuple[Fanout, ...] = ("auto", *FIXED)
    contenders = tuple(
        Contender(
            OURS if fanout == "auto" else f"fanout {fanout}",
            run(way, command, fanout),
            f"Task(fanout={fanout!r})",
            lacks,
        )
        for fanout in values
    )
    return Workload(
        name, title, what, "node", (amount,), (quick,), contenders, setting=setting, rounds=3
    )


WORKLOADS = (
    workload(
        "auto-echo",
        "`fanout='auto'` on commands that need the processor",
        "2,000 local `echo`: our own processors are what runs out.",
        local,
        "echo hello",
        (2_000, 400),
    ),
    workload(
        "auto-sleep",
        "`fanout='auto'` on commands that wait",
        "1,000 local `sleep 0.2`: nothing runs out.",
        local,
        "sleep 0.2",
        (1_000, 300),
    ),
    workload(
        "auto-ssh",
        "`fanout='auto'` on logins",
        "`echo` on 150 hosts by SSH, to one sshd here: key exchanges on both sides of it.",
        over_ssh,
        "echo hello",
        (150, 40),
        lacks=no_sshd,
        setting=running_sshd,
    ),
    workload(
        "auto-door",
        "`fanout='auto'` before a narrow door",
        "The same for 100 hosts, and an sshd with MaxStartups at its default of 10:30:100.",
        over_ssh,
        "echo hello",
        (100, 30),
        lacks=no_sshd,
        setting=narrow_sshd,
    ),
)
