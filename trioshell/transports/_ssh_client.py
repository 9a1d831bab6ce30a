"""What one connection asks us while it is made: is this the right host, and who are we."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import asyncssh

from trioshell.transports._ssh_bridge import Bridge
from trioshell.transports._ssh_known_hosts import KnownKey
from trioshell.transports._ssh_plan import Plan

# Asked for a secret: told the node and the server's prompt; None if there is none to give.
AskPassword: TypeAlias = Callable[[str, str], "str | Awaitable[str | None] | None"]
Password: TypeAlias = "str | AskPassword | None"


class Client(asyncssh.SSHClient):
    """asyncssh's questions about one connection, answered from its plan.

    Attributes:
        verdict: why the host key was not accepted, once it was not.
        banner: what the server had to say before the login.
    """

    def __init__(self, plan: Plan, password: Password, bridge: Bridge) -> None:
        self._phase = ""
        self._connection: Any = None
        self.verdict = ""
        self.banner = ""
        self._plan = plan
        self._password = password
        self._bridge = bridge
        self._asked = False
        self._interactive = False
        self._gave_password = False
        self._known: list[KnownKey] = []

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

    def trusted(
        self, host: str, addr: str, port: int | None
    ) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """For asyncssh, when it has connected: the keys, authorities and revoked keys."""
        plan = self._plan
        assert plan.known_hosts is not None
        self._known = plan.known_hosts.lookup(plan.alias, plan.port)
        found: dict[str, list[Any]] = {"": [], "@cert-authority": [], "@revoked": []}
        for known in self._known:
            key = _decode(known.key)
            if key is not None:
                found[known.marker].append(key)
        return found[""], found["@cert-authority"], found["@revoked"]

    def validate_host_public_key(self, host: str, addr: str, port: int, key: Any) -> bool:
        """Called for a key that is not among the trusted ones."""
        shown = f"{key.get_algorithm()} {key.get_fingerprint()}"
        others = [known for known in self._known if known.marker == ""]
        plan, files = self._plan, self._plan.known_hosts
        assert files is not None
        if others:
            places = " and ".join(known.place for known in others)
            self.verdict = (
                f"the host key of {plan.where} has changed: it shows {shown}, but {places} "
                "has another; if the new one is right, remove the old one there"
            )
            return False
        if plan.accept_new:
            try:
                files.add(plan.alias, plan.port, key.export_public_key().decode().strip())
            except OSError as exc:
                self.verdict = f"the host key of {plan.where} can't be written down: {exc}"
                return False
            return True
        self.verdict = (
            f"the host key of {plan.where} is not known: {shown} is not in "
            f"{' or '.join(map(str, files.files)) or 'any file'}; "
            "add it, or use host_keys='accept-new'"
        )
        return False

    def describe_refusal(self, error: str) -> str:
        """Why the host key was refused, where asyncssh found the reason by itself."""
        if self.verdict:
            return self.verdict
        revoked = [known.place for known in self._known if known.marker == "@revoked"]
        if "revoked" in error and revoked:
            places = " or ".join(revoked)
            return f"the host key of {self._plan.where} is revoked by {places}"
        return f"the host key of {self._plan.where} is not accepted: {error}"

    # -- the user -----------------------------------------------------------------------

    def begin_auth(self, username: str) -> None:
        self._phase = "the login"

    def auth_completed(self) -> None:
        self._phase = "the session"

    def auth_banner_received(self, msg: str, lang: str) -> None:
        self.banner += msg

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
