"""The keys to offer: those of the ssh-agent, asked for once, and those of the user's files."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any

import asyncssh
import trio

from trioshell.transports._ssh_bridge import Bridge
from trioshell.transports._ssh_client import Password
from trioshell.transports._ssh_identities import (
    Identity,
    IdentityStore,
    LoadedIdentity,
    default_identities,
)
from trioshell.transports._ssh_plan import Plan


@dataclass(frozen=True, slots=True)
class Offer:
    """The keys for one login.

    Attributes:
        keys: what asyncssh takes as client keys.
        tried: what they are, for messages.
    """

    keys: list[Any]
    tried: list[str]


class Agents:
    """Keys for any plan.

    An agent has one connection of ours however many hosts we log in to, and its signatures
    are asked for one after the other: agents are overwhelmed by more.
    """

    def __init__(self, bridge: Bridge, password: Password) -> None:
        self._bridge = bridge
        self._password = password
        self._store = IdentityStore()
        self._agents: dict[str, Any] = {}
        self._agent_keys: dict[str, list[Any]] = {}
        self._passphrases: dict[str, str | None] = {}
        self._lock = trio.Lock()

    async def offer(self, plan: Plan) -> Offer:
        """What to offer, in ssh's order.

        First the agent's keys that a file names, then the agent's others, then the files.

        Raises:
            ValueError: a key file can't be used; names it.
        """
        loaded = [
            found
            for identity in (default_identities() if plan.default_identities else plan.identities)
            if (found := await self._load(identity, plan)) is not None
        ]
        offered = [] if plan.agent is None else await self._from_agent(plan.agent)
        by_data = {pair.public_data: pair for pair in offered}
        named = [by_data.pop(found.public) for found in loaded if found.public in by_data]
        others = [] if plan.identities_only else list(by_data.values())
        in_agent = {pair.public_data for pair in named}
        files = [found for found in loaded if found.public not in in_agent and found.pairs]
        tried = [str(found.file) for found in files]
        if named or others:
            tried.append(f"{len(named) + len(others)} of the agent's keys")
        # A pair remembers what it agreed on with one server, so each connection has its own.
        keys = [copy.copy(pair) for pair in (*named, *others)]
        return Offer([*keys, *(pair for found in files for pair in found.pairs)], tried)

    async def _load(self, identity: Identity, plan: Plan) -> LoadedIdentity | None:
        passphrase = self._passphrases.get(str(identity.file))
        found = self._store.load(identity, plan.certificates, passphrase)
        locked = identity.file.exists() and (found is None or not found.pairs)
        if not locked or not callable(self._password) or plan.agent is not None:
            return found
        passphrase = await self._ask(str(identity.file), plan)
        if passphrase is None:
            return found
        return self._store.load(identity, plan.certificates, passphrase)

    async def _ask(self, file: str, plan: Plan) -> str | None:
        assert callable(self._password)
        async with self._lock:  # asked once, however many hosts wait for the answer
            if file not in self._passphrases:
                answer = self._password(plan.name, f"Enter passphrase for key '{file}': ")
                if inspect.isawaitable(answer):
                    answer = await answer
                self._passphrases[file] = answer
        return self._passphrases[file]

    async def _from_agent(self, path: str) -> list[Any]:
        async with self._lock:
            if path not in self._agent_keys:
                try:
                    self._agent_keys[path] = await self._bridge.call(self._connect(path))
                except (OSError, ValueError, asyncssh.Error):
                    return []  # there is none, as ssh takes it; the next login asks again
            return self._agent_keys[path]

    async def _connect(self, path: str) -> list[Any]:
        agent = asyncssh.SSHAgentClient(path)
        try:
            keys = list(await agent.get_keys())
        except BaseException:  # whatever it was, nobody else knows of this connection
            agent.close()
            raise
        self._agents[path] = agent
        return keys

    async def close(self) -> None:
        """Close the connections to agents."""
        for agent in self._agents.values():
            agent.close()
        self._agents.clear()
        self._agent_keys.clear()
        self._bridge.drain()
