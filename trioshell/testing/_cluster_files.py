"""The files by which clients find an embedded cluster: ssh config, known_hosts, a client key."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trioshell.testing._cluster_faults import RevokedHostKey, UnknownHostKey
from trioshell.testing._cluster_listener import ADDRESS
from trioshell.testing._cluster_node import ClusterNode

_COMMON = """\
Host *
    IdentityFile "{identity}"
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile "{known_hosts}"
    GlobalKnownHostsFile /dev/null
"""

_NODE = """\
Host {name}
    HostName {address}
    Port {port}
"""


class ClusterFiles:
    """The paths of the client's files, and what stands in them.

    Args:
        directory: where they lie; it exists, and nobody else can read it.
    """

    def __init__(self, directory: Path) -> None:
        self.config = directory / "ssh_config"
        self.known_hosts = directory / "known_hosts"
        self.identity = directory / "id_ed25519"

    def write_identity(self, private_key: bytes) -> None:
        """Write the client's key, readable by the owner alone, as ssh(1) demands."""
        self.identity.touch(mode=0o600)
        self.identity.write_bytes(private_key)

    def write_config(self, nodes: Iterable[ClusterNode]) -> None:
        """Write the ssh config that leads from the nodes' names to their ports."""
        parts = [_NODE.format(name=n.name, address=ADDRESS, port=n.port) for n in nodes]
        common = _COMMON.format(identity=self.identity, known_hosts=self.known_hosts)
        self.config.write_text("\n".join([*parts, common]))

    def write_known_hosts(self, nodes: Iterable[tuple[ClusterNode, str]]) -> None:
        """Write the nodes' public host keys, as far as their faults let them be known."""
        lines = []
        for node, key in nodes:
            entry = f"[{ADDRESS}]:{node.port} {key} {node.name}\n"
            if node.fault(UnknownHostKey) is None:
                lines.append(entry)
            if node.fault(RevokedHostKey) is not None:
                lines.append("@revoked " + entry)
        # Renamed into place: a client that reads it meanwhile sees the old or the new one.
        new = self.known_hosts.with_suffix(".new")
        new.write_text("".join(lines))
        new.replace(self.known_hosts)
