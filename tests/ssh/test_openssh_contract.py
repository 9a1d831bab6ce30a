"""The way through ssh(1) keeps the contract of a transport, on both servers and for all users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from trioshell.testing import SshCluster, check_transport
from trioshell.testing._cluster_faults import NobodyListens
from trioshell.transports import OpenSshTransport

if TYPE_CHECKING:
    from tests.ssh.conftest import Sshd, Users

# The clauses about the target that differ with the user and the login shell; the others are
# about us, and take their time with a login for each of many sessions.
ABOUT_US = ("leaks", "prompt", "many", "backpressure", "receive_cancelled", "open_cancelled")
NOT_HERE = "every name leads to this server"
# Tried over shared connections: the time that a login takes varies by more than what it looks for.
PROMPT = {"prompt": "each session waits for a login of its own"}


async def test_on_the_embedded_cluster() -> None:
    async with SshCluster(4, faults={"node4": NobodyListens()}) as cluster:
        transport = cluster.openssh()
        await check_transport(transport, "node[1-3]", unreachable="node4", exclude=PROMPT)
        await cluster.wait_quiet()
        await cluster.wait_until(lambda seen: seen.connections_now == 0)


@pytest.mark.soak  # every clause with a login for each session takes its time
async def test_on_a_real_server_as_an_ordinary_user(sshd: Sshd, users: Users) -> None:
    exclude = PROMPT | dict.fromkeys(("unreachable", "task_unreachable"), NOT_HERE)
    transport = OpenSshTransport(**sshd.options(users.sh))
    await check_transport(transport, "any[1-2]", exclude=exclude, clause_timeout=60)


@pytest.mark.parametrize(
    "name",
    [
        "root",
        pytest.param("csh", marks=pytest.mark.soak),
        pytest.param("fish", marks=pytest.mark.soak),
    ],
)
async def test_on_a_real_server_as(
    sshd: Sshd, users: Users, name: Literal["root", "csh", "fish"]
) -> None:
    exclude = dict.fromkeys(("unreachable", "task_unreachable"), NOT_HERE)
    exclude |= dict.fromkeys(ABOUT_US, "tried as an ordinary user; the same for all")
    commands = {"shell": "echo one; echo two | cat"}  # without the ( ) that fish reads otherwise
    transport = OpenSshTransport(**sshd.options(getattr(users, name)))
    await check_transport(transport, "any", exclude=exclude, commands=commands, clause_timeout=60)
