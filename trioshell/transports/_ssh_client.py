"""What one connection asks us while it is made: is this the right host, and who are we."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import asyncssh

from trioshell._errors import TransportError
from trioshell.transports._said import quoted
from trioshell.transports._ssh_bridge import Bridge
from trioshell.transports._ssh_known_hosts import KnownKey
from trioshell.transports._ssh_plan import Plan

# Asked for a secret: told the node and the server's prompt; None if there is none to give.
AskPassword: TypeAlias = Callable[[str, str], "str | Awaitable[str | None] | None"]
Password: TypeAlias = "str | AskPassword | None"


class AnotherHostKey(TransportError):
    """The host has shown a key of a type that we do not know it by, and may have the other.

    Attributes:
        types: the types of the keys that we know it by.
    """

    def __init__(self, where: str, types: tuple[str, ...]) -> None:
        super().__init__(f"{where} does not show a host key of type {' or '.join(types)}")
        self.types = types


class Client(asyncssh.SSHClient):
    """asyncssh's questions about one connection, answered from its plan.

    Args:
        types: the types of host key to ask for, if it has shown another one before.

    Attributes:
        verdict: why the host key was not accepted, once it was not.
    """

    def __init__(
        self, plan: Plan, password: Password, bridge: Bridge, types: tuple[str, ...] = ()
    ) -> None:
        self._phase = ""
        self._connection: Any = None
        self.verdict = ""
        self._plan = plan
        self._password = password
        self._bridge = bridge
        self._asked = False
        self._interactive = False
        self._gave_password = False
        self._types = types
        self._known: list[KnownKey] = []
        self._hashed = False  # there are hashed names that have not been tried

    @property
    def phase(self) -> str:
        """What is being waited for, for messages."""
        if self._phase:
            return self._phase
        greeted = self._connection and self._connection.get_extra_info("server_version")
        return "the key exchange" if greeted else "the server's greeting"

    def connection_made(self, conn: Any) -> None:
        self._connection = conn

    # -- the host key -------------------------------------------------------------------

    def prefer_host_keys(self) -> str | None:
        """Look up what can be found before the host shows its key.

        Returns the types of key that it should show, as asyncssh takes them; None if its own
        order will do, which begins with those of the keys that have been found.
        """
        plan = self._plan
        assert plan.known_hosts is not None
        if self._types:
            self._known = plan.known_hosts.lookup(plan.alias, plan.port)
            return _algorithms(self._types)
        self._known, complete = plan.known_hosts.lookup_readable(plan.alias, plan.port)
        self._hashed = not complete
        if complete or any(known.marker == "@cert-authority" for known in self._known):
            return None
        return _algorithms(tuple(plan.known_hosts.hashed_types()))

    def trusted(
        self, host: str, addr: str, port: int | None
    ) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """For asyncssh, when it has connected: the keys, authorities and revoked keys."""
        found: dict[str, list[Any]] = {"": [], "@cert-authority": [], "@revoked": []}
        for known in self._known:
            key = _decode(known.key)
            if key is not None:
                found[known.marker].append(key)
        return found[""], found["@cert-authority"], found["@revoked"]

    def validate_host_public_key(self, host: str, addr: str, port: int, key: Any) -> bool:
        """Called for a key that is not among the trusted ones."""
        plan, files = self._plan, self._plan.known_hosts
        assert files is not None
        line = " ".join(key.export_public_key().decode().split()[:2])
        if self._hashed:
            if files.has(plan.alias, plan.port, line):
                return True
            self._known = files.lookup(plan.alias, plan.port)
        others = [known for known in self._known if known.marker == ""]
        if any(known.key == line for known in others):
            return True
        types = {known.key.split()[0] for known in others}
        if self._hashed and types and line.split()[0] not in types:
            raise AnotherHostKey(plan.where, tuple(sorted(types)))
        if others:
            places = " and ".join(known.place for known in others)
            self.verdict = (
                f"the host key of {plan.where} has changed: it shows {_shown(key)}, but {places} "
                "has another; if the new one is right, remove the old one there"
            )
            return False
        if plan.accept_new:
            return self._accept_new(line)
        self.verdict = (
            f"the host key of {plan.where} is not known: {_shown(key)} is not in "
            f"{' or '.join(map(str, files.files)) or 'any file'}; "
            "add it, or use host_keys='accept-new'"
        )
        return False

    def _accept_new(self, line: str) -> bool:
        plan = self._plan
        assert plan.known_hosts is not None
        try:
            plan.known_hosts.add(plan.alias, plan.port, line)
        except OSError as exc:
            self.verdict = f"the host key of {plan.where} can't be written down: {exc}"
            return False
        return True

    def describe_refusal(self, error: str) -> str:
        """Why the host key was refused, where asyncssh found the reason by itself."""
        if self.verdict:
            return self.verdict
        revoked = [known.place for known in self._known if known.marker == "@revoked"]
        if "revoked" in error and revoked:
            places = " or ".join(revoked)
            return f"the host key of {self._plan.where} is revoked by {places}"
        return f"the host key of {self._plan.where} is not accepted: {quoted(error)}"

    # -- the user -----------------------------------------------------------------------

    def begin_auth(self, username: str) -> None:
        self._phase = "the login"

    def auth_completed(self) -> None:
        self._phase = "the session"

    async def password_auth_requested(self) -> str | None:
        if self._asked:  # once: more would lock the account of who mistyped it
            return None
        self._asked = True
        return await self._ask(f"{self._plan.user}@{self._plan.name}'s password: ")

    def kbdint_auth_requested(self) -> str | None:
        # Once, too: a server that offers it may yet have nothing to ask, and fail it each time.
        if self._password is None or self._asked or self._interactive:
            return None
        self._interactive = True
        return ""

    async def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        answers = []
        for prompt, echo in prompts:
            # A fixed password answers the question for a password, and no other.
            if isinstance(self._password, str) and (echo or self._asked):
                return None
            self._asked = True
            answer = await self._ask(prompt)
            if answer is None:
                return None
            answers.append(answer)
        return answers

    @property
    def gave_password(self) -> bool:
        """True if the server was given a password, right or wrong."""
        return self._gave_password

    async def _ask(self, prompt: str) -> str | None:
        answer = await self._answer(prompt)
        self._gave_password |= answer is not None
        return answer

    async def _answer(self, prompt: str) -> str | None:
        if not callable(self._password):
            return self._password
        answer = self._password(self._plan.name, prompt)
        if inspect.isawaitable(answer):
            # It is the user's, so it speaks Trio.
            waited: Any = await self._bridge.run_trio(answer)
            return waited if waited is None else str(waited)
        return answer


def _shown(key: Any) -> str:
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


@cache
def _algorithms(types: tuple[str, ...]) -> str | None:
    """The algorithms of these types of key, before all others, as asyncssh takes them."""
    names = ",".join("rsa-sha2-512,rsa-sha2-256" if t == "ssh-rsa" else t for t in types)
    found = []
    for name in names.split(","):
        try:
            asyncssh.SSHClientConnectionOptions(
                config=None, client_keys=None, server_host_key_algs=name
            )
            found.append(name)
        except ValueError:
            continue  # of a kind that nobody uses any more
    return f"^{','.join(found)}" if found else None


_keys: dict[str, Any] = {}


def _decode(text: str) -> Any:
    """A public key, decoded once however many hosts have it; None if it can't be."""
    if text not in _keys:
        if len(_keys) > 10_000:
            _keys.clear()
        try:
            _keys[text] = asyncssh.import_public_key(text)
        except asyncssh.KeyImportError:
            _keys[text] = None
    return _keys[text]
