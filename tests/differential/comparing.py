"""What is compared of what both libraries did: all but the differences that are declared."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from tests.differential.cases import Seen


def unlike(peer: Seen, ours: Seen) -> list[str]:
    """Where the two differ, in one line each; the first is ClusterShell's."""
    return list(compare("", comparable(peer), comparable(without_hups(peer, ours))))


def without_hups(peer: Seen, ours: Seen) -> Seen:
    """Ours without the hup of nodes that have no return code, which ClusterShell leaves out."""
    histories = [
        {
            node: [event for event in history if event[:2] != ["hup", None]]
            for node, history in of_worker.items()
        }
        for of_worker in ours.histories
    ]
    return replace(ours, histories=histories)


def comparable(seen: Seen) -> dict[str, Any]:
    """What is seen, without what nobody promises and what is declared as different."""
    said = asdict(seen)
    del said["cpu"], said["alive"]
    for worker in said["workers"]:
        worker.pop("truths", None)
        # None there, an empty message or a KeyError here.
        for name in ("node_buffer of n1", "buffer"):
            if worker.get(name) in ("TypeError", "KeyError"):
                worker[name] = ""
    if len(seen.workers) > 1:  # which outputs are joined, and how, is declared as different
        del said["task"]["key_buffer of n1"]
    elif said["task"]["key_buffer of n1"] == "KeyError":
        said["task"]["key_buffer of n1"] = ""
    said["histories"] = [
        {node: by_stream(history) for node, history in of_worker.items()}
        for of_worker in seen.histories
    ]
    return said


def by_stream(history: list[Any]) -> dict[str, Any]:
    """A node's events: the order of two streams' lines is chance, that within each is not."""
    streams = sorted({event[1] for event in history if event[0] == "read"})
    return {
        "first": history[:1],
        **{
            sname: [event for event in history if event[:2] == ["read", sname]] for sname in streams
        },
        "written": [event for event in history if event[0] == "written"],
        "last": [event for event in history[-1:] if event[0] == "hup"],
        "how many": len(history),
    }


def compare(path: str, peer: Any, ours: Any) -> list[str]:
    if isinstance(peer, dict) and isinstance(ours, dict):
        found: list[str] = []
        for key in sorted({*peer, *ours}):
            found += compare(f"{path}.{key}", peer.get(key), ours.get(key))
        return found
    if isinstance(peer, list) and isinstance(ours, list) and len(peer) == len(ours):
        return [
            line
            for number, (one, other) in enumerate(zip(peer, ours, strict=True))
            for line in compare(f"{path}[{number}]", one, other)
        ]
    return [] if peer == ours else [f"{path}: ClusterShell {peer!r}, trioshell {ours!r}"]
