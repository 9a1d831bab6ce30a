"""Runs a plan with parallel-ssh, at its best settings."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from reliability.case import (
    BYSTANDER,
    BYSTANDER_BYTES,
    BYSTANDER_TIMEOUT,
    CONNECT_SECONDS,
    Plan,
    Seen,
)
from reliability.program import Trigger

# It knows servers by an address, and asks for the settings of each.
ADDRESS = "127.0.0.1"


def _client(plan: Plan, nodes: tuple[str, ...]) -> Any:
    config = import_module("pssh.config").HostConfig
    clients = import_module("pssh.clients")
    known = [
        config(
            user=plan.user or None,
            port=plan.ports.get(node),
            private_key=plan.identity,
            num_retries=1,
            retry_delay=1,
            timeout=CONNECT_SECONDS,
            keepalive_seconds=1,
            allow_agent=False,
            identity_auth=False,
        )
        for node in nodes
    ]
    hosts = [ADDRESS if node in plan.ports else node for node in nodes]
    return clients.ParallelSSHClient(hosts, host_config=known, num_retries=1, retry_delay=1)


def warm_up(plan: Plan) -> None:
    """Have its event loop and its threads made, which it keeps."""
    _perform(plan, (plan.bystander,), "echo warm", None, None)


def perform(plan: Plan) -> Seen:
    """Run it: the bystander through a client of its own, at the same time."""
    gevent = import_module("gevent")
    trigger = Trigger(plan, lambda: None)
    other = gevent.spawn(_perform, plan, (plan.bystander,), BYSTANDER, BYSTANDER_TIMEOUT, None)
    seen = _perform(plan, plan.nodes, plan.command, plan.timeout, trigger)
    beside: Seen = other.get()
    outcome, size = beside.outcomes[plan.bystander], beside.sizes[plan.bystander]
    if (outcome, size) != ("exit code 0", BYSTANDER_BYTES):
        seen.bystander = f"{outcome}, {size} bytes"
    return seen


def _perform(
    plan: Plan,
    nodes: tuple[str, ...],
    command: str,
    timeout: float | None,
    trigger: Trigger | None,
) -> Seen:
    gevent = import_module("gevent")
    client = _client(plan, nodes)
    outputs = client.run_command(command, stop_on_errors=False, read_timeout=timeout)
    seen = Seen()
    feeds = plan.stdin if trigger is not None else 0
    readers = [
        gevent.spawn(_read, node, output, seen, trigger, feeds)
        for node, output in zip(nodes, outputs, strict=True)
    ]
    gevent.joinall(readers)
    return seen


def _read(node: str, output: Any, seen: Seen, trigger: Trigger | None, feeds: int) -> None:
    seen.sizes[node] = 0
    try:
        if output.exception is not None:
            raise output.exception
        if feeds:
            output.stdin.write("x" * feeds)
            output.stdin.flush()
        for line in output.stdout:
            size = len(line.encode())
            seen.sizes[node] += size + 1
            if trigger is not None and trigger.line(node, size):
                import_module("gevent").sleep(trigger.seconds)
        output.client.wait_finished(output)  # what `join` of all does for each
    except Exception as exc:  # noqa: BLE001  # its way to say how a node has ended
        seen.outcomes[node] = type(exc).__name__
        seen.reasons[node] = str(exc)
        return
    seen.outcomes[node] = f"exit code {output.exit_code}"
