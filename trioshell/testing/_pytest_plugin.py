"""The pytest plugin that an installed trioshell brings: the fixture `ssh_cluster`.

pytest loads this at every start, so it imports nothing that the test run may not need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from trioshell.testing._cluster import SshCluster


@pytest.fixture
def ssh_cluster() -> Iterator[Callable[..., SshCluster]]:
    """A function that starts embedded SSH clusters for one test.

    ``cluster = ssh_cluster(16)`` takes what `trioshell.testing.SshCluster` takes, and returns
    a cluster that serves already. At the end of the test each is stopped, and nothing of it
    is left. For sync and async tests alike; starting one blocks for some milliseconds.
    """
    from trioshell.testing._cluster import SshCluster

    with ExitStack() as clusters:

        def start(nodes: Any = 4, **options: Any) -> SshCluster:
            cluster = SshCluster(nodes, **options)
            clusters.callback(cluster.stop)
            cluster.start()
            return cluster

        yield start
